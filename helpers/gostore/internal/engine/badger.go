package engine

import (
	"bytes"
	"errors"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/y"

	"gostore/internal/wire"
)

const (
	// badgerFormat is the version in the manifests of BadgerDB 3 and 4. BadgerDB 2, which nodes
	// before CometBFT 0.38.13 have, writes 7 and another format of tables and logs.
	badgerFormat = 8
	// badgerVersionBytes stand behind every key in tables.
	badgerVersionBytes = 8
)

type badgerStore struct {
	db   *badger.DB
	path string
	log  *badgerLog
}

// badgerOptions are those of nodes (cometbft-db, badger_db.go), and all checksums verified.
//
// Invariant: every block of every table has been verified (verifyTables) before a key is read.
// BadgerDB's iterator has no error: a block that can't be read would end it like the last one.
func badgerOptions(path string, memoryBytesMax uint64, log *badgerLog) badger.Options {
	return badger.DefaultOptions(path).
		WithLogger(log).
		WithMetricsEnabled(false).
		WithSyncWrites(true). // a value in its log is durable before what points to it
		WithNumMemtables(2).
		WithBlockCacheSize(cacheBytes(memoryBytesMax)).
		WithVerifyValueChecksum(true).
		WithChecksumVerificationMode(options.OnBlockRead)
}

func openBadger(o wire.Open) (Store, error) {
	log := newBadgerLog()
	opts := badgerOptions(o.Path, o.MemoryBytesMax, log)
	// A snapshot of a source that was closed cleanly: its tables are the source's own files.
	opts.ReadOnly = o.Mode == wire.ModeReadOnly && !hasMemtables(o.Path)
	db, err := badger.Open(opts)
	if err != nil {
		return nil, fromEngine("open", err)
	}
	store := &badgerStore{db: db, path: o.Path, log: log}
	// After a failure it isn't closed: that would write to it. The process ends.
	if err := verifyTables(db, log); err != nil {
		return nil, err
	}
	return store, nil
}

func (s *badgerStore) Format() (uint32, string) { return badgerFormat, "manifest version 8" }

func (s *badgerStore) Snapshot() (View, error) {
	return &badgerView{db: s.db, txn: s.db.NewTransaction(false)}, nil
}

// Write is one transaction.
func (s *badgerStore) Write(ops []wire.Op, _ bool) error {
	err := s.db.Update(func(txn *badger.Txn) error {
		for _, op := range ops {
			var err error
			if op.Op == wire.OpPut {
				err = txn.Set(op.Key, op.Value)
			} else {
				err = txn.Delete(op.Key)
			}
			if err != nil {
				return badgerKeyFailure("write", op.Key, err)
			}
		}
		return nil
	})
	return fromEngine("write", err)
}

// badgerKeyFailure tells apart what BadgerDB doesn't take.
func badgerKeyFailure(operation string, key []byte, err error) error {
	switch {
	case errors.Is(err, badger.ErrTxnTooBig):
		return wire.Fail(wire.FailLimit, operation, "the batch is larger than a transaction of BadgerDB")
	case errors.Is(err, badger.ErrEmptyKey), errors.Is(err, badger.ErrInvalidKey),
		len(key) > badgerKeyBytesMax:
		return wire.Fail(wire.FailInvalidInput, operation, "key %s: %v", wire.Shown(key), err)
	}
	return err
}

// badgerKeyBytesMax is BadgerDB's maxKeySize (txn.go).
const badgerKeyBytesMax = 65_000

func (s *badgerStore) Chunk() (Chunk, error) {
	path, err := stagingPath(s.path)
	if err != nil {
		return nil, err
	}
	return newSpool(path+".spool", s.load)
}

// load puts a whole chunk into the store, in as many transactions as it needs: one that breaks
// off in between is loaded again whole.
func (s *badgerStore) load(entries func(put func(key, value []byte) error) error) error {
	batch := s.db.NewWriteBatch()
	defer batch.Cancel()
	err := entries(func(key, value []byte) error {
		// The batch keeps what it is given until it is written.
		err := batch.Set(bytes.Clone(key), bytes.Clone(value))
		return badgerKeyFailure("bulk commit", key, err)
	})
	if err == nil {
		err = batch.Flush()
	}
	if err == nil {
		err = s.db.Sync()
	}
	if err == nil {
		return nil
	}
	failure := classify("bulk commit", err)
	failure.EffectUnknown = true
	return failure
}

func (s *badgerStore) Close(check bool) error {
	writable := !s.db.Opts().ReadOnly
	if err := s.db.Close(); err != nil {
		return fromEngine("close", err)
	}
	if err := errors.Join(s.log.failure(), clearStaging(s.path)); err != nil {
		return err
	}
	if !writable {
		return nil
	}
	log := newBadgerLog()
	db, err := badger.Open(badgerOptions(s.path, cacheBytesMin, log).WithReadOnly(true))
	if err != nil {
		return fromEngine("reopen after close", err)
	}
	if err := log.failure(); err != nil {
		return err
	}
	if check {
		if err := verifyTables(db, log); err != nil {
			return err
		}
		err = readAll(db)
	}
	return fromEngine("check after close", errors.Join(err, db.Close()))
}

