package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	abci "github.com/cometbft/cometbft/abci/types"

	"cosmossdk.io/log"
	"cosmossdk.io/store/metrics"
	"cosmossdk.io/store/rootmulti"
	storetypes "cosmossdk.io/store/types"
	dbm "github.com/cosmos/cosmos-db"
)

// Nodes that each tree keeps in memory; the SDK's default for all of a node is 781250.
const treeCacheNodes = 300_000

// Versions that the application may be ahead of the blocks.
const versionsAhead = 32

// A power of the validator set changes every so many heights.
const heightsPerPowerChange = 250

// store is a tree of the application; of each hundred changes it takes `share`.
type store struct {
	key   *storetypes.KVStoreKey
	share int
}

func stores() []store {
	shares := []struct {
		name  string
		share int
	}{{"acc", 15}, {"bank", 40}, {"distribution", 20}, {"staking", 5}, {"wasm", 20}}
	all := make([]store, 0, len(shares))
	for _, one := range shares {
		all = append(all, store{storetypes.NewKVStoreKey(one.name), one.share})
	}
	return all
}

// runApplication commits one version a height, from the seed alone: it doesn't wait for the
// blocks, which only need each version's hash.
func runApplication(ctx context.Context, db dbm.DB, s shape, hashes chan<- []byte) error {
	defer close(hashes)
	multi := rootmulti.NewStore(db, log.NewNopLogger(), metrics.NewNoOpMetrics())
	multi.SetIAVLCacheSize(treeCacheNodes)
	multi.SetIAVLSyncPruning(true)
	trees := stores()
	for _, tree := range trees {
		multi.MountStoreWithDB(tree.key, storetypes.StoreTypeIAVL, nil)
	}
	if err := multi.LoadLatestVersion(); err != nil {
		return err
	}
	if err := multi.SetInitialVersion(initialHeight); err != nil {
		return err
	}
	change := newChanges(s, len(trees))
	for number := range s.heights {
		for index, tree := range trees {
			into := multi.GetCommitKVStore(tree.key)
			if number == 0 {
				for range s.genesisKeys * tree.share / 100 {
					into.Set(change.insert(index), change.value())
				}
			}
			for range max(1, s.changes*tree.share/100) {
				change.apply(into, index)
			}
		}
		id := multi.Commit()
		if id.Version != initialHeight+number {
			return fmt.Errorf("the multistore made version %d at height %d", id.Version, initialHeight+number)
		}
		select {
		case hashes <- id.Hash:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// changes picks keys and values.
type changes struct {
	source  *rand.ChaCha8
	random  *rand.Rand
	secret  [32]byte
	perTree []uint64
}

func newChanges(s shape, trees int) *changes {
	source := s.stream("application")
	return &changes{source, rand.New(source), s.digest("keys"), make([]uint64, trees)}
}

// apply sets a known key, adds one in fifty times, and removes one in a hundred.
func (c *changes) apply(into storetypes.KVStore, tree int) {
	known := c.perTree[tree]
	switch dice := c.random.IntN(100); {
	case known == 0 || dice < 2:
		into.Set(c.insert(tree), c.value())
	case dice < 3:
		into.Delete(c.key(tree, c.random.Uint64N(known)))
	default:
		into.Set(c.key(tree, c.random.Uint64N(known)), c.value())
	}
}

func (c *changes) insert(tree int) []byte {
	c.perTree[tree]++
	return c.key(tree, c.perTree[tree]-1)
}

// key looks like a module's prefix before an address: random, and the same for the same number.
func (c *changes) key(tree int, number uint64) []byte {
	seed := c.secret
	binary.BigEndian.PutUint64(seed[:8], number)
	seed[8] ^= byte(tree)
	key := make([]byte, 22)
	rand.NewChaCha8(seed).Read(key)
	key[0], key[1] = byte(1+number%4), 20
	return key
}

func (c *changes) value() []byte {
	value := make([]byte, 100+c.random.IntN(51))
	c.source.Read(value)
	return value
}

// application answers the block executor with what runApplication has made.
type application struct {
	abci.BaseApplication
	hashes     <-chan []byte
	random     *rand.Rand
	validators []abci.ValidatorUpdate
}

func newApplication(s shape, hashes <-chan []byte, validators []abci.ValidatorUpdate) *application {
	return &application{hashes: hashes, random: rand.New(s.stream("results")), validators: validators}
}

func (a *application) FinalizeBlock(_ context.Context, request *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	hash, more := <-a.hashes
	if !more {
		return nil, fmt.Errorf("the application ended before height %d", request.Height)
	}
	response := &abci.ResponseFinalizeBlock{AppHash: hash}
	for range request.Txs {
		response.TxResults = append(response.TxResults, a.result())
	}
	if number := request.Height - initialHeight; number%heightsPerPowerChange == heightsPerPowerChange-1 {
		update := a.validators[a.random.IntN(len(a.validators))]
		update.Power = votingPower + int64(a.random.IntN(3)) - 1
		response.ValidatorUpdates = []abci.ValidatorUpdate{update}
	}
	return response, nil
}

// result is a transfer's, with its event; one in fifty failed.
func (a *application) result() *abci.ExecTxResult {
	gas := int64(60_000 + a.random.IntN(40_000))
	result := &abci.ExecTxResult{GasWanted: 2 * gas, GasUsed: gas}
	if a.random.IntN(50) == 0 {
		result.Code, result.Codespace, result.Log = 5, "sdk", "insufficient funds"
		return result
	}
	result.Data = fmt.Appendf(nil, "%032x", a.random.Uint64())
	result.Events = []abci.Event{{Type: "transfer", Attributes: []abci.EventAttribute{
		{Key: "recipient", Value: fmt.Sprintf("cosmos1%038x", a.random.Uint64()), Index: true},
		{Key: "amount", Value: fmt.Sprintf("%dstake", a.random.Uint32()), Index: true},
	}}}
	return result
}
