package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/sstable"
	"github.com/cockroachdb/pebble/vfs"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/iterator"
)

// Size of one ingested table, in bytes of keys and values.
const tableBytes = 64 << 20

// walk gives every entry of a goleveldb database, and the iterator's error, which a plain loop
// is tempted to forget.
func walk(dir string, each func(key, value []byte) error) (outcome, error) {
	db, err := leveldb.OpenFile(dir, nil)
	if err != nil {
		return outcome{}, err
	}
	defer db.Close()
	var entries iterator.Iterator = db.NewIterator(nil, nil)
	defer entries.Release()
	var done outcome
	for entries.Next() {
		done.Records++
		done.Bytes += uint64(len(entries.Key()) + len(entries.Value()))
		if err := each(entries.Key(), entries.Value()); err != nil {
			return outcome{}, err
		}
	}
	return done, entries.Error()
}

func scan(dir string) (outcome, error) {
	return walk(dir, func([]byte, []byte) error { return nil })
}

// loop iterates and batch-writes with default options, as the field's tools do.
func loop(dir, target string, batchBytes int, sync bool) (outcome, error) {
	db, err := openTarget(target)
	if err != nil {
		return outcome{}, err
	}
	options := pebble.NoSync
	if sync {
		options = pebble.Sync
	}
	batch := db.NewBatch()
	done, err := walk(dir, func(key, value []byte) error {
		if err := batch.Set(key, value, nil); err != nil {
			return err
		}
		if batch.Len() < batchBytes {
			return nil
		}
		if err := batch.Commit(options); err != nil {
			return err
		}
		batch = db.NewBatch()
		return nil
	})
	if err != nil {
		return outcome{}, err
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return outcome{}, err
	}
	return done, db.Close()
}

// ingest writes sorted tables and lets the engine take them in: the limit of what a copy in one
// thread can do.
func ingest(dir, target string) (outcome, error) {
	db, err := openTarget(target)
	if err != nil {
		return outcome{}, err
	}
	var paths []string
	var writer *sstable.Writer
	pending := 0
	finish := func() error {
		if writer == nil {
			return nil
		}
		err := writer.Close()
		writer, pending = nil, 0
		return err
	}
	done, err := walk(dir, func(key, value []byte) error {
		if writer == nil {
			path := filepath.Join(target, fmt.Sprintf("bench-%06d.tmp", len(paths)))
			file, err := vfs.Default.Create(path)
			if err != nil {
				return err
			}
			paths = append(paths, path)
			writer = sstable.NewWriter(objstorageprovider.NewFileWritable(file), sstable.WriterOptions{
				TableFormat: db.FormatMajorVersion().MaxTableFormat(),
			})
		}
		if err := writer.Set(key, value); err != nil {
			return err
		}
		pending += len(key) + len(value)
		if pending >= tableBytes {
			return finish()
		}
		return nil
	})
	if err != nil {
		return outcome{}, err
	}
	if err := finish(); err != nil {
		return outcome{}, err
	}
	if err := db.Ingest(paths); err != nil {
		return outcome{}, err
	}
	return done, db.Close()
}

func openTarget(target string) (*pebble.DB, error) {
	if _, err := os.Stat(target); err == nil {
		return nil, fmt.Errorf("%s is there already", target)
	}
	return pebble.Open(target, &pebble.Options{})
}
