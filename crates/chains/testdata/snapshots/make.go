//go:build ignore

// Takes one state-sync snapshot out of a home with goleveldb databases.
//
// Usage: make.go HOME HEIGHT FORMAT OUT
//
// OUT gets the chunk files as they are, `record` (the value in snapshots/metadata.db) and
// `commit-info` (the value in application.db). Works on a copy: goleveldb writes when it opens.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/syndtr/goleveldb/leveldb"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func get(database string, key []byte) []byte {
	db := must(leveldb.OpenFile(database, nil))
	defer db.Close()
	return must(db.Get(key, nil))
}

func main() {
	home, out := os.Args[1], os.Args[4]
	height := must(strconv.ParseUint(os.Args[2], 10, 64))
	format := must(strconv.ParseUint(os.Args[3], 10, 32))
	key := binary.BigEndian.AppendUint64([]byte{1}, height)
	key = binary.BigEndian.AppendUint32(key, uint32(format))
	data := filepath.Join(home, "data")
	chunks := filepath.Join(data, "snapshots", os.Args[2], os.Args[3])
	entries := must(os.ReadDir(chunks))
	if err := os.MkdirAll(out, 0o755); err != nil {
		must(0, err)
	}
	write := func(name string, bytes []byte) {
		if err := os.WriteFile(filepath.Join(out, name), bytes, 0o644); err != nil {
			must(0, err)
		}
	}
	for _, entry := range entries {
		write(entry.Name(), must(os.ReadFile(filepath.Join(chunks, entry.Name()))))
	}
	write("record", get(filepath.Join(data, "snapshots", "metadata.db"), key))
	write("commit-info", get(filepath.Join(data, "application.db"), []byte("s/"+os.Args[2])))
}
