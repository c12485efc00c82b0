package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"cosmossdk.io/store/iavl"
	"cosmossdk.io/store/rootmulti"
	abci "github.com/cometbft/cometbft/abci/types"
)

// Answers what every store holds at a height. The node that wrote a fixture was asked the same.
const contentsPath = "/contents"

// One store at one height: the hash is over all pairs in their order, each as length (u32,
// big-endian) and key, length and value. Proofs can't be made of empty values.
type contents struct {
	Keys   int    `json:"keys"`
	Sha256 string `json:"sha256"`
	// The first and the last key that has a value.
	First []byte `json:"first"`
	Last  []byte `json:"last"`
	// A key that isn't there, between two that have values.
	Absent []byte `json:"absent"`
}

// Reads every tree by itself: the iterators of the SDK's query context end at an error as if it
// were the last key.
func (app *successor) queryContents(height int64) (*abci.ResponseQuery, error) {
	trees := app.CommitMultiStore().(*rootmulti.Store)
	all := map[string]contents{}
	for name, key := range app.keys {
		tree, err := trees.GetCommitKVStore(key).(*iavl.Store).GetImmutable(height)
		if err != nil {
			return &abci.ResponseQuery{Code: 1, Log: err.Error(), Height: height}, nil
		}
		hash := sha256.New()
		var found contents
		var before []byte
		iterator := tree.Iterator(nil, nil)
		for ; iterator.Valid(); iterator.Next() {
			for _, part := range [][]byte{iterator.Key(), iterator.Value()} {
				hash.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
				hash.Write(part)
			}
			found.Keys++
			if len(iterator.Value()) == 0 {
				before = nil
				continue
			}
			if found.First == nil {
				found.First = iterator.Key()
			}
			if before != nil {
				found.Absent = append(append([]byte{}, before...), 0)
			}
			found.Last, before = iterator.Key(), iterator.Key()
		}
		if err := errors.Join(iterator.Error(), iterator.Close()); err != nil {
			return nil, fmt.Errorf("store %s at %d: %w", name, height, err)
		}
		found.Sha256 = fmt.Sprintf("%x", hash.Sum(nil))
		all[name] = found
	}
	value, err := json.Marshal(all)
	return &abci.ResponseQuery{Value: value, Height: height}, err
}
