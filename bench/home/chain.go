package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	cmtdb "github.com/cometbft/cometbft-db"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtbytes "github.com/cometbft/cometbft/libs/bytes"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/mempool"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/proxy"
	sm "github.com/cometbft/cometbft/state"
	blockstore "github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

const (
	chainID = "bighome-1"
	// As of a chain that was exported and begun anew. All heights have as many digits, so they
	// stand in the databases in their order.
	initialHeight = 10_000_001
	blockInterval = 6 * time.Second
	votingPower   = 10
)

// The instant that all times of a home count from.
var genesisTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// tip is how a chain ended.
type tip struct {
	height    int64
	blockHash cmtbytes.HexBytes
	appHash   cmtbytes.HexBytes
	vote      *types.Vote
}

// speed makes a one-time write fast: nothing is synced before the end, and fewer and larger
// tables wait for compaction. The format is the same.
func speed(bloom bool) *opt.Options {
	options := &opt.Options{NoSync: true, WriteBuffer: 32 << 20, BlockCacheCapacity: 64 << 20}
	if bloom {
		options.Filter = filter.NewBloomFilter(10)
	}
	return options
}

// generate writes a home and says how its chain ended.
func generate(home string, s shape, after func(height int64)) (tip, error) {
	keys := validatorKeys(s)
	genesis, err := writeConfiguration(home, s, keys)
	if err != nil {
		return tip{}, err
	}
	data := filepath.Join(home, "data")
	applicationDB, err := dbm.NewGoLevelDBWithOpts("application", data, speed(true))
	if err != nil {
		return tip{}, err
	}
	ctx, stop := context.WithCancel(context.Background())
	hashes := make(chan []byte, versionsAhead)
	ended := make(chan error, 1)
	go func() { ended <- runApplication(ctx, applicationDB, s, hashes) }()
	last, chainErr := runChain(data, s, genesis, keys, hashes, after)
	stop()
	applicationErr := <-ended
	if err := errors.Join(chainErr, applicationErr, applicationDB.Close()); err != nil {
		return tip{}, err
	}
	if err := settle(data); err != nil {
		return tip{}, err
	}
	return last, writeSigner(home, keys[0], last.vote)
}

