// Package tabletest makes tables for tests, as Transload does for stores that take tables in.
package tabletest

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/sstable"
	"github.com/cockroachdb/pebble/vfs"

	"gostore/internal/wire"
)

// Write puts sorted entries, a key and its value in turn, into a table in the folder, in the
// oldest format that the engine takes in.
func Write(folder, name string, engine wire.Engine, keysAndValues ...[]byte) (wire.Table, error) {
	path := filepath.Join(folder, name)
	if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return wire.Table{}, err
	}
	file, err := vfs.Default.Create(path)
	if err != nil {
		return wire.Table{}, err
	}
	format := sstable.TableFormatPebblev1
	if engine == wire.EnginePebble1 {
		format = sstable.TableFormatRocksDBv2
	}
	options := (&pebble.Options{}).EnsureDefaults().MakeWriterOptions(0, format)
	writer := sstable.NewWriter(objstorageprovider.NewFileWritable(file), options)
	for i := 0; i < len(keysAndValues); i += 2 {
		if err := writer.Set(keysAndValues[i], keysAndValues[i+1]); err != nil {
			return wire.Table{}, err
		}
	}
	if err := writer.Close(); err != nil {
		return wire.Table{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return wire.Table{}, err
	}
	return wire.Table{Name: name, FileBytes: uint64(info.Size())}, nil
}
