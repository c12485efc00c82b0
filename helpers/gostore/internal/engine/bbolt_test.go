package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"

	"gostore/internal/wire"
)

// bboltEntries have no empty key: bbolt takes none.
func bboltEntries(seed int64, count, valueBytes int) []entry {
	return entries(seed, count, valueBytes)[1:]
}

func puts(entries []entry) (ops []wire.Op) {
	for _, e := range entries {
		ops = append(ops, put(e.key, e.value))
	}
	return ops
}

func TestBboltKeepsBatchesAcrossCloseAndItsOwnCheckPasses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	want := bboltEntries(1, 3000, 5000)
	store := open(t, wire.EngineBbolt, wire.ModeCreate, path)
	ops := append([]wire.Op{put("\x00gone", "x")}, puts(want)...)
	ops = append(ops, wire.Op{Op: wire.OpDelete, Key: []byte("\x00gone")})
	for part := range slices.Chunk(ops, 700) {
		if err := store.Write(part, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(true); err != nil {
		t.Fatal(err)
	}
	store = open(t, wire.EngineBbolt, wire.ModeReopen, path)
	if got := all(t, store, wire.Range{}); !slices.Equal(got, want) {
		t.Errorf("%d entries, wanted %d", len(got), len(want))
	}
	part := wire.Range{Start: []byte(want[700].key), End: []byte(want[900].key), HasEnd: true}
	if got := all(t, store, part); !slices.Equal(got, want[700:900]) {
		t.Errorf("%d entries of a range of 200", len(got))
	}
	if err := store.Close(false); err != nil {
		t.Fatal(err)
	}
}

// A snapshot keeps bbolt from mapping a larger file: the map is made large enough at once.
func TestBboltGrowsWhileASnapshotIsHeldThatDoesNotSeeIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	store := open(t, wire.EngineBbolt, wire.ModeCreate, path)
	if err := store.Write([]wire.Op{put("k", "before")}, true); err != nil {
		t.Fatal(err)
	}
	view, err := store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		large := put(fmt.Sprint(i), string(bytes.Repeat([]byte{7}, 1<<20)))
		if err := store.Write([]wire.Op{large, put("k", "after")}, true); err != nil {
			t.Fatal(err)
		}
	}
	value, found, err := view.Get(nil, []byte("k"))
	if err != nil || !found || string(value) != "before" {
		t.Errorf("%q, %v, %v", value, found, err)
	}
	if err := errors.Join(view.Close(), store.Close(true)); err != nil {
		t.Fatal(err)
	}
}

// What cometbft-db does with the file, and what it finds there.
func TestANodeOpensTheBboltFileAndGoesOnWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	want := bboltEntries(6, 4000, 2000)
	store := open(t, wire.EngineBbolt, wire.ModeCreate, path)
	if err := errors.Join(store.Write(puts(want), true), store.Close(false)); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, os.ModePerm, bbolt.DefaultOptions)
	if err != nil {
		t.Fatal(err)
	}
	var got []entry
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte("tm"))
		if err != nil {
			return err
		}
		err = bucket.ForEach(func(key, value []byte) error {
			got = append(got, entry{string(key), string(value)})
			return nil
		})
		return errors.Join(err, bucket.Put([]byte("written by the node"), []byte("1")))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d entries, wanted %d", len(got), len(want))
	}
	store = open(t, wire.EngineBbolt, wire.ModeReopen, path)
	if got := all(t, store, wire.Range{}); !slices.Contains(got, entry{"written by the node", "1"}) {
		t.Errorf("%d entries, and not the node's", len(got))
	}
	if err := store.Close(true); err != nil {
		t.Fatal(err)
	}
}

func TestBboltSplitPointsDivideAndAreStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	store := open(t, wire.EngineBbolt, wire.ModeCreate, path)
	for first := 0; first < 20_000; first += 1000 {
		var ops []wire.Op
		for i := first; i < first+1000; i++ {
			ops = append(ops, put(fmt.Sprintf("%08d", i), string(bytes.Repeat([]byte{7}, 1000))))
		}
		if err := store.Write(ops, true); err != nil {
			t.Fatal(err)
		}
	}
	view, err := store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	total, err := ApproximateBytes(view, wire.Range{})
	if err != nil || total < 20_000_000 || total > 40_000_000 {
		t.Errorf("size %d, %v", total, err)
	}
	points, err := SplitPoints(view, wire.Range{}, 1<<20)
	if err != nil || len(points) < 10 || len(points) > 60 {
		t.Errorf("%d points, %v", len(points), err)
	}
	for _, point := range points {
		if _, found, err := view.Get(nil, point); err != nil || !found {
			t.Errorf("%q: %v, %v", point, found, err)
		}
	}
	if err := errors.Join(view.Close(), store.Close(false)); err != nil {
		t.Fatal(err)
	}
}

func TestBboltRefusesWhatIsNotItsOwn(t *testing.T) {
	directory := made(t, wire.EngineGoleveldb)
	refused(t, "a directory", wire.EngineBbolt, wire.ModeReopen, directory, wire.FailUnknownFormat)
	refused(t, "a directory", wire.EngineBbolt, wire.ModeCreate, directory, wire.FailInvalidInput)
	folder := t.TempDir()
	path := filepath.Join(folder, "x.db")
	open := func(engine wire.Engine, mode wire.Mode) error {
		_, err := Open(wire.Open{Engine: engine, Mode: mode, MemoryBytesMax: 1 << 26, Path: path})
		return err
	}
	wantKind(t, "nothing", open(wire.EngineBbolt, wire.ModeReopen), wire.FailNotFound)
	if err := os.WriteFile(path, []byte("transload guards this path.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "a guard", open(wire.EngineBbolt, wire.ModeReopen), wire.FailUnknownFormat)
	wantKind(t, "a guard", open(wire.EngineBbolt, wire.ModeCreate), wire.FailInvalidInput)
	for _, engine := range engines {
		wantKind(t, engine.String(), open(engine, wire.ModeReopen), wire.FailUnknownFormat)
		wantKind(t, engine.String(), open(engine, wire.ModeCreate), wire.FailInvalidInput)
	}
	wantKind(t, "read-only", open(wire.EngineBbolt, wire.ModeReadOnly), wire.FailUnknownFormat)
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestABboltFileThatAnotherProcessHoldsIsBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	store := open(t, wire.EngineBbolt, wire.ModeCreate, path)
	// flock tells two opens of one process apart as well.
	_, err := Open(wire.Open{Engine: wire.EngineBbolt, Mode: wire.ModeReopen, Path: path})
	wantKind(t, "held", err, wire.FailBusy)
	if err := store.Close(false); err != nil {
		t.Fatal(err)
	}
}

func TestBboltRefusesKeysBeyondItsLimitWithoutAnEffect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	store := open(t, wire.EngineBbolt, wire.ModeCreate, path)
	for _, key := range []string{"", string(bytes.Repeat([]byte{'k'}, bbolt.MaxKeySize+1))} {
		err := store.Write([]wire.Op{put("a", "1"), put(key, "2")}, true)
		wantKind(t, "a key of a length that bbolt doesn't take", err, wire.FailInvalidInput)
	}
	longest := put(string(bytes.Repeat([]byte{'k'}, bbolt.MaxKeySize)), "3")
	if err := store.Write([]wire.Op{longest}, true); err != nil {
		t.Fatal(err)
	}
	if got := all(t, store, wire.Range{}); len(got) != 1 {
		t.Errorf("%d entries", len(got))
	}
	if err := store.Close(true); err != nil {
		t.Fatal(err)
	}
}
