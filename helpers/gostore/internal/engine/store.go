// Package engine opens stores of the helper's engines behind one interface.
//
// Invariant: a directory's own files are looked at before an engine opens it (recognise.go), and
// the format version of a store that is there is never raised.
package engine

import (
	"gostore/internal/wire"
)

// Store is one open directory, or file.
type Store interface {
	// Format is the format version, 0 where the engine has none, and its text for reports.
	Format() (uint32, string)
	// Snapshot is a view that never changes.
	Snapshot() (View, error)
	// Write applies changes whole or not at all; with sync they survive a power cut.
	Write(ops []wire.Op, sync bool) error
	// Close makes everything durable, closes the store and, if it was open for writing, opens it
	// again from the disk; with check everything that the engine can check is then checked.
	Close(check bool) error
	// Trouble is closed when the engine's own background work has failed: operations may then
	// hang, and the store is to be given up. TroubleErr says why.
	Trouble() <-chan struct{}
	TroubleErr() error
}

// Loader is a Store that takes sorted chunks of entries.
type Loader interface {
	// Chunk begins a sorted load of entries, which become visible at its commit.
	Chunk() (Chunk, error)
}

// Taker is a Store that takes in tables which others have made.
type Taker interface {
	// TakeIn makes the tables of one chunk, which lie in the staging folder, visible and durable,
	// all or none. The files are the store's afterwards.
	TakeIn(tables []wire.Table) error
}

// View is a snapshot. It is used by several goroutines.
type View interface {
	// Get gives a copy of the value, in the memory of into where that is enough, or found false.
	Get(into, key []byte) (value []byte, found bool, err error)
	// Iter walks a range that isn't empty.
	Iter(r wire.Range) (Iter, error)
	// Size is about how many bytes the keys from first to last, both included, take on disk.
	// What is only in the log isn't counted.
	Size(first, last []byte) (uint64, error)
	// Close gives the snapshot up.
	Close() error
}

// Iter walks keys in ascending order. First, Last, SeekGE and Next answer whether there is an
// entry; false may also mean a failure, which Err gives.
type Iter interface {
	First() bool
	Last() bool
	SeekGE(key []byte) bool
	Next() bool
	// Key is valid until the next move.
	Key() []byte
	// Value is valid until the next move.
	Value() ([]byte, error)
	Err() error
	Close() error
}

// Chunk is a sorted load.
type Chunk interface {
	// Put takes the next entry; the caller has checked the order. The bytes are copied.
	Put(key, value []byte) error
	// Commit makes the chunk visible, whole, and durable.
	Commit() error
	// Abort forgets the chunk. It does nothing after a commit that succeeded.
	Abort()
}

// Open opens or makes the directory that the request names.
func Open(o wire.Open) (Store, error) {
	if o.Path == "" {
		return nil, wire.Fail(wire.FailInvalidInput, "open", "the path is empty")
	}
	opener, known := openers[o.Engine]
	if !known {
		return nil, wire.Fail(wire.FailUnsupported, "open", "%s is not in this helper", o.Engine)
	}
	switch o.Mode {
	case wire.ModeCreate:
		prepare := prepareEmpty
		if isFile(o.Engine) {
			prepare = prepareNothing
		}
		if err := prepare(o.Path); err != nil {
			return nil, err
		}
	default:
		if err := Recognise(o.Engine, o.Path); err != nil {
			return nil, err
		}
		if o.Mode == wire.ModeReopen && !isFile(o.Engine) {
			if err := clearStaging(o.Path); err != nil {
				return nil, err
			}
		}
	}
	return opener(o)
}

var openers = map[wire.Engine]func(wire.Open) (Store, error){
	wire.EngineGoleveldb: openGoleveldb,
	wire.EnginePebble1:   openPebble1,
	wire.EnginePebble2:   openPebble2,
	wire.EngineBbolt:     openBbolt,
	wire.EngineBadgerdb:  openBadger,
}

// isFile tells engines that keep a store in one file and not in a directory.
func isFile(engine wire.Engine) bool { return engine == wire.EngineBbolt }

const (
	cacheBytesMin = 8 << 20
	cacheBytesMax = 512 << 20
)

// cacheBytes is the share of the memory limit that goes to an engine's block cache; the rest is
// for iterators, tables being written and frames.
func cacheBytes(memoryBytesMax uint64) int64 {
	return int64(min(max(memoryBytesMax/4, cacheBytesMin), cacheBytesMax))
}

// openFilesMax stays below the usual limit of 1,024 with room for sockets and logs.
const openFilesMax = 500
