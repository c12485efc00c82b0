// Makes a short chain with CometBFT 0.38's own block executor and stores, and writes their
// databases as testdata/cometbft/make.py describes.
//
// What no home of ours has is in it: vote extensions (extended commits), validators with
// secp256k1 keys beside Ed25519 ones, an initial height above 1, and a validator that joins.
// Keys come from fixed secrets, times count from a fixed instant: the output is always the same.
//
// With a second argument `pruned` the chain is longer and the stores are pruned by their own
// code, which leaves headers, commits and validators as long as evidence may be brought.
//
//	go run . OUT [pruned]
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	dbm "github.com/cometbft/cometbft-db"

	"github.com/cometbft/cometbft/abci/example/kvstore"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cryptoenc "github.com/cometbft/cometbft/crypto/encoding"
	"github.com/cometbft/cometbft/crypto/secp256k1"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/mempool"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/proxy"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"
)

const initial = 1000

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func write(path string, db dbm.DB) {
	out, err := os.Create(path)
	check(err)
	w := bufio.NewWriter(out)
	put := func(b []byte) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(b)))
		w.Write(n[:])
		w.Write(b)
	}
	it, err := db.Iterator(nil, nil)
	check(err)
	for ; it.Valid(); it.Next() {
		put(it.Key())
		put(it.Value())
	}
	check(it.Error())
	check(w.Flush())
	check(out.Close())
}

func main() {
	out, heights := os.Args[1], int64(6)
	pruned := len(os.Args) > 2 && os.Args[2] == "pruned"
	if pruned {
		heights = 14
	}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	keys := map[string]crypto.PrivKey{}
	var validators []types.GenesisValidator
	for i := 0; i < 4; i++ {
		var key crypto.PrivKey = ed25519.GenPrivKeyFromSecret([]byte{byte(i)})
		if i%2 == 1 {
			key = secp256k1.GenPrivKeySecp256k1([]byte{byte(i)})
		}
		keys[key.PubKey().Address().String()] = key
		validators = append(validators, types.GenesisValidator{PubKey: key.PubKey(), Power: int64(10 + i)})
	}
	params := types.DefaultConsensusParams()
	params.Validator.PubKeyTypes = []string{types.ABCIPubKeyTypeEd25519, types.ABCIPubKeyTypeSecp256k1}
	params.ABCI.VoteExtensionsEnableHeight = initial + 1
	if pruned {
		params.Evidence.MaxAgeNumBlocks, params.Evidence.MaxAgeDuration = 7, 7*time.Second
	}
	genesis := &types.GenesisDoc{
		GenesisTime: start, ChainID: "extended-1", InitialHeight: initial,
		ConsensusParams: params, Validators: validators, AppHash: []byte{},
	}
	check(genesis.ValidateAndComplete())
	check(os.MkdirAll(filepath.Join(out, "config"), 0o755))
	check(genesis.SaveAs(filepath.Join(out, "config", "genesis.json")))

	blockDB, stateDB := dbm.NewMemDB(), dbm.NewMemDB()
	blocks := store.NewBlockStore(blockDB)
	states := sm.NewStore(stateDB, sm.StoreOptions{})
	state, err := sm.MakeGenesisState(genesis)
	check(err)
	check(states.Save(state))
	app := kvstore.NewInMemoryApplication()
	conns := proxy.NewAppConns(proxy.NewLocalClientCreator(app), proxy.NopMetrics())
	check(conns.Start())
	_, err = conns.Consensus().InitChain(nil, &abci.RequestInitChain{InitialHeight: initial})
	check(err)
	exec := sm.NewBlockExecutor(states, log.NewNopLogger(), conns.Consensus(), &mempool.NopMempool{}, sm.EmptyEvidencePool{}, blocks)

	commit := &types.Commit{}
	for h := int64(initial); h < initial+heights; h++ {
		txs := []types.Tx{types.Tx(fmt.Sprintf("height%d=value", h))}
		if h == initial+1 {
			joins := ed25519.GenPrivKeyFromSecret([]byte("joins"))
			keys[joins.PubKey().Address().String()] = joins
			public, err := cryptoenc.PubKeyToProto(joins.PubKey())
			check(err)
			txs = append(txs, kvstore.MakeValSetChangeTx(public, 7))
		}
		block, err := state.MakeBlock(h, txs, commit, nil, state.Validators.GetProposer().Address)
		check(err)
		parts, err := block.MakePartSet(types.BlockPartSizeBytes)
		check(err)
		id := types.BlockID{Hash: block.Hash(), PartSetHeader: parts.Header()}
		extended := &types.ExtendedCommit{Height: h, Round: 0, BlockID: id}
		for i, validator := range state.Validators.Validators {
			extended.ExtendedSignatures = append(extended.ExtendedSignatures,
				vote(keys, genesis.ChainID, h, int32(i), validator, id, start.Add(time.Duration(h)*time.Second), state))
		}
		if extensions(state, h) {
			blocks.SaveBlockWithExtendedCommit(block, parts, extended)
		} else {
			blocks.SaveBlock(block, parts, extended.ToCommit())
		}
		state, err = exec.ApplyBlock(state, id, block)
		check(err)
		commit = extended.ToCommit()
	}
	if pruned {
		base := int64(initial + 10)
		_, evidencePoint, err := blocks.PruneBlocks(base, state)
		check(err)
		check(states.PruneStates(initial, base, evidencePoint))
	}
	write(filepath.Join(out, "blockstore.kv"), blockDB)
	write(filepath.Join(out, "state.kv"), stateDB)
	write(filepath.Join(out, "evidence.kv"), dbm.NewMemDB())
	write(filepath.Join(out, "tx_index.kv"), dbm.NewMemDB())
}

func extensions(state sm.State, h int64) bool {
	return state.ConsensusParams.ABCI.VoteExtensionsEnabled(h)
}

// One validator is absent at one height, another votes nil at the next.
func vote(keys map[string]crypto.PrivKey, chainID string, h int64, i int32, v *types.Validator, id types.BlockID, at time.Time, state sm.State) types.ExtendedCommitSig {
	if h == initial+2 && i == 3 {
		return types.NewExtendedCommitSigAbsent()
	}
	vote := &types.Vote{
		Type: cmtproto.PrecommitType, Height: h, Round: 0, BlockID: id, Timestamp: at.Add(time.Duration(i) * time.Millisecond),
		ValidatorAddress: v.Address, ValidatorIndex: i,
	}
	flag := types.BlockIDFlagCommit
	if h == initial+3 && i == 2 {
		vote.BlockID, flag = types.BlockID{}, types.BlockIDFlagNil
	}
	key := keys[v.Address.String()]
	if extensions(state, h) && flag == types.BlockIDFlagCommit {
		vote.Extension = []byte(fmt.Sprintf("extension of %d at %d", i, h))
		signature, err := key.Sign(types.VoteExtensionSignBytes(chainID, vote.ToProto()))
		check(err)
		vote.ExtensionSignature = signature
	}
	signature, err := key.Sign(types.VoteSignBytes(chainID, vote.ToProto()))
	check(err)
	return types.ExtendedCommitSig{
		CommitSig:          types.CommitSig{BlockIDFlag: flag, ValidatorAddress: v.Address, Timestamp: vote.Timestamp, Signature: signature},
		Extension:          vote.Extension,
		ExtensionSignature: vote.ExtensionSignature,
	}
}
