package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

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

// Reads every store through the same context that the SDK gives to its queries.
func (app *successor) queryContents(height int64) (*abci.ResponseQuery, error) {
	ctx, err := app.CreateQueryContext(height, false)
	if err != nil {
		return &abci.ResponseQuery{Code: 1, Log: err.Error(), Height: height}, nil
	}
	all := map[string]contents{}
	for name, key := range app.keys {
		hash := sha256.New()
		var found contents
		var before []byte
		iterator := ctx.KVStore(key).Iterator(nil, nil)
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
		if err := iterator.Close(); err != nil {
			return nil, err
		}
		found.Sha256 = fmt.Sprintf("%x", hash.Sum(nil))
		all[name] = found
	}
	value, err := json.Marshal(all)
	return &abci.ResponseQuery{Value: value, Height: height}, err
}
