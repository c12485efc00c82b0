package engine

import (
	"errors"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"

	"gostore/internal/wire"
)

// filterBitsPerKey is cosmos-db's. cometbft-db writes no filters and ignores those it finds.
const filterBitsPerKey = 10

// goleveldb tells failures of its background work to whoever waits; its trouble is a lock that it
// keeps (see begin).
type goleveldbStore struct {
	*trouble
	db   *leveldb.DB
	path string
}

func goleveldbOptions(memoryBytesMax uint64) *opt.Options {
	return &opt.Options{
		Filter:                 filter.NewBloomFilter(filterBitsPerKey),
		BlockCacheCapacity:     int(cacheBytes(memoryBytesMax)),
		OpenFilesCacheCapacity: openFilesMax,
		DisableSeeksCompaction: true, // reading a target must not compact it
	}
}

func openGoleveldb(o wire.Open) (Store, error) {
	options := goleveldbOptions(o.MemoryBytesMax)
	switch o.Mode {
	case wire.ModeReadOnly:
		return nil, wire.Fail(wire.FailUnsupported, "open", "goleveldb writes to what it opens, "+
			"and fails on some clean directories when it is told not to; give it a copy to reopen")
	case wire.ModeCreate:
		options.ErrorIfExist = true
	case wire.ModeReopen:
		options.ErrorIfMissing = true
	}
	db, err := leveldb.OpenFile(o.Path, options)
	if err != nil {
		return nil, fromEngine("open", err)
	}
	return &goleveldbStore{trouble: newTrouble(), db: db, path: o.Path}, nil
}

func (s *goleveldbStore) Format() (uint32, string) { return 0, "leveldb" }

func (s *goleveldbStore) Snapshot() (View, error) {
	snapshot, err := s.db.GetSnapshot()
	if err != nil {
		return nil, fromEngine("snapshot", err)
	}
	return &goleveldbView{db: s.db, snapshot: snapshot}, nil
}

func (s *goleveldbStore) Write(ops []wire.Op, sync bool) error {
	batch := new(leveldb.Batch)
	for _, op := range ops {
		if op.Op == wire.OpPut {
			batch.Put(op.Key, op.Value)
		} else {
			batch.Delete(op.Key)
		}
	}
	return fromEngine("write", s.db.Write(batch, &opt.WriteOptions{Sync: sync}))
}

func (s *goleveldbStore) Chunk() (Chunk, error) {
	path, err := stagingPath(s.path)
	if err != nil {
		return nil, err
	}
	return newSpool(path+".spool", s.load)
}

// load puts a whole chunk into the store by a transaction: it writes tables, not the log, and
// its tables become visible together, in one record of the manifest.
func (s *goleveldbStore) load(entries func(put func(key, value []byte) error) error) error {
	transaction, err := s.begin()
	if err != nil {
		return fromEngine("bulk commit", err)
	}
	put := func(key, value []byte) error { return transaction.Put(key, value, nil) }
	if err := entries(put); err != nil {
		transaction.Discard()
		return fromEngine("bulk commit", err)
	}
	if err := transaction.Commit(); err != nil {
		transaction.Discard()
		failure := classify("bulk commit", err)
		failure.EffectUnknown = true
		return failure
	}
	return nil
}

// begin opens a transaction. When goleveldb can't, it keeps its write lock for ever: every later
// write, and its own close, would wait for it, so that is the end of the store.
func (s *goleveldbStore) begin() (*leveldb.Transaction, error) {
	transaction, err := s.db.OpenTransaction()
	if err != nil {
		s.record(err)
	}
	return transaction, err
}

func (s *goleveldbStore) Close(check bool) error {
	// Beginning a transaction writes what only the log has into synced tables; closing alone
	// wouldn't sync the log.
	transaction, err := s.begin()
	if err != nil {
		return fromEngine("close", err)
	}
	transaction.Discard()
	if err := s.db.Close(); err != nil {
		return fromEngine("close", err)
	}
	if err := clearStaging(s.path); err != nil {
		return err
	}
	options := goleveldbOptions(cacheBytesMin)
	options.ErrorIfMissing = true
	db, err := leveldb.OpenFile(s.path, options)
	if err != nil {
		return fromEngine("reopen after close", err)
	}
	if check {
		iter := db.NewIterator(nil, &opt.ReadOptions{DontFillCache: true, Strict: opt.StrictAll})
		for iter.Next() {
		}
		err = iter.Error()
		iter.Release()
	}
	return fromEngine("check after close", errors.Join(err, db.Close()))
}

type goleveldbView struct {
	db       *leveldb.DB
	snapshot *leveldb.Snapshot
}

func (v *goleveldbView) Get(_, key []byte) ([]byte, bool, error) {
	value, err := v.snapshot.Get(key, nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, false, nil
	}
	return value, err == nil, fromEngine("get", err)
}

func (v *goleveldbView) Iter(r wire.Range) (Iter, error) {
	slice := &util.Range{Start: r.Start}
	if r.HasEnd {
		slice.Limit = r.End
	}
	return goleveldbIter{v.snapshot.NewIterator(slice, &opt.ReadOptions{DontFillCache: true})}, nil
}

func (v *goleveldbView) Size(first, last []byte) (uint64, error) {
	after := append(append([]byte(nil), last...), 0)
	sizes, err := v.db.SizeOf([]util.Range{{Start: first, Limit: after}})
	if err != nil {
		return 0, fromEngine("approximate bytes", err)
	}
	return uint64(max(sizes.Sum(), 0)), nil
}

func (v *goleveldbView) Close() error {
	v.snapshot.Release()
	return nil
}

type goleveldbIter struct{ iterator.Iterator }

func (i goleveldbIter) SeekGE(key []byte) bool { return i.Seek(key) }
func (i goleveldbIter) Value() ([]byte, error) { return i.Iterator.Value(), nil }
func (i goleveldbIter) Err() error             { return fromEngine("scan", i.Error()) }
func (i goleveldbIter) Close() error {
	i.Release()
	return nil
}
