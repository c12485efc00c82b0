package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	dbm "github.com/cosmos/cosmos-db"
)

// Bytes of a batch before it is written.
const batchBytesMax = 4 << 20

// nodeID is the version and nonce that IAVL 1.x names a node by.
type nodeID [12]byte

// toOldForm writes the application's trees again as IAVL 0.19 keeps them: nodes by their hashes,
// roots by version. It writes no orphans: no version was ever pruned, so none is needed to read.
func toOldForm(data string) error {
	db, err := dbm.NewGoLevelDB("application", data, nil)
	if err != nil {
		return err
	}
	old, err := dbm.NewGoLevelDBWithOpts("old", data, speed(true))
	if err != nil {
		return errors.Join(err, db.Close())
	}
	hashes, err := nodeHashes(db)
	if err == nil {
		err = rewrite(db, old, hashes)
	}
	if err := errors.Join(err, db.Close(), old.Close()); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(data, "application.db")); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(data, "old.db"), filepath.Join(data, "application.db")); err != nil {
		return err
	}
	return settle(data)
}

// nodeHashes gives the hash of every node of every store.
func nodeHashes(db dbm.DB) (map[string]map[nodeID][]byte, error) {
	hashes := map[string]map[nodeID][]byte{}
	err := each(db, func(store string, key, value []byte) error {
		id, ok := idOf(key)
		if !ok || isReference(value) || len(value) == 0 {
			return nil
		}
		if hashes[store] == nil {
			hashes[store] = map[nodeID][]byte{}
		}
		n, err := parseNode(value)
		if err != nil {
			return err
		}
		hashes[store][id] = n.hash
		if n.hash == nil {
			hashes[store][id] = n.leafHash(id.version())
		}
		return nil
	})
	return hashes, err
}

// rewrite gives every entry its old form.
func rewrite(db, old dbm.DB, hashes map[string]map[nodeID][]byte) error {
	batch, size := old.NewBatch(), 0
	set := func(key, value []byte) error {
		size += len(key) + len(value)
		if err := batch.Set(key, value); err != nil || size < batchBytesMax {
			return err
		}
		size = 0
		err := errors.Join(batch.Write(), batch.Close())
		batch = old.NewBatch()
		return err
	}
	err := each(db, func(store string, key, value []byte) error {
		id, isNode := idOf(key)
		if !isNode {
			return set(append([]byte(store), key...), value)
		}
		own := hashes[store]
		if id.nonce() == 1 {
			root := own[id]
			if isReference(value) {
				root = own[nodeID(value[1:])]
			}
			name := binary.BigEndian.AppendUint64(append([]byte(store), 'r'), id.version())
			if err := set(name, append([]byte{}, root...)); err != nil {
				return err
			}
		}
		if isReference(value) || len(value) == 0 {
			return nil
		}
		n, err := parseNode(value)
		if err != nil {
			return err
		}
		form, err := n.oldForm(id.version(), own)
		if err != nil {
			return err
		}
		return set(append(append([]byte(store), 'n'), own[id]...), form)
	})
	return errors.Join(err, batch.Write(), batch.Close())
}

// each passes over all entries: a store's with its prefix and the key in it, others without one.
func each(db dbm.DB, see func(store string, key, value []byte) error) error {
	entries, err := db.Iterator(nil, nil)
	if err != nil {
		return err
	}
	for ; entries.Valid(); entries.Next() {
		store, key := "", entries.Key()
		if bytes.HasPrefix(key, []byte("s/k:")) {
			end := bytes.IndexByte(key[4:], '/') + 5
			store, key = string(key[:end]), key[end:]
		}
		if err := see(store, key, entries.Value()); err != nil {
			return errors.Join(fmt.Errorf("%q: %w", entries.Key(), err), entries.Close())
		}
	}
	return errors.Join(entries.Error(), entries.Close())
}

func idOf(key []byte) (id nodeID, ok bool) {
	if len(key) != 1+len(id) || key[0] != 's' {
		return id, false
	}
	return nodeID(key[1:]), true
}

func (id nodeID) version() uint64 { return binary.BigEndian.Uint64(id[:8]) }

func (id nodeID) nonce() uint32 { return binary.BigEndian.Uint32(id[8:]) }

// isReference tells a root that names an earlier version's; no node is that high.
func isReference(value []byte) bool {
	return len(value) == 1+len(nodeID{}) && value[0] == 's'
}
