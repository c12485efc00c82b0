package main

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const (
	blockBytes = 2_400_000
	// What a change of a key takes on disk with the nodes above it, about: more in high trees
	// with few changes a version.
	bytesPerChange = 800
)

// shape is what a home is made from; nothing else goes into its records.
type shape struct {
	seed    uint64
	heights int64
	// Bytes of the transactions of a block.
	blockBytes int
	// Keys that the application has after its first version.
	genesisKeys int
	// Keys that a version sets, adds or removes.
	changes int
}

// shapeOf divides a size between the blocks and the application, which gets so many percent.
func shapeOf(bytes, applicationPercent int64, seed uint64) shape {
	application := bytes / 100 * applicationPercent
	heights := max(2, (bytes-application+blockBytes-1)/blockBytes)
	return shape{
		seed:        seed,
		heights:     heights,
		blockBytes:  blockBytes,
		genesisKeys: 20_000,
		changes:     int(application / heights / bytesPerChange),
	}
}

// stream gives the random bytes of one purpose, so that none depends on how much another took.
func (s shape) stream(purpose string) *rand.ChaCha8 {
	return rand.NewChaCha8(s.digest(purpose))
}

func (s shape) digest(purpose string) [32]byte {
	return sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, s.seed), purpose...))
}

// databaseBytes says what each database of a home takes.
func databaseBytes(home string) (map[string]int64, error) {
	sizes := map[string]int64{}
	data := filepath.Join(home, "data")
	databases, err := filepath.Glob(filepath.Join(data, "*.db"))
	if err != nil {
		return nil, err
	}
	for _, database := range databases {
		files, err := os.ReadDir(database)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			info, err := file.Info()
			if err != nil {
				return nil, err
			}
			sizes[filepath.Base(database)] += info.Size()
		}
	}
	return sizes, nil
}
