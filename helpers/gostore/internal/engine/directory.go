package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"gostore/internal/wire"
)

// stagingName is where chunks lie until their commit, inside the target's directory: taking a
// table in is a rename within one file system. Engines ignore it; it is removed at close and at
// reopen.
const stagingName = "transload-bulk"

func prepareEmpty(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.Mkdir(path, 0o755); err != nil {
			return fromOS("create", err)
		}
		return syncDirectory(filepath.Dir(path))
	case errors.Is(err, syscall.ENOTDIR):
		return wire.Fail(wire.FailInvalidInput, "create", "%s is a file", path)
	case err != nil:
		return fromOS("create", err)
	case len(entries) != 0:
		return wire.Fail(wire.FailInvalidInput, "create",
			"%s is not empty: it holds %s", path, entries[0].Name())
	}
	return nil
}

// prepareNothing refuses a path where something is: the store will be a file of this name.
func prepareNothing(path string) error {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fromOS("create", err)
	}
	return wire.Fail(wire.FailInvalidInput, "create", "%s is there already", path)
}

func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fromOS("sync directory", err)
	}
	err = dir.Sync()
	return fromOS("sync directory", errors.Join(err, dir.Close()))
}

// chunkNumber tells the files of this process's chunks apart.
var chunkNumber atomic.Uint64

// stagingPath is a new name in the staging folder, which is made where it isn't there.
func stagingPath(root string) (string, error) {
	staging := filepath.Join(root, stagingName)
	if err := os.Mkdir(staging, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fromOS("bulk load", err)
	}
	return filepath.Join(staging, fmt.Sprintf("chunk-%d", chunkNumber.Add(1))), nil
}

func clearStaging(path string) error {
	return fromOS("clear staging", os.RemoveAll(filepath.Join(path, stagingName)))
}
