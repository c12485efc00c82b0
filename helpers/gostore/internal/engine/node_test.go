package engine

import (
	"errors"
	"slices"
	"testing"

	pebble1 "github.com/cockroachdb/pebble"
	pebble2 "github.com/cockroachdb/pebble/v2"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"gostore/internal/wire"
)

// asNode opens a store as nodes do, writes an entry without a sync and closes it.
func asNode(engine wire.Engine, path string) error {
	key, value := []byte("written by the node"), []byte("1")
	switch engine {
	case wire.EnginePebble1: // cometbft-db; cosmos-db differs in the number of compactions only
		options := &pebble1.Options{Logger: quietLogger{}}
		db, err := pebble1.Open(path, options.EnsureDefaults())
		if err != nil {
			return err
		}
		return errors.Join(db.Set(key, value, pebble1.NoSync), db.Close())
	case wire.EnginePebble2:
		db, err := pebble2.Open(path, &pebble2.Options{Logger: quietLogger{}})
		if err != nil {
			return err
		}
		return errors.Join(db.Set(key, value, pebble2.NoSync), db.Close())
	}
	// cometbft-db gives no options; cosmos-db asks for a filter.
	for _, options := range []*opt.Options{nil, {Filter: filter.NewBloomFilter(10)}} {
		db, err := leveldb.OpenFile(path, options)
		if err != nil {
			return err
		}
		if err := errors.Join(db.Put(key, value, nil), db.Close()); err != nil {
			return err
		}
	}
	return nil
}

func TestANodeOpensWhatWasLoadedAndGoesOnWriting(t *testing.T) {
	each(t, func(t *testing.T, engine wire.Engine, path string) {
		want := entries(6, 4000, 2000)
		store := open(t, engine, wire.ModeCreate, path)
		load(t, store, want[:2500])
		load(t, store, want[2500:])
		if err := store.Close(false); err != nil {
			t.Fatal(err)
		}
		if err := asNode(engine, path); err != nil {
			t.Fatal(err)
		}
		store = open(t, engine, wire.ModeReopen, path)
		got := all(t, store, wire.Range{})
		written := slices.Index(got, entry{"written by the node", "1"})
		if written < 0 || !slices.Equal(slices.Delete(got, written, written+1), want) {
			t.Errorf("%d entries, wanted %d and the node's", len(got), len(want))
		}
		if err := store.Close(true); err != nil {
			t.Fatal(err)
		}
	})
}
