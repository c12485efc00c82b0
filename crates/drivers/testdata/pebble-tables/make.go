// Makes tables with Pebble's own writer, for the golden test of ours, and writes the SHA-256 of each
// to the file `sums` in the folder given; the small ones are kept whole beside it.
//
//	cp make.go ../../../../helpers/gostore/ && cd ../../../../helpers/gostore &&
//	go run make.go ../../crates/drivers/testdata/pebble-tables && rm make.go
//
// (The helper's module has Pebble; `go run` of one file takes the module of its folder.)
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/sstable"
	"github.com/cockroachdb/pebble/vfs"
)

type entry struct{ key, value []byte }

// shapes are the same as in golden.rs.
func shapes() map[string][]entry {
	few := []entry{
		{nil, nil},
		{[]byte{0}, []byte("zero")},
		{[]byte("a"), []byte("short")},
		{[]byte("a\x01\x00\x00\x00\x00\x00\x00\x00"), []byte("looks like the trailer of the key before")},
		{[]byte("ab"), []byte("b")},
		{[]byte{0xff, 0xff}, []byte("highest")},
	}
	var many []entry
	for n := range uint32(4000) {
		key := binary.BigEndian.AppendUint32([]byte(fmt.Sprintf("s/k:store%d/n", n/1500)), n*n)
		value := make([]byte, 20+n%97)
		for i := range value {
			value[i] = byte(uint32(i) * n >> 3)
		}
		many = append(many, entry{key, value})
	}
	var large []entry
	for n := range uint32(40) {
		key := []byte(fmt.Sprintf("P:%05d:0", n))
		value := make([]byte, n*n*37)
		state := n + 1
		for i := range value {
			state = state*1664525 + 1013904223
			value[i] = byte(state >> (24 + n%8)) // later ones compress
		}
		large = append(large, entry{key, value})
	}
	return map[string][]entry{"few": few, "many": many, "large": large}
}

func write(path string, entries []entry, format sstable.TableFormat, compression pebble.Compression) error {
	file, err := vfs.Default.Create(path)
	if err != nil {
		return err
	}
	options := (&pebble.Options{}).EnsureDefaults().MakeWriterOptions(0, format)
	options.Compression = compression
	writer := sstable.NewWriter(objstorageprovider.NewFileWritable(file), options)
	for _, entry := range entries {
		if err := writer.Set(entry.key, entry.value); err != nil {
			return err
		}
	}
	return writer.Close()
}

func main() {
	formats := map[string]sstable.TableFormat{
		"rocksdb-v2": sstable.TableFormatRocksDBv2,
		"pebble-v1":  sstable.TableFormatPebblev1,
	}
	compressions := map[string]pebble.Compression{
		"none": pebble.NoCompression, "snappy": pebble.SnappyCompression,
	}
	var sums []string
	for shape, entries := range shapes() {
		for format, number := range formats {
			for compression, kind := range compressions {
				name := fmt.Sprintf("%s.%s.%s.sst", shape, format, compression)
				path := filepath.Join(os.Args[1], name)
				check(write(path, entries, number, kind))
				table, err := os.ReadFile(path)
				check(err)
				sums = append(sums, fmt.Sprintf("%x  %s\n", sha256.Sum256(table), name))
				if shape != "few" {
					check(os.Remove(path))
				}
			}
		}
	}
	sort.Strings(sums)
	check(os.WriteFile(filepath.Join(os.Args[1], "sums"), []byte(strings.Join(sums, "")), 0o644))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
