// Makes the golden bbolt files with bbolt itself:
//
//	go mod init golden && go get go.etcd.io/bbolt@v1.3.11
//	go run make.go DIRECTORY
//
// Beside each file NAME.db that holds entries as a node's does, NAME.digest has the number of its
// pairs and the SHA-256 over all pairs in key order, as bbolt's own cursor gives them: u32 BE key
// length, key, u32 BE value length, value.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// smallPages make a deep tree of few bytes.
const smallPages = 1024

func store(dir, name string, pageSize int, fill ...func(tx *bbolt.Tx) error) {
	path := filepath.Join(dir, name+".db")
	options := *bbolt.DefaultOptions
	options.PageSize = pageSize
	db, err := bbolt.Open(path, 0o644, &options)
	check(err)
	for _, step := range fill {
		check(db.Update(step))
	}
	check(db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("tm"))
		if bucket == nil || tx.Bucket([]byte("other")) != nil {
			return nil
		}
		hash, pairs := sha256.New(), 0
		err := bucket.ForEach(func(key, value []byte) error {
			if value == nil {
				return fmt.Errorf("nested")
			}
			pairs++
			for _, part := range [][]byte{key, value} {
				hash.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
				hash.Write(part)
			}
			return nil
		})
		if err == nil {
			digest := fmt.Sprintf("%d %x\n", pairs, hash.Sum(nil))
			err = os.WriteFile(filepath.Join(dir, name+".digest"), []byte(digest), 0o644)
		}
		if err != nil && err.Error() == "nested" {
			return nil
		}
		return err
	}))
	check(db.Close())
}

func bucket(tx *bbolt.Tx, name string) *bbolt.Bucket {
	found, err := tx.CreateBucketIfNotExists([]byte(name))
	check(err)
	return found
}

func numbered(seed int64, count, keyBytes, valueBytes int) func(tx *bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		random, into := rand.New(rand.NewSource(seed)), bucket(tx, "tm")
		for range count {
			key := binary.BigEndian.AppendUint32(nil, uint32(random.Intn(1<<20)))
			key = append(key, repeat(random.Intn(keyBytes), 'k')...)
			check(into.Put(key, repeat(random.Intn(valueBytes), byte(random.Intn(256)))))
		}
		return nil
	}
}

func repeat(length int, what byte) []byte {
	out := []byte{}
	for range length {
		out = append(out, what)
	}
	return out
}

func everyThirdDeleted(tx *bbolt.Tx) error {
	into, index := bucket(tx, "tm"), 0
	var gone [][]byte
	check(into.ForEach(func(key, _ []byte) error {
		if index++; index%3 == 0 {
			gone = append(gone, append([]byte(nil), key...))
		}
		return nil
	}))
	for _, key := range gone {
		check(into.Delete(key))
	}
	return nil
}

func main() {
	dir := os.Args[1]
	few := func(tx *bbolt.Tx) error { return bucket(tx, "tm").Put([]byte("k"), nil) }
	store(dir, "deep", smallPages, numbered(1, 150, 200, 60), numbered(2, 100, 10, 20), everyThirdDeleted,
		numbered(3, 20, 300, 50))
	store(dir, "large", 4096, numbered(4, 12, 10, 9000), everyThirdDeleted)
	store(dir, "inline", smallPages, few)
	store(dir, "empty", smallPages, func(tx *bbolt.Tx) error { bucket(tx, "tm"); return nil })
	store(dir, "no-bucket", smallPages)
	store(dir, "several-buckets", smallPages, few, func(tx *bbolt.Tx) error {
		return bucket(tx, "other").Put([]byte("in the other"), []byte("1"))
	})
	store(dir, "nested-bucket", smallPages, few, func(tx *bbolt.Tx) error {
		_, err := bucket(tx, "tm").CreateBucket([]byte("a bucket"))
		return err
	})
}
