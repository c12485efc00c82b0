package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"gostore/internal/wire"
)

// badgerMade is a closed store with these entries, half of them in a chunk and half in a batch.
func badgerMade(t *testing.T, want []entry) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	store := open(t, wire.EngineBadgerdb, wire.ModeCreate, path)
	load(t, store, want[len(want)/2:])
	if err := store.Write(puts(want[:len(want)/2]), true); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(true); err != nil {
		t.Fatal(err)
	}
	return path
}

func readBack(t *testing.T, mode wire.Mode, path string) []entry {
	t.Helper()
	store := open(t, wire.EngineBadgerdb, mode, path)
	got := all(t, store, wire.Range{})
	if err := store.Close(false); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestBadgerKeepsChunksAndBatchesAcrossClose(t *testing.T) {
	want := bboltEntries(1, 3000, 5000)
	// Larger than BadgerDB keeps in tables: it goes to the value log.
	want[17].value = strings.Repeat("large", 400_000)
	path := badgerMade(t, want)
	for _, mode := range []wire.Mode{wire.ModeReadOnly, wire.ModeReopen} {
		if got := readBack(t, mode, path); !slices.Equal(got, want) {
			t.Errorf("mode %d: %d entries, wanted %d", mode, len(got), len(want))
		}
	}
	store := open(t, wire.EngineBadgerdb, wire.ModeReopen, path)
	ops := []wire.Op{put("a", "1"), put("a", "2"), put("b", "1"), {Op: wire.OpDelete, Key: []byte("b")}}
	for _, e := range want {
		ops = append(ops, wire.Op{Op: wire.OpDelete, Key: []byte(e.key)})
	}
	if err := store.Write(ops[:4], true); err != nil {
		t.Fatal(err)
	}
	part := wire.Range{Start: []byte(want[700].key), End: []byte(want[900].key), HasEnd: true}
	if got := all(t, store, part); !slices.Equal(got, want[700:900]) {
		t.Errorf("%d entries of a range of 200", len(got))
	}
	if err := store.Write(ops[4:], true); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(true); err != nil {
		t.Fatal(err)
	}
	if got := readBack(t, wire.ModeReadOnly, path); !slices.Equal(got, []entry{{"a", "2"}}) {
		t.Errorf("%d entries, wanted one", len(got))
	}
}

func TestABadgerSnapshotDoesNotSeeLaterWrites(t *testing.T) {
	store := open(t, wire.EngineBadgerdb, wire.ModeCreate, filepath.Join(t.TempDir(), "db"))
	if err := store.Write([]wire.Op{put("k", "before")}, true); err != nil {
		t.Fatal(err)
	}
	view, err := store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Write([]wire.Op{put("k", "after"), put("l", "")}, true); err != nil {
		t.Fatal(err)
	}
	value, found, err := view.Get(nil, []byte("k"))
	if err != nil || !found || string(value) != "before" {
		t.Errorf("%q, %v, %v", value, found, err)
	}
	first, last, err := ends(view, wire.Range{})
	if err != nil || string(first) != "k" || string(last) != "k" {
		t.Errorf("%q to %q, %v", first, last, err)
	}
	if err := errors.Join(view.Close(), store.Close(true)); err != nil {
		t.Fatal(err)
	}
}

// What cometbft-db does with the directory, and what it finds there.
func TestANodeOpensTheBadgerDirectoryAndGoesOnWriting(t *testing.T) {
	want := bboltEntries(6, 4000, 2000)
	path := badgerMade(t, want)
	opts := badger.DefaultOptions(path)
	opts.SyncWrites = false
	opts.Logger = nil
	db, err := badger.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	var got []entry
	err = db.View(func(txn *badger.Txn) error {
		iter := txn.NewIterator(badger.DefaultIteratorOptions)
		defer iter.Close()
		for iter.Rewind(); iter.Valid(); iter.Next() {
			value, err := iter.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			got = append(got, entry{string(iter.Item().Key()), string(value)})
		}
		return nil
	})
	if !slices.Equal(got, want) {
		t.Errorf("%d entries, wanted %d: %v", len(got), len(want), err)
	}
	err = db.Update(func(txn *badger.Txn) error {
		return txn.Set([]byte("written by the node"), []byte("1"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if got := readBack(t, wire.ModeReadOnly, path); !slices.Contains(got, entry{"written by the node", "1"}) {
		t.Errorf("%d entries, and not the node's", len(got))
	}
}

// Left open as by a kill: the files as they are at some moment are a store that was not closed.
func TestABadgerStoreThatWasNotClosedIsReadFromItsCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	store := open(t, wire.EngineBadgerdb, wire.ModeCreate, path)
	want := bboltEntries(4, 2000, 500)
	if err := store.Write(puts(want), true); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	if got := readBack(t, wire.ModeReadOnly, copied); !slices.Equal(got, want) {
		t.Errorf("%d entries, wanted %d", len(got), len(want))
	}
	if err := store.Close(false); err != nil {
		t.Fatal(err)
	}
}

// BadgerDB itself leaves such a table out and goes on without its keys.
func TestADamagedBadgerTableIsAnErrorAndNotLeftOut(t *testing.T) { // F1
	want := bboltEntries(2, 3000, 3000)
	for _, mode := range []wire.Mode{wire.ModeReadOnly, wire.ModeReopen} {
		for _, part := range []int64{0, 3, 7, 9} {
			path := badgerMade(t, want)
			tables, err := filepath.Glob(filepath.Join(path, "*.sst"))
			if err != nil || len(tables) == 0 {
				t.Fatal(tables, err)
			}
			table, err := os.OpenFile(tables[0], os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			info, err := table.Stat()
			if err != nil {
				t.Fatal(err)
			}
			at := info.Size() * part / 10
			if _, err := table.WriteAt([]byte{0xff, 0, 0xff, 0, 0xff}, at); err != nil {
				t.Fatal(err)
			}
			if err := table.Close(); err != nil {
				t.Fatal(err)
			}
			store, err := Open(wire.Open{Engine: wire.EngineBadgerdb, Mode: mode, Path: path})
			if err == nil {
				got := all(t, store, wire.Range{})
				t.Errorf("mode %d, byte %d: opened with %d of %d entries", mode, at, len(got), len(want))
				_ = store.Close(false)
			}
		}
	}
}

func TestBadgerRefusesKeysThatItDoesNotTakeWithoutAnEffect(t *testing.T) {
	store := open(t, wire.EngineBadgerdb, wire.ModeCreate, filepath.Join(t.TempDir(), "db"))
	for _, key := range []string{"", "!badger!x", strings.Repeat("k", badgerKeyBytesMax+1)} {
		err := store.Write([]wire.Op{put("a", "1"), put(key, "2")}, true)
		wantKind(t, "a key that BadgerDB doesn't take", err, wire.FailInvalidInput)
		chunk, err := store.(Loader).Chunk()
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(chunk.Put([]byte(key), nil), chunk.Commit())
		wantKind(t, "in a chunk", err, wire.FailInvalidInput)
	}
	longest := put(strings.Repeat("k", badgerKeyBytesMax), "3")
	if err := store.Write([]wire.Op{longest}, true); err != nil {
		t.Fatal(err)
	}
	if got := all(t, store, wire.Range{}); len(got) != 1 {
		t.Errorf("%d entries", len(got))
	}
	var batch []wire.Op
	for i := range 40 {
		batch = append(batch, put(fmt.Sprint(i), string(bytes.Repeat([]byte{7}, 1<<19))))
	}
	wantKind(t, "a large batch", store.Write(batch, true), wire.FailLimit)
	if err := store.Close(true); err != nil {
		t.Fatal(err)
	}
}

func TestBadgerRefusesWhatIsNotItsOwn(t *testing.T) {
	for _, is := range engines {
		path := made(t, is)
		refused(t, is.String(), wire.EngineBadgerdb, wire.ModeReopen, path, wire.FailUnknownFormat)
		refused(t, is.String(), wire.EngineBadgerdb, wire.ModeCreate, path, wire.FailInvalidInput)
	}
	path := badgerMade(t, []entry{{"k", "v"}, {"l", "w"}})
	for _, named := range engines {
		refused(t, named.String(), named, wire.ModeReopen, path, wire.FailNotFound)
	}
	// BadgerDB 2 wrote version 7.
	manifest := filepath.Join(path, "MANIFEST")
	content, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	content[7] = 7
	if err := os.WriteFile(manifest, content, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, "version 7", wire.EngineBadgerdb, wire.ModeReadOnly, path, wire.FailUnknownFormat)
	refused(t, "empty", wire.EngineBadgerdb, wire.ModeReopen, t.TempDir(), wire.FailNotFound)
}

func TestBadgerSplitPointsDivideTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	store := open(t, wire.EngineBadgerdb, wire.ModeCreate, path)
	var sorted []entry
	for _, e := range bboltEntries(5, 60_000, 2000) {
		sorted = append(sorted, e)
	}
	load(t, store, sorted)
	view, err := store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	points, err := SplitPoints(view, wire.Range{}, 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(points, bytes.Compare) {
		t.Error("points don't ascend")
	}
	total, err := ApproximateBytes(view, wire.Range{})
	t.Logf("%d points, %d bytes in tables", len(points), total)
	if err != nil || total > 120_000_000 {
		t.Errorf("%d bytes, %v", total, err)
	}
	if err := errors.Join(view.Close(), store.Close(false)); err != nil {
		t.Fatal(err)
	}
}
