package engine

import (
	"errors"
	"io/fs"
	"syscall"

	pebble1 "github.com/cockroachdb/pebble"
	pebble2 "github.com/cockroachdb/pebble/v2"
	"github.com/dgraph-io/badger/v4"
	leveldberrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"go.etcd.io/bbolt"

	"gostore/internal/wire"
)

// classify gives an engine's error its kind. An error of an engine that carries no number of the
// operating system is about what is stored, so it counts as corruption: a reader must never take
// it for something that goes away.
func classify(operation string, err error) *wire.Failure {
	var failure *wire.Failure
	if errors.As(err, &failure) {
		return failure
	}
	return wire.Fail(kindOf(err), operation, "%s", err.Error())
}

func kindOf(err error) wire.FailureKind {
	switch {
	case pebble1.IsCorruptionError(err), pebble2.IsCorruptionError(err),
		leveldberrors.IsCorrupted(err):
		return wire.FailCorrupt
	case errors.Is(err, pebble1.ErrDBDoesNotExist), errors.Is(err, pebble2.ErrDBDoesNotExist):
		return wire.FailNotFound
	case errors.Is(err, storage.ErrLocked), errors.Is(err, bbolt.ErrTimeout):
		return wire.FailBusy
	case errors.Is(err, bbolt.ErrVersionMismatch), errors.Is(err, badger.ErrEncryptionKeyMismatch):
		return wire.FailUnknownFormat
	case errors.Is(err, bbolt.ErrKeyRequired), errors.Is(err, bbolt.ErrKeyTooLarge),
		errors.Is(err, bbolt.ErrValueTooLarge):
		return wire.FailInvalidInput
	}
	if errors.Is(err, fs.ErrNotExist) {
		return wire.FailCorrupt // a file that the manifest names; the directory itself was seen
	}
	var number syscall.Errno
	if !errors.As(err, &number) {
		return wire.FailCorrupt
	}
	switch number {
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
		return wire.FailNoSpace
	case syscall.EAGAIN: // how a lock is refused
		return wire.FailBusy
	}
	return wire.FailIO
}

// fromOS gives an error of a plain file operation its kind; nil stays nil.
func fromOS(operation string, err error) error {
	if err == nil {
		return nil
	}
	var failure *wire.Failure
	if errors.As(err, &failure) {
		return failure
	}
	failure = classify(operation, err)
	if errors.Is(err, fs.ErrNotExist) {
		failure.Kind = wire.FailNotFound
	} else if failure.Kind == wire.FailCorrupt {
		failure.Kind = wire.FailIO
	}
	return failure
}

// fromEngine gives an engine's error its kind; nil stays nil.
func fromEngine(operation string, err error) error {
	if err == nil {
		return nil
	}
	return classify(operation, err)
}
