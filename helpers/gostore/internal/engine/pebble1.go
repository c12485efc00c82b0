package engine

import (
	"errors"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"

	"gostore/internal/wire"
)

const (
	pebble1FormatMin = uint64(pebble.FormatMostCompatible)
	pebble1FormatMax = uint64(pebble.FormatNewest)
)

type pebble1Store struct {
	*trouble
	db      *pebble.DB
	path    string
	options *pebble.Options
}

// pebble1Options are those of cometbft-db and cosmos-db (their defaults: Snappy, blocks of 4 KiB,
// no filter), with the given format version.
func pebble1Options(memoryBytesMax uint64, format pebble.FormatMajorVersion) *pebble.Options {
	options := &pebble.Options{
		FormatMajorVersion: format,
		FS:                 vfs.Default,
		Logger:             quietLogger{},
		MaxOpenFiles:       openFilesMax,
		Cache:              pebble.NewCache(cacheBytes(memoryBytesMax)),
	}
	options.Experimental.ReadSamplingMultiplier = -1 // reading a target must not compact it
	return options.EnsureDefaults()
}

func openPebble1(o wire.Open) (Store, error) {
	format := pebble.FormatMostCompatible
	if o.Mode != wire.ModeCreate {
		found, err := pebble.Peek(o.Path, vfs.Default)
		if err != nil {
			return nil, fromEngine("open", err)
		}
		if !found.Exists {
			return nil, wire.Fail(wire.FailNotFound, "open", "%s has no manifest", o.Path)
		}
		format = found.FormatMajorVersion
	}
	options := pebble1Options(o.MemoryBytesMax, format)
	defer options.Cache.Unref() // the store holds its own reference
	options.ReadOnly = o.Mode == wire.ModeReadOnly
	options.ErrorIfExists = o.Mode == wire.ModeCreate
	options.ErrorIfNotExists = o.Mode != wire.ModeCreate
	trouble := newTrouble()
	options.EventListener.BackgroundError = trouble.record
	db, err := pebble.Open(o.Path, options)
	if err != nil {
		return nil, fromEngine("open", err)
	}
	if now := db.FormatMajorVersion(); now != format {
		_ = db.Close()
		return nil, wire.Fail(wire.FailInternal, "open", "format version %d became %d", format, now)
	}
	return &pebble1Store{trouble: trouble, db: db, path: o.Path, options: options}, nil
}

func (s *pebble1Store) Format() (uint32, string) {
	format := uint32(s.db.FormatMajorVersion())
	return format, formatText(format)
}

func (s *pebble1Store) Snapshot() (View, error) {
	return &pebble1View{db: s.db, snapshot: s.db.NewSnapshot()}, nil
}

func (s *pebble1Store) Write(ops []wire.Op, sync bool) error {
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, op := range ops {
		var err error
		if op.Op == wire.OpPut {
			err = batch.Set(op.Key, op.Value, nil)
		} else {
			err = batch.Delete(op.Key, nil)
		}
		if err != nil {
			return fromEngine("write", err)
		}
	}
	options := pebble.NoSync
	if sync {
		options = pebble.Sync
	}
	return fromEngine("write", batch.Commit(options))
}

func (s *pebble1Store) TakeIn(tables []wire.Table) error {
	return takeIn(s.path, tables, s.db.Ingest)
}

func (s *pebble1Store) Close(check bool) error {
	format := s.db.FormatMajorVersion()
	if s.options.ReadOnly {
		return fromEngine("close", s.db.Close())
	}
	flushErr := s.db.Flush()
	if err := errors.Join(flushErr, s.db.Close()); err != nil {
		return fromEngine("close", err)
	}
	if err := clearStaging(s.path); err != nil {
		return err
	}
	options := pebble1Options(cacheBytesMin, format)
	defer options.Cache.Unref()
	options.ReadOnly, options.ErrorIfNotExists = true, true
	db, err := pebble.Open(s.path, options)
	if err != nil {
		return fromEngine("reopen after close", err)
	}
	if check {
		err = db.CheckLevels(nil)
	}
	return fromEngine("check after close", errors.Join(err, db.Close()))
}

type pebble1View struct {
	db       *pebble.DB
	snapshot *pebble.Snapshot
}

func (v *pebble1View) Get(into, key []byte) ([]byte, bool, error) {
	value, closer, err := v.snapshot.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fromEngine("get", err)
	}
	owned := append(into[:0], value...)
	return owned, true, fromEngine("get", closer.Close())
}

func (v *pebble1View) Iter(r wire.Range) (Iter, error) {
	options := &pebble.IterOptions{LowerBound: r.Start}
	if r.HasEnd {
		options.UpperBound = r.End
	}
	iter, err := v.snapshot.NewIter(options)
	if err != nil {
		return nil, fromEngine("scan", err)
	}
	return pebble1Iter{iter}, nil
}

func (v *pebble1View) Size(first, last []byte) (uint64, error) {
	size, err := v.db.EstimateDiskUsage(first, last)
	return size, fromEngine("approximate bytes", err)
}

func (v *pebble1View) Close() error { return fromEngine("release", v.snapshot.Close()) }

type pebble1Iter struct{ *pebble.Iterator }

func (i pebble1Iter) Value() ([]byte, error) {
	value, err := i.ValueAndErr()
	return value, fromEngine("scan", err)
}

func (i pebble1Iter) Err() error   { return fromEngine("scan", i.Error()) }
func (i pebble1Iter) Close() error { return fromEngine("scan", i.Iterator.Close()) }
