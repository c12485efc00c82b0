package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/syndtr/goleveldb/leveldb"
)

// One batch of the generator, in bytes: what a node writes for a few blocks.
const generateBatchBytes = 1 << 20

// generate writes a goleveldb database with default options. The same shape, count and seed
// give the same entries.
//
// Shapes: "iavl" is IAVL nodes (s, version, nonce; about 130 bytes), "blocks" is a block store
// (decimal heights; headers of 700 bytes and parts of 4 KiB).
func generate(dir, shape string, records, seed uint64) (outcome, error) {
	var entry func(*rand.Rand, uint64) ([]byte, []byte)
	switch shape {
	case "iavl":
		entry = iavlNode
	case "blocks":
		entry = blockEntry
	default:
		return outcome{}, fmt.Errorf("no shape %q: iavl or blocks", shape)
	}
	db, err := leveldb.OpenFile(dir, nil)
	if err != nil {
		return outcome{}, err
	}
	defer db.Close()
	random := rand.New(rand.NewPCG(seed, 0))
	var done outcome
	batch := new(leveldb.Batch)
	pending := 0
	for number := range records {
		key, value := entry(random, number)
		batch.Put(key, value)
		done.Records++
		done.Bytes += uint64(len(key) + len(value))
		pending += len(key) + len(value)
		if pending >= generateBatchBytes {
			if err := db.Write(batch, nil); err != nil {
				return outcome{}, err
			}
			batch.Reset()
			pending = 0
		}
	}
	if err := db.Write(batch, nil); err != nil {
		return outcome{}, err
	}
	return done, db.Close()
}

// iavlNode has the shape of a node of the Cosmos SDK's IAVL 1.x: 50 nodes a version.
func iavlNode(random *rand.Rand, number uint64) ([]byte, []byte) {
	key := append([]byte("s/k:bank/s"), make([]byte, 12)...)
	binary.BigEndian.PutUint64(key[10:], 1+number/50)
	binary.BigEndian.PutUint32(key[18:], uint32(1+number%50))
	return key, fill(random, 90+random.IntN(40))
}

// blockEntry has the shape of CometBFT's block store: a part of 4 KiB and a header a height.
func blockEntry(random *rand.Rand, number uint64) ([]byte, []byte) {
	height := 1 + number/2
	if number%2 == 0 {
		return fmt.Appendf(nil, "P:%d:0", height), fill(random, 4096)
	}
	return fmt.Appendf(nil, "H:%d", height), fill(random, 700)
}

// fill makes bytes that Snappy compresses to about two thirds, as it does those of nodes.
func fill(random *rand.Rand, length int) []byte {
	value := make([]byte, length)
	for at := 0; at+8 <= length; at += 8 {
		binary.LittleEndian.PutUint64(value[at:], random.Uint64())
	}
	for at := length / 3; at < 2*length/3; at++ {
		value[at] = byte(at)
	}
	return value
}