// settle opens every database once more with the options of a node, which leaves none with a
// log larger than a node's own.
func settle(data string) error {
	for _, name := range []string{"blockstore", "state", "evidence"} {
		db, err := cmtdb.NewGoLevelDB(name, data)
		if err != nil {
			return err
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
	db, err := dbm.NewGoLevelDB("application", data, nil)
	if err != nil {
		return err
	}
	return db.Close()
}

func runChain(data string, s shape, genesis *types.GenesisDoc, keys []ed25519.PrivKey, hashes <-chan []byte, after func(int64)) (last tip, err error) {
	open := func(name string) *cmtdb.GoLevelDB {
		db, openErr := cmtdb.NewGoLevelDBWithOpts(name, data, speed(false))
		err = errors.Join(err, openErr)
		return db
	}
	blockDB, stateDB, evidenceDB := open("blockstore"), open("state"), open("evidence")
	if err != nil {
		return last, err
	}
	defer func() {
		err = errors.Join(err, blockDB.Close(), stateDB.Close(), evidenceDB.Close())
	}()
	// As the node stores it at its first start.
	stored, err := cmtjson.Marshal(genesis)
	if err != nil {
		return last, err
	}
	if err := stateDB.Set([]byte("genesisDoc"), stored); err != nil {
		return last, err
	}
	blocks, states := blockstore.NewBlockStore(blockDB), sm.NewStore(stateDB, sm.StoreOptions{})
	state, err := states.LoadFromDBOrGenesisDoc(genesis)
	if err != nil {
		return last, err
	}
	if err := states.Save(state); err != nil {
		return last, err
	}
	var updates []abci.ValidatorUpdate
	for _, key := range keys {
		updates = append(updates, abci.Ed25519ValidatorUpdate(key.PubKey().Bytes(), votingPower))
	}
	app := newApplication(s, hashes, updates)
	connections := proxy.NewAppConns(proxy.NewLocalClientCreator(app), proxy.NopMetrics())
	if err := connections.Start(); err != nil {
		return last, err
	}
	defer func() { err = errors.Join(err, connections.Stop()) }()
	executor := sm.NewBlockExecutor(states, log.NewNopLogger(), connections.Consensus(), &mempool.NopMempool{}, sm.EmptyEvidencePool{}, blocks)

	source := s.stream("blocks")
	maker := blockMaker{source: source, random: rand.New(source), keys: byAddress(keys)}
	commit := &types.Commit{}
	for height := int64(initialHeight); height < initialHeight+s.heights; height++ {
		block, err := state.MakeBlock(height, maker.transactions(s.blockBytes), commit, nil, state.Validators.GetProposer().Address)
		if err != nil {
			return last, err
		}
		parts, err := block.MakePartSet(types.BlockPartSizeBytes)
		if err != nil {
			return last, err
		}
		id := types.BlockID{Hash: block.Hash(), PartSetHeader: parts.Header()}
		if commit, last.vote, err = maker.commit(state.Validators, height, id, keys[0]); err != nil {
			return last, err
		}
		blocks.SaveBlock(block, parts, commit)
		if state, err = executor.ApplyBlock(state, id, block); err != nil {
			return last, fmt.Errorf("height %d: %w", height, err)
		}
		last.height, last.blockHash, last.appHash = height, block.Hash(), state.AppHash
		after(height)
	}
	return last, nil
}

func byAddress(keys []ed25519.PrivKey) map[string]ed25519.PrivKey {
	found := map[string]ed25519.PrivKey{}
	for _, key := range keys {
		found[string(key.PubKey().Address())] = key
	}
	return found
}

// blockMaker makes what a block holds and the votes for it.
type blockMaker struct {
	source *rand.ChaCha8
	random *rand.Rand
	keys   map[string]ed25519.PrivKey
}

// transactions are random bytes in sizes from a transfer's to a contract's.
func (m *blockMaker) transactions(bytes int) []types.Tx {
	var made []types.Tx
	for left := bytes; left > 0; {
		length := 250 << m.random.IntN(8)
		transaction := make([]byte, min(left, length+m.random.IntN(length)))
		m.source.Read(transaction)
		made = append(made, transaction)
		left -= len(transaction)
	}
	return made
}

// commit has everyone's vote, but for one validator who is absent at some heights. The vote of
// this home's own validator, who never is, comes with it.
func (m *blockMaker) commit(set *types.ValidatorSet, height int64, id types.BlockID, own ed25519.PrivKey) (*types.Commit, *types.Vote, error) {
	commit := &types.Commit{Height: height, BlockID: id}
	var ownVote *types.Vote
	absent := m.random.IntN(8 * len(set.Validators))
	for index, validator := range set.Validators {
		key := m.keys[string(validator.Address)]
		if index == absent && !key.Equals(own) {
			commit.Signatures = append(commit.Signatures, types.NewCommitSigAbsent())
			continue
		}
		at := genesisTime.Add(time.Duration(height-initialHeight+1) * blockInterval)
		vote := &types.Vote{
			Type: cmtproto.PrecommitType, Height: height, BlockID: id,
			Timestamp:        at.Add(time.Duration(m.random.IntN(1_000_000_000))),
			ValidatorAddress: validator.Address, ValidatorIndex: int32(index),
		}
		signature, err := key.Sign(types.VoteSignBytes(chainID, vote.ToProto()))
		if err != nil {
			return nil, nil, err
		}
		vote.Signature = signature
		commit.Signatures = append(commit.Signatures, vote.CommitSig())
		if key.Equals(own) {
			ownVote = vote
		}
	}
	return commit, ownVote, nil
}