// verifyTables reads every block. BadgerDB leaves a table out whose index is damaged, says so in
// its log, and goes on; at a damaged block its own verification panics.
func verifyTables(db *badger.DB, log *badgerLog) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = wire.Fail(wire.FailCorrupt, "open", "a block of a table can't be read: %v", panicked)
		}
	}()
	if err := log.failure(); err != nil {
		return err
	}
	return fromEngine("open", db.VerifyChecksum())
}

// readAll reads every value: those in the value log are checked only then.
func readAll(db *badger.DB) error {
	return db.View(func(txn *badger.Txn) error {
		iter := txn.NewIterator(badger.IteratorOptions{})
		defer iter.Close()
		for iter.Rewind(); iter.Valid(); iter.Next() {
			if err := iter.Item().Value(func([]byte) error { return nil }); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *badgerStore) Trouble() <-chan struct{} { return s.log.Trouble() }
func (s *badgerStore) TroubleErr() error        { return s.log.TroubleErr() }

// badgerView is a read transaction; those may be used by several goroutines.
type badgerView struct {
	db  *badger.DB
	txn *badger.Txn
}

func (v *badgerView) Get(into, key []byte) ([]byte, bool, error) {
	if len(key) == 0 {
		return nil, false, nil
	}
	item, err := v.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fromEngine("get", err)
	}
	value, err := item.ValueCopy(into[:0])
	return value, err == nil, fromEngine("get", err)
}

func (v *badgerView) Iter(r wire.Range) (Iter, error) {
	iter := v.txn.NewIterator(badger.IteratorOptions{})
	return &badgerIter{txn: v.txn, iter: iter, within: r}, nil
}

// Size counts a table whose keys lie only partly between the two by half.
func (v *badgerView) Size(first, last []byte) (uint64, error) {
	var size uint64
	for _, table := range v.db.Tables() {
		left, right := y.ParseKey(table.Left), y.ParseKey(table.Right)
		switch {
		case bytes.Compare(right, first) < 0 || bytes.Compare(left, last) > 0:
		case bytes.Compare(left, first) >= 0 && bytes.Compare(right, last) <= 0:
			size += uint64(table.OnDiskSize)
		default:
			size += uint64(table.OnDiskSize) / 2
		}
	}
	return size, nil
}

func (v *badgerView) Close() error {
	v.txn.Discard()
	return nil
}

// badgerIter walks a range forwards; Last alone looks from the other end.
type badgerIter struct {
	txn    *badger.Txn
	iter   *badger.Iterator
	within wire.Range
	last   []byte // what Last found, until the next move
	value  []byte
}

func (i *badgerIter) First() bool { return i.SeekGE(i.within.Start) }

func (i *badgerIter) SeekGE(key []byte) bool {
	if bytes.Compare(key, i.within.Start) < 0 {
		key = i.within.Start
	}
	if len(key) == 0 {
		i.iter.Rewind()
	} else {
		i.iter.Seek(key)
	}
	return i.here()
}

func (i *badgerIter) Next() bool {
	i.iter.Next()
	return i.here()
}

func (i *badgerIter) here() bool {
	i.last = nil
	return i.iter.Valid() && i.within.Contains(i.iter.Item().Key())
}

func (i *badgerIter) Last() bool {
	back := i.txn.NewIterator(badger.IteratorOptions{Reverse: true})
	defer back.Close()
	if i.within.HasEnd && len(i.within.End) == 0 {
		return false
	}
	if i.within.HasEnd {
		back.Seek(i.within.End)
		if back.Valid() && bytes.Equal(back.Item().Key(), i.within.End) {
			back.Next()
		}
	} else {
		back.Rewind()
	}
	if !back.Valid() || !i.within.Contains(back.Item().Key()) {
		return false
	}
	i.last = back.Item().KeyCopy(nil)
	return true
}

func (i *badgerIter) Key() []byte {
	if i.last != nil {
		return i.last
	}
	return i.iter.Item().Key()
}

func (i *badgerIter) Value() ([]byte, error) {
	item := i.iter.Item()
	if i.last != nil {
		found, err := i.txn.Get(i.last)
		if err != nil {
			return nil, fromEngine("scan", err)
		}
		item = found
	}
	var err error
	i.value, err = item.ValueCopy(i.value)
	return i.value, fromEngine("scan", err)
}

// Err is none: a table that can't be read was refused when it was opened.
func (i *badgerIter) Err() error { return nil }

func (i *badgerIter) Close() error {
	i.iter.Close()
	return nil
}
