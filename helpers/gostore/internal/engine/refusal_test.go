package engine

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	pebble1 "github.com/cockroachdb/pebble"
	pebble2 "github.com/cockroachdb/pebble/v2"
	"github.com/syndtr/goleveldb/leveldb"

	"gostore/internal/wire"
)

func refused(t *testing.T, what string, engine wire.Engine, mode wire.Mode, path string, kind wire.FailureKind) {
	t.Helper()
	before := listing(t, path)
	store, err := Open(wire.Open{Engine: engine, Mode: mode, MemoryBytesMax: 1 << 26, Path: path})
	wantKind(t, what, err, kind)
	if err == nil {
		_ = store.Close(false)
	}
	if after := listing(t, path); !bytes.Equal(before, after) {
		t.Errorf("%s: the directory was\n%s and is\n%s", what, before, after)
	}
}

// listing is every file's name and bytes.
func listing(t *testing.T, path string) []byte {
	t.Helper()
	var out bytes.Buffer
	found, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, file := range found {
		content, err := os.ReadFile(filepath.Join(path, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(file.Name() + "\x00" + string(content) + "\n")
	}
	return out.Bytes()
}

func touch(t *testing.T, path, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// made is a closed store with one table.
func made(t *testing.T, engine wire.Engine) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	store := open(t, engine, wire.ModeCreate, path)
	load(t, store, []entry{{"k", "v"}})
	if err := store.Close(false); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestADirectoryOfAnotherEngineIsNeverOpened(t *testing.T) { // F9, F23
	for _, is := range engines {
		for _, named := range engines {
			if is != named {
				path := made(t, is)
				refused(t, is.String()+" as "+named.String(), named, wire.ModeReopen, path,
					wire.FailUnknownFormat)
			}
		}
	}
	// A goleveldb store that has only a log is what Pebble would convert in place.
	path := filepath.Join(t.TempDir(), "log only")
	db, err := leveldb.OpenFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Put([]byte("k"), []byte("v"), nil), db.Close()); err != nil {
		t.Fatal(err)
	}
	for _, pebble := range engines[1:] {
		refused(t, "a log as "+pebble.String(), pebble, wire.ModeReadOnly, path, wire.FailUnknownFormat)
	}
}

func TestADirectoryThatTwoEnginesTouchedIsRefused(t *testing.T) { // F23
	path := made(t, wire.EnginePebble1)
	touch(t, path, "CURRENT.bak")
	for _, engine := range engines {
		refused(t, engine.String(), engine, wire.ModeReopen, path, wire.FailCorrupt)
	}
}

func TestForeignOrdersMergersAndLogsElsewhereAreRefused(t *testing.T) {
	path := made(t, wire.EnginePebble1)
	names, err := filepath.Glob(filepath.Join(path, "OPTIONS-*"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	name := names[len(names)-1]
	original, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct {
		from, to string
		kind     wire.FailureKind
	}{
		{"comparer=leveldb.BytewiseComparator", "comparer=cockroach_comparator", wire.FailUnknownFormat},
		{"merger=pebble.concatenate", "merger=cockroach_merge_operator", wire.FailUnknownFormat},
		{"wal_dir=", "wal_dir=/elsewhere", wire.FailUnsupported},
		{"pebble_version=", "rocksdb_version=", wire.FailUnknownFormat},
	} {
		changed := bytes.Replace(original, []byte(change.from), []byte(change.to), 1)
		if bytes.Equal(changed, original) {
			t.Fatalf("%s isn't in the OPTIONS file", change.from)
		}
		if err := os.WriteFile(name, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, change.to, wire.EnginePebble1, wire.ModeReadOnly, path, change.kind)
	}
}

func TestTheManifestsOwnOrderDecidesToo(t *testing.T) {
	for _, engine := range engines {
		path := made(t, engine)
		names, err := filepath.Glob(filepath.Join(path, "MANIFEST-*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			content = bytes.ReplaceAll(content, []byte("BytewiseComparator"), []byte("BytewiseComparat0r"))
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		store, err := Open(wire.Open{Engine: engine, Mode: wire.ModeReopen, Path: path})
		wantKind(t, engine.String(), err, wire.FailCorrupt) // its checksum fails before its name
		if err == nil {
			_ = store.Close(false)
		}
	}
}

func TestTheFormatVersionIsKeptAsFound(t *testing.T) {
	for _, format := range []pebble1.FormatMajorVersion{1, 7, 13, 16} {
		path := filepath.Join(t.TempDir(), "db")
		db, err := pebble1.Open(path, &pebble1.Options{FormatMajorVersion: format, Logger: quietLogger{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		keepsFormat(t, wire.EnginePebble1, path, uint32(format))
	}
	for _, format := range []pebble2.FormatMajorVersion{13, 16, 19, 22} {
		path := filepath.Join(t.TempDir(), "db")
		db, err := pebble2.Open(path, &pebble2.Options{FormatMajorVersion: format, Logger: quietLogger{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		keepsFormat(t, wire.EnginePebble2, path, uint32(format))
	}
}

func keepsFormat(t *testing.T, engine wire.Engine, path string, format uint32) {
	t.Helper()
	for range 2 {
		store := open(t, engine, wire.ModeReopen, path)
		load(t, store, []entry{{"k", "v"}})
		if found, _ := store.Format(); found != format {
			t.Errorf("%s: format %d was opened as %d", engine, format, found)
		}
		if err := store.Close(true); err != nil {
			t.Fatal(err)
		}
	}
}

func TestANewPebbleStoreHasTheFormatThatNodesWrite(t *testing.T) {
	for engine, want := range map[wire.Engine]uint32{wire.EnginePebble1: 1, wire.EnginePebble2: 13} {
		store := open(t, engine, wire.ModeReopen, made(t, engine))
		if format, _ := store.Format(); format != want {
			t.Errorf("%s: format %d, nodes write %d", engine, format, want)
		}
		if err := store.Close(false); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPathsThatHoldNoStoreAreRefused(t *testing.T) {
	for _, engine := range engines {
		missing := filepath.Join(t.TempDir(), "missing")
		empty := t.TempDir()
		file := filepath.Join(t.TempDir(), "file")
		touch(t, filepath.Dir(file), "file")
		full := made(t, engine)
		for _, mode := range []wire.Mode{wire.ModeReadOnly, wire.ModeReopen} {
			refused(t, "missing", engine, mode, missing, wire.FailNotFound)
			refused(t, "empty", engine, mode, empty, wire.FailNotFound)
			_, err := Open(wire.Open{Engine: engine, Mode: mode, Path: file})
			wantKind(t, "a file", err, wire.FailUnknownFormat)
		}
		refused(t, "not empty", engine, wire.ModeCreate, full, wire.FailInvalidInput)
	}
	refused(t, "goleveldb can't only read", wire.EngineGoleveldb, wire.ModeReadOnly,
		made(t, wire.EngineGoleveldb), wire.FailUnsupported)
}

func TestADamagedOrMissingTableIsAnErrorAndNotAnEnd(t *testing.T) { // F1
	each(t, func(t *testing.T, engine wire.Engine, _ string) {
		path := filepath.Join(t.TempDir(), "db")
		store := open(t, engine, wire.ModeCreate, path)
		load(t, store, entries(4, 5000, 400))
		if err := store.Close(false); err != nil {
			t.Fatal(err)
		}
		tables, err := filepath.Glob(filepath.Join(path, "*.[sl][sd][tb]"))
		if err != nil || len(tables) == 0 {
			t.Fatal(tables, err)
		}
		content, err := os.ReadFile(tables[0])
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/3] ^= 1
		if err := os.WriteFile(tables[0], content, 0o600); err != nil {
			t.Fatal(err)
		}
		store = open(t, engine, wire.ModeReopen, path)
		view, err := store.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		iter, err := view.Iter(wire.Range{})
		if err == nil {
			for more := iter.First(); more && err == nil; more = iter.Next() {
				_, err = iter.Value()
			}
			err = errors.Join(err, iter.Err(), iter.Close())
		}
		wantKind(t, "a changed byte", err, wire.FailCorrupt)
		_ = errors.Join(view.Close(), store.Close(false)) // may notice it too
		if err := os.Remove(tables[0]); err != nil {
			t.Fatal(err)
		}
		_, err = Open(wire.Open{Engine: engine, Mode: wire.ModeReopen, Path: path})
		if engine != wire.EngineGoleveldb { // goleveldb notices when it reads the table
			wantKind(t, "a missing table", err, wire.FailCorrupt)
		}
	})
}
