package main

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// What a height takes on disk, about: what a size divided by gives the number of heights.
const bytesPerHeight = 3_100_000

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

func shapeOf(bytes int64, seed uint64) shape {
	return shape{
		seed:        seed,
		heights:     max(2, (bytes+bytesPerHeight-1)/bytesPerHeight),
		blockBytes:  2_400_000,
		genesisKeys: 20_000,
		changes:     1_200,
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
