package engine

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"gostore/internal/wire"
)

// bboltBucket is the one that nodes keep their entries in (cometbft-db, boltdb.go).
var bboltBucket = []byte("tm")

const (
	// bboltFormat is the only format version that bbolt has.
	bboltFormat = 2
	// bboltLockTimeout is how long a lock is waited for; without one bbolt waits for ever.
	bboltLockTimeout = time.Second
	// bboltMapBytes is address space, not disk or memory: a file that outgrows its map is mapped
	// anew, for which bbolt waits until no snapshot is held.
	bboltMapBytes = 1 << 40
	// bboltGrowBytes is what the file grows by. bbolt's own 16 MiB are given to a small file too
	// when its map is larger.
	bboltGrowBytes = 4 << 20
	// bboltFillPercent is how full pages are made: chunks come in the order of their keys, and
	// bbolt's own 0.5 leaves half of each page empty for keys that never come.
	bboltFillPercent = 0.9
)

// bbolt's work is done when a call comes back; it has none in the background.
type bboltStore struct {
	*trouble
	db   *bbolt.DB
	path string
}

// bboltOptions are those of nodes, beyond locking and mapping.
func bboltOptions() *bbolt.Options {
	options := *bbolt.DefaultOptions
	options.Timeout = bboltLockTimeout
	options.InitialMmapSize = bboltMapBytes
	return &options
}

func openBbolt(o wire.Open) (Store, error) {
	if o.Mode == wire.ModeReadOnly {
		return nil, wire.Fail(wire.FailUnsupported, "open", "bbolt locks what it opens and dies "+
			"of what is damaged; transload reads its files itself")
	}
	// The mode of a node's file; the umask takes from it.
	db, err := bbolt.Open(o.Path, os.ModePerm, bboltOptions())
	if err != nil {
		return nil, fromEngine("open", err)
	}
	db.AllocSize = bboltGrowBytes
	make := func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bboltBucket)
		return err
	}
	if o.Mode == wire.ModeCreate {
		err = errors.Join(db.Update(make), syncDirectory(filepath.Dir(o.Path)))
	}
	if err != nil {
		return nil, fromEngine("open", errors.Join(err, db.Close()))
	}
	return &bboltStore{trouble: newTrouble(), db: db, path: o.Path}, nil
}

func (s *bboltStore) Format() (uint32, string) { return bboltFormat, "format 2" }

func (s *bboltStore) Snapshot() (View, error) {
	tx, err := s.db.Begin(false)
	if err != nil {
		return nil, fromEngine("snapshot", err)
	}
	bucket := tx.Bucket(bboltBucket)
	if bucket == nil {
		why := wire.Fail(wire.FailUnknownFormat, "snapshot", "%s has no bucket %q", s.path, bboltBucket)
		return nil, errors.Join(why, tx.Rollback())
	}
	return &bboltView{tx: tx, bucket: bucket, path: s.path}, nil
}

// Write is one transaction, which bbolt syncs whether or not that was asked for.
func (s *bboltStore) Write(ops []wire.Op, _ bool) error {
	return fromEngine("write", s.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bboltBucket)
		if bucket == nil {
			return wire.Fail(wire.FailUnknownFormat, "write", "%s has no bucket %q", s.path, bboltBucket)
		}
		bucket.FillPercent = bboltFillPercent
		for _, op := range ops {
			var err error
			if op.Op == wire.OpPut {
				err = bucket.Put(op.Key, op.Value)
			} else {
				err = bucket.Delete(op.Key)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

func (s *bboltStore) Close(check bool) error {
	if err := s.db.Close(); err != nil {
		return fromEngine("close", err)
	}
	db, err := bbolt.Open(s.path, os.ModePerm, bboltOptions())
	if err != nil {
		return fromEngine("reopen after close", err)
	}
	if check {
		err = db.View(func(tx *bbolt.Tx) error {
			var first error
			for found := range tx.Check() { // to its end, or it never ends
				if first == nil {
					first = found
				}
			}
			return first
		})
	}
	return fromEngine("check after close", errors.Join(err, db.Close()))
}

// bboltView is a read transaction. It changes nothing of its own once the bucket is open, so
// several goroutines may use it, each with cursors of its own.
type bboltView struct {
	tx     *bbolt.Tx
	bucket *bbolt.Bucket
	path   string

	partsOnce sync.Once
	parts     [][]byte
	partsErr  error
}

func (v *bboltView) Get(into, key []byte) ([]byte, bool, error) {
	if len(key) == 0 {
		return nil, false, nil
	}
	value := v.bucket.Get(key)
	return append(into[:0], value...), value != nil, nil
}

func (v *bboltView) Iter(r wire.Range) (Iter, error) {
	return &bboltIter{cursor: v.bucket.Cursor(), within: r}, nil
}

// Size takes the tree's parts for equally large.
func (v *bboltView) Size(first, last []byte) (uint64, error) {
	v.partsOnce.Do(func() { v.parts, v.partsErr = bboltParts(v.path, v.tx, v.bucket) })
	if v.partsErr != nil {
		return 0, fromEngine("approximate bytes", v.partsErr)
	}
	within := uint64(1)
	for _, lowest := range v.parts {
		if bytes.Compare(first, lowest) < 0 && bytes.Compare(lowest, last) <= 0 {
			within++
		}
	}
	return uint64(v.tx.Size()) * within / uint64(len(v.parts)+1), nil
}

func (v *bboltView) Close() error { return fromEngine("release", v.tx.Rollback()) }

// bboltIter walks a range. The transaction's map holds keys and values while it is open.
type bboltIter struct {
	cursor     *bbolt.Cursor
	within     wire.Range
	key, value []byte
	err        error
}

func (i *bboltIter) First() bool { return i.at(i.cursor.Seek(i.within.Start)) }

func (i *bboltIter) Last() bool {
	if !i.within.HasEnd {
		return i.at(i.cursor.Last())
	}
	if beyond, _ := i.cursor.Seek(i.within.End); beyond == nil {
		return i.at(i.cursor.Last())
	}
	return i.at(i.cursor.Prev())
}

func (i *bboltIter) SeekGE(key []byte) bool {
	if bytes.Compare(key, i.within.Start) < 0 {
		key = i.within.Start
	}
	return i.at(i.cursor.Seek(key))
}

func (i *bboltIter) Next() bool { return i.at(i.cursor.Next()) }

func (i *bboltIter) at(key, value []byte) bool {
	i.key, i.value = key, value
	if key == nil || i.err != nil || !i.within.Contains(key) {
		return false
	}
	if value == nil {
		i.err = wire.Fail(wire.FailUnknownFormat, "scan",
			"bucket %s stands among the entries", wire.Shown(key))
		return false
	}
	return true
}

func (i *bboltIter) Key() []byte            { return i.key }
func (i *bboltIter) Value() ([]byte, error) { return i.value, nil }
func (i *bboltIter) Err() error             { return i.err }
func (i *bboltIter) Close() error           { return nil }
