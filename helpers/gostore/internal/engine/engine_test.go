package engine

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble"

	"gostore/internal/tabletest"
	"gostore/internal/wire"
)

var engines = []wire.Engine{wire.EngineGoleveldb, wire.EnginePebble1, wire.EnginePebble2}

func each(t *testing.T, do func(t *testing.T, engine wire.Engine, path string)) {
	for _, engine := range engines {
		t.Run(engine.String(), func(t *testing.T) { do(t, engine, filepath.Join(t.TempDir(), "db")) })
	}
}

func open(t *testing.T, engine wire.Engine, mode wire.Mode, path string) Store {
	t.Helper()
	store, err := Open(wire.Open{Engine: engine, Mode: mode, MemoryBytesMax: 64 << 20, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func wantKind(t *testing.T, what string, err error, kind wire.FailureKind) {
	t.Helper()
	var failure *wire.Failure
	if !errors.As(err, &failure) || failure.Kind != kind {
		t.Errorf("%s: %v, wanted a failure of kind %d", what, err, kind)
	}
}

func put(key, value string) wire.Op {
	return wire.Op{Op: wire.OpPut, Key: []byte(key), Value: []byte(value)}
}

type entry struct{ key, value string }

func all(t *testing.T, store Store, r wire.Range) []entry {
	t.Helper()
	view, err := store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	iter, err := view.Iter(r)
	if err != nil {
		t.Fatal(err)
	}
	var out []entry
	for more := iter.First(); more; more = iter.Next() {
		value, err := iter.Value()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, entry{string(iter.Key()), string(value)})
	}
	if err := errors.Join(iter.Err(), iter.Close(), view.Close()); err != nil {
		t.Fatal(err)
	}
	return out
}

// entries are sorted, with the empty key and empty values among them.
func entries(seed int64, count, valueBytes int) []entry {
	random := rand.New(rand.NewSource(seed))
	unique := map[string]string{"": "the empty key", "\xff\xff": ""}
	for len(unique) < count {
		key := make([]byte, 1+random.Intn(40))
		value := make([]byte, random.Intn(valueBytes))
		random.Read(key)
		random.Read(value)
		unique[string(key)] = string(value)
	}
	out := make([]entry, 0, count)
	for key, value := range unique {
		out = append(out, entry{key, value})
	}
	slices.SortFunc(out, func(a, b entry) int { return bytes.Compare([]byte(a.key), []byte(b.key)) })
	return out
}

// load brings sorted entries in the way that the store takes them: as a chunk, or as a table.
func load(t *testing.T, store Store, sorted []entry) {
	t.Helper()
	loader, ok := store.(Loader)
	if !ok {
		takeTable(t, store, sorted)
		return
	}
	chunk, err := loader.Chunk()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range sorted {
		if err := chunk.Put([]byte(e.key), []byte(e.value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := chunk.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasLoadedAndWrittenIsReadBackAfterClose(t *testing.T) {
	each(t, func(t *testing.T, engine wire.Engine, path string) {
		want := entries(1, 3000, 500)
		store := open(t, engine, wire.ModeCreate, path)
		format, _ := store.Format()
		load(t, store, want[2000:]) // chunks arrive in any order
		load(t, store, want[:1000])
		ops := []wire.Op{put("\x00\x00gone", "x")}
		for _, e := range want[1000:2000] {
			ops = append(ops, put(e.key, "old"), put(e.key, e.value))
		}
		ops = append(ops, wire.Op{Op: wire.OpDelete, Key: []byte("\x00\x00gone")})
		if err := store.Write(ops, false); err != nil { // close makes it durable
			t.Fatal(err)
		}
		if err := store.Close(true); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(path, stagingName)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("staging is left: %v", err)
		}
		store = open(t, engine, wire.ModeReopen, path)
		if again, _ := store.Format(); again != format {
			t.Errorf("format %d became %d", format, again)
		}
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
	})
}

// takeTable has the store take in a table of the entries.
func takeTable(t *testing.T, store Store, sorted []entry) {
	t.Helper()
	root, engine := "", wire.EnginePebble1
	switch store := store.(type) {
	case *pebble1Store:
		root = store.path
		if store.db.FormatMajorVersion() > pebble.FormatRangeKeys {
			engine = wire.EnginePebble2 // it takes in the same tables from there on
		}
	case *pebble2Store:
		root, engine = store.path, wire.EnginePebble2
	}
	var flat [][]byte
	for _, e := range sorted {
		flat = append(flat, []byte(e.key), []byte(e.value))
	}
	folder := filepath.Join(root, stagingName)
	table, err := tabletest.Write(folder, "table.sst", engine, flat...)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.(Taker).TakeIn([]wire.Table{table}); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyWholeTablesOfTheStagingFolderAreTakenIn(t *testing.T) {
	each(t, func(t *testing.T, engine wire.Engine, path string) {
		store := open(t, engine, wire.ModeCreate, path)
		taker, ok := store.(Taker)
		if !ok {
			t.SkipNow()
		}
		staged, err := stagingPath(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(staged) + ".sst"
		if err := os.WriteFile(staged+".sst", bytes.Repeat([]byte{7}, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
		for what, table := range map[string]wire.Table{
			"a path":         {Name: "../" + name, FileBytes: 1000},
			"another size":   {Name: name, FileBytes: 999},
			"no table":       {Name: name[:len(name)-4], FileBytes: 1000},
			"an empty name":  {Name: "", FileBytes: 1000},
			"the folder":     {Name: ".", FileBytes: 1000},
			"another ending": {Name: "chunk.log", FileBytes: 1000},
		} {
			wantKind(t, what, taker.TakeIn([]wire.Table{table}), wire.FailInvalidInput)
		}
		missing := []wire.Table{{Name: "missing.sst", FileBytes: 1}}
		wantKind(t, "a missing file", taker.TakeIn(missing), wire.FailNotFound)
		garbage := []wire.Table{{Name: name, FileBytes: 1000}}
		wantKind(t, "garbage", taker.TakeIn(garbage), wire.FailCorrupt)
		if err := taker.TakeIn(nil); err != nil {
			t.Error(err)
		}
		if got := all(t, store, wire.Range{}); len(got) != 0 {
			t.Errorf("%d entries", len(got))
		}
		if err := store.Close(true); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAChunkIsInvisibleUntilItsCommitAndGoneAfterAbort(t *testing.T) {
	each(t, func(t *testing.T, engine wire.Engine, path string) {
		store := open(t, engine, wire.ModeCreate, path)
		loader, ok := store.(Loader)
		if !ok {
			t.SkipNow()
		}
		chunk, err := loader.Chunk()
		if err != nil {
			t.Fatal(err)
		}
		if err := chunk.Put([]byte("k"), bytes.Repeat([]byte{7}, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if got := all(t, store, wire.Range{}); len(got) != 0 {
			t.Errorf("%d entries before the commit", len(got))
		}
		chunk.Abort()
		load(t, store, nil) // an empty chunk commits
		if got := all(t, store, wire.Range{}); len(got) != 0 {
			t.Errorf("%d entries after abort", len(got))
		}
		if err := store.Close(true); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAChunkCanBeLoadedAgain(t *testing.T) {
	each(t, func(t *testing.T, engine wire.Engine, path string) {
		want := entries(2, 500, 100)
		store := open(t, engine, wire.ModeCreate, path)
		load(t, store, want)
		load(t, store, want)
		if err := store.Close(true); err != nil {
			t.Fatal(err)
		}
		store = open(t, engine, wire.ModeReopen, path)
		if got := all(t, store, wire.Range{}); !slices.Equal(got, want) {
			t.Errorf("%d entries, wanted %d", len(got), len(want))
		}
		if err := store.Close(false); err != nil {
			t.Fatal(err)
		}
	})
}

func TestASnapshotDoesNotSeeLaterWrites(t *testing.T) {
	each(t, func(t *testing.T, engine wire.Engine, path string) {
		store := open(t, engine, wire.ModeCreate, path)
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
		if _, found, err = view.Get(nil, []byte("l")); err != nil || found {
			t.Errorf("found %v, %v", found, err)
		}
		if err := errors.Join(view.Close(), store.Close(false)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTheLargestKeyAndValueGoThrough(t *testing.T) {
	each(t, func(t *testing.T, engine wire.Engine, path string) {
		if testing.Short() {
			t.Skip("writes half a gigabyte with each engine")
		}
		key := bytes.Repeat([]byte{'k'}, wire.KeyBytesMax)
		value := bytes.Repeat([]byte{'v'}, wire.ValueBytesMax)
		store := open(t, engine, wire.ModeCreate, path)
		err := store.Write([]wire.Op{{Op: wire.OpPut, Key: key, Value: value}}, true)
		if err != nil {
			t.Fatal(err)
		}
		loaded := append(bytes.Clone(key), 'l')[1:]
		load(t, store, []entry{{string(loaded), string(value)}})
		if err := store.Close(true); err != nil {
			t.Fatal(err)
		}
		store = open(t, engine, wire.ModeReopen, path)
		view, err := store.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range [][]byte{key, loaded} {
			got, found, err := view.Get(nil, k)
			if err != nil || !found || !bytes.Equal(got, value) {
				t.Errorf("%d bytes, %v, %v", len(got), found, err)
			}
		}
		if err := errors.Join(view.Close(), store.Close(false)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSplitPointsDivideIntoPiecesOfTheSizeAskedFor(t *testing.T) {
	shapes := map[string]func(i int) string{
		"numbers":     func(i int) string { return fmt.Sprintf("%08d", i) },
		"long prefix": func(i int) string { return "s/k:bank/a/very/long/common/prefix/" + fmt.Sprint(1e9+i) },
		"one crowd": func(i int) string {
			if i%50 == 0 {
				return fmt.Sprintf("%c%d", i/50%256, i)
			}
			return fmt.Sprintf("middle of everything %09d", i)
		},
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, engine wire.Engine, path string) {
				const count, valueBytes = 20_000, 1000
				random := rand.New(rand.NewSource(3))
				sorted := make([]entry, count)
				for i := range sorted {
					value := make([]byte, valueBytes)
					random.Read(value)
					sorted[i] = entry{shape(i), string(value)}
				}
				slices.SortFunc(sorted, func(a, b entry) int {
					return bytes.Compare([]byte(a.key), []byte(b.key))
				})
				store := open(t, engine, wire.ModeCreate, path)
				load(t, store, sorted)
				view, err := store.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				const chunkBytes = 1 << 20
				points, err := SplitPoints(view, wire.Range{}, chunkBytes)
				if err != nil {
					t.Fatal(err)
				}
				total, err := ApproximateBytes(view, wire.Range{})
				if err != nil || total < count*valueBytes*9/10 || total > count*valueBytes*12/10 {
					t.Errorf("size %d, %v", total, err)
				}
				from := 0
				for _, point := range append(points, []byte("\xff\xff\xff")) {
					to := from
					for to < count && sorted[to].key < string(point) {
						to++
					}
					if bytes := (to - from) * valueBytes; bytes < chunkBytes/3 || bytes > chunkBytes*5/2 {
						t.Errorf("a piece of %d bytes before %q", bytes, point)
					}
					from = to
				}
				none, err := SplitPoints(view, wire.Range{}, 1<<40)
				if err != nil || len(none) != 0 {
					t.Errorf("%d points for pieces larger than all, %v", len(none), err)
				}
				if err := errors.Join(view.Close(), store.Close(false)); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
