package engine

import (
	"os"
	"path/filepath"

	"gostore/internal/wire"
)

// takeIn has the engine ingest tables of the staging folder, in one atomic change. It looks at
// their names and sizes first: the engine checks the rest, and whoever made them reads them back.
func takeIn(root string, tables []wire.Table, ingest func(paths []string) error) error {
	const operation = "take in"
	paths := make([]string, 0, len(tables))
	for _, table := range tables {
		if filepath.Base(table.Name) != table.Name || filepath.Ext(table.Name) != ".sst" {
			return wire.Fail(wire.FailInvalidInput, operation, "%q is no table's name", table.Name)
		}
		path := filepath.Join(root, stagingName, table.Name)
		info, err := os.Lstat(path)
		if err != nil {
			return fromOS(operation, err)
		}
		if !info.Mode().IsRegular() || uint64(info.Size()) != table.FileBytes {
			return wire.Fail(wire.FailInvalidInput, operation,
				"%s is no file of %d bytes", path, table.FileBytes)
		}
		paths = append(paths, path)
	}
	if len(paths) == 0 {
		return nil
	}
	if err := ingest(paths); err != nil {
		failure := classify(operation, err)
		failure.EffectUnknown = true
		return failure
	}
	return nil
}
