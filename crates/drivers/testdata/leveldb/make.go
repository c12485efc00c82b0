// Makes the golden LevelDB databases with goleveldb, the canonical Go engine:
//
//	go mod init golden && go get github.com/syndtr/goleveldb@v1.0.1-0.20210819022825-2ae1ddf74ef7
//	go run make.go DIRECTORY
//
// Beside each database NAME a file NAME.digest holds the number of its pairs and the SHA-256
// over all pairs in key order, as goleveldb's own iterator gives them from a copy: u32 BE key
// length, key, u32 BE value length, value.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"time"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// A database in the making. Small tables and blocks, so that few bytes have many of them.
type maker struct {
	path    string
	db      *leveldb.DB
	options *opt.Options
	random  *rand.Rand
}

func (m *maker) open() {
	var err error
	m.db, err = leveldb.OpenFile(m.path, m.options)
	check(err)
}

func (m *maker) reopen() {
	check(m.db.Close())
	m.open()
}

func key(number int) []byte { return []byte(fmt.Sprintf("key/%06d", number)) }

func (m *maker) value(bytes int) []byte {
	value := make([]byte, bytes)
	for at := range value { // compressible
		if value[at] = byte('a' + m.random.Intn(20)); at%5 != 0 {
			value[at] = value[at-1]
		}
	}
	return value
}

func (m *maker) put(from, to, step, bytes int) {
	for number := from; number < to; number += step {
		check(m.db.Put(key(number), m.value(bytes), nil))
	}
}

func (m *maker) delete(from, to, step int) {
	for number := from; number < to; number += step {
		check(m.db.Delete(key(number), nil))
	}
}

var databases = map[string]func(m *maker){
	// Never written.
	"empty": func(*maker) {},
	// All of it in the log, as small databases of nodes are.
	"only-log": func(m *maker) {
		m.put(0, 40, 1, 30)
		m.delete(10, 20, 1)
		batch := new(leveldb.Batch)
		batch.Put([]byte{}, []byte("the empty key"))
		batch.Put([]byte("empty value"), nil)
		batch.Put([]byte("twice"), []byte("1"))
		batch.Put([]byte("twice"), []byte("2"))
		batch.Put([]byte{0xff, 0xff}, []byte("the last key"))
		check(m.db.Write(batch, nil))
	},
	// Several levels; the log deletes and overwrites what tables hold.
	"deletions": func(m *maker) {
		m.put(0, 600, 1, 60)
		check(m.db.CompactRange(util.Range{}))
		m.delete(0, 600, 3)
		m.put(1, 600, 7, 20)
		m.reopen()
		m.put(0, 600, 30, 10)
		m.delete(2, 600, 9)
	},
	// Overlapping tables of level 0: nothing is compacted.
	"level-zero": func(m *maker) {
		for round := 0; round < 5; round++ {
			m.put(round, 300, 3, 25)
			m.delete(round*7, 300, 11)
			m.reopen()
		}
	},
	// Records longer than a block of the log, values longer than a block of a table.
	"long": func(m *maker) {
		for _, bytes := range []int{0, 1, 1 << 10, 32<<10 - 7, 40 << 10} {
			check(m.db.Put([]byte(fmt.Sprintf("long/%06d", bytes)), m.value(bytes), nil))
			check(m.db.Put(append(key(bytes), make([]byte, 3000)...), m.value(10), nil))
		}
		m.reopen()
		check(m.db.Put([]byte("long/in the log"), m.value(33<<10), nil))
	},
	// Without compression.
	"plain": func(m *maker) { m.put(0, 300, 1, 40); m.reopen() },
}

func main() {
	for name, fill := range databases {
		path := filepath.Join(os.Args[1], name)
		m := &maker{path: path, random: rand.New(rand.NewSource(7)), options: &opt.Options{
			BlockSize: 512, WriteBuffer: 16 << 10, CompactionTableSize: 8 << 10,
			CompactionTotalSize: 16 << 10,
		}}
		if name == "level-zero" {
			m.options.CompactionL0Trigger = 100
		}
		if name == "plain" {
			m.options.Compression = opt.NoCompression
		}
		m.open()
		fill(m)
		time.Sleep(300 * time.Millisecond) // lets compactions end
		check(m.db.Close())
		check(os.Remove(filepath.Join(path, "LOG"))) // names the time of the run
		check(os.WriteFile(path+".digest", []byte(digest(path)), 0o644))
	}
}

func digest(path string) string {
	copied, err := os.MkdirTemp("", "golden")
	check(err)
	defer os.RemoveAll(copied)
	check(os.CopyFS(copied, os.DirFS(path)))
	db, err := leveldb.OpenFile(copied, nil)
	check(err)
	defer db.Close()
	hash, pairs := sha256.New(), 0
	iterator := db.NewIterator(nil, nil)
	defer iterator.Release()
	for iterator.Next() {
		for _, part := range [][]byte{iterator.Key(), iterator.Value()} {
			check(binary.Write(hash, binary.BigEndian, uint32(len(part))))
			hash.Write(part)
		}
		pairs++
	}
	check(iterator.Error())
	return fmt.Sprintf("%d %x\n", pairs, hash.Sum(nil))
}
