package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	cmtdb "github.com/cometbft/cometbft-db"
	"github.com/cometbft/cometbft/privval"
	sm "github.com/cometbft/cometbft/state"
	blockstore "github.com/cometbft/cometbft/store"
	dbm "github.com/cosmos/cosmos-db"

	"cosmossdk.io/log"
	"cosmossdk.io/store/metrics"
	"cosmossdk.io/store/rootmulti"
	storetypes "cosmossdk.io/store/types"
)

// Long enough for a change of power to show in the sets.
var small = shape{seed: 1, heights: heightsPerPowerChange + 10, blockBytes: 20_000, genesisKeys: 200, changes: 20}

func made(t *testing.T, s shape) (string, tip) {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	last, err := generate(home, s, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return home, last
}

func TestEveryBlockIsSignedByItsValidatorsAndNamesTheStateBelowIt(t *testing.T) {
	home, last := made(t, small)
	data := filepath.Join(home, "data")
	blocks := blockstore.NewBlockStore(nodeDB(t, data, "blockstore"))
	states := sm.NewStore(nodeDB(t, data, "state"), sm.StoreOptions{})
	if blocks.Base() != initialHeight || blocks.Height() != last.height || blocks.Size() != small.heights {
		t.Fatalf("heights %d to %d, and the chain ended at %d", blocks.Base(), blocks.Height(), last.height)
	}
	multi := multistore(t, data)
	sets := map[string]bool{}
	for height := int64(initialHeight); height <= last.height; height++ {
		block, meta := blocks.LoadBlock(height), blocks.LoadBlockMeta(height)
		set, err := states.LoadValidators(height)
		if err != nil {
			t.Fatal(err)
		}
		sets[string(set.Hash())] = true
		if err := set.VerifyCommit(chainID, meta.BlockID, height, blocks.LoadSeenCommit(height)); err != nil {
			t.Fatalf("height %d: %v", height, err)
		}
		if err := block.ValidateBasic(); err != nil {
			t.Fatalf("height %d: %v", height, err)
		}
		if height == initialHeight {
			continue
		}
		info, err := multi.GetCommitInfo(height - 1)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(info.Hash(), block.AppHash) {
			t.Fatalf("height %d has another app hash than the state below it", height)
		}
	}
	if len(sets) < 2 {
		t.Fatal("the validators never changed")
	}
	if id := multi.LastCommitID(); id.Version != last.height || !slices.Equal(id.Hash, last.appHash) {
		t.Fatalf("the application is at %d", id.Version)
	}
}

func TestANodeFindsItsStateAndItsSignerAtTheTip(t *testing.T) {
	home, last := made(t, small)
	states := sm.NewStore(nodeDB(t, filepath.Join(home, "data"), "state"), sm.StoreOptions{})
	state, err := states.LoadFromDBOrGenesisFile(filepath.Join(home, "config", "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	if state.LastBlockHeight != last.height || state.LastBlockID.Hash.String() != last.blockHash.String() {
		t.Fatalf("the state is at %d", state.LastBlockHeight)
	}
	signer := privval.LoadFilePV(filepath.Join(home, "config", "priv_validator_key.json"),
		filepath.Join(home, "data", "priv_validator_state.json"))
	key, err := signer.GetPubKey()
	if err != nil {
		t.Fatal(err)
	}
	if !state.LastValidators.HasAddress(key.Address()) {
		t.Fatal("the signer is no validator")
	}
	signed := signer.LastSignState
	if signed.Height != last.height || !key.VerifySignature(signed.SignBytes, signed.Signature) {
		t.Fatalf("the signer is at %d, or its signature is wrong", signed.Height)
	}
}

func TestTheOldFormIsReadAsTheSameState(t *testing.T) {
	short := small
	short.heights = 5
	var states []map[string]string
	for _, oldForm := range []bool{false, true} {
		home, last := made(t, short)
		data := filepath.Join(home, "data")
		if oldForm {
			if err := toOldForm(data); err != nil {
				t.Fatal(err)
			}
		}
		multi := multistore(t, data)
		if hash := multi.LastCommitID().Hash; hex.EncodeToString(hash) != hex.EncodeToString(last.appHash) {
			t.Errorf("the state has hash %x, the chain %s", hash, last.appHash)
		}
		state := map[string]string{}
		for _, tree := range stores() {
			pairs := multi.GetStoreByName(tree.key.Name()).(storetypes.KVStore).Iterator(nil, nil)
			for ; pairs.Valid(); pairs.Next() {
				state[tree.key.Name()+string(pairs.Key())] = string(pairs.Value())
			}
			if err := pairs.Close(); err != nil {
				t.Fatal(err)
			}
		}
		states = append(states, state)
	}
	if len(states[0]) == 0 || !maps.Equal(states[0], states[1]) {
		t.Errorf("%d pairs and %d pairs, or others", len(states[0]), len(states[1]))
	}
}

func TestTheSeedAloneDecidesTheRecords(t *testing.T) {
	short := small
	short.heights = 5
	other := short
	other.seed = 2
	var digests []string
	for _, s := range []shape{short, short, other} {
		home, _ := made(t, s)
		digests = append(digests, digest(t, filepath.Join(home, "data")))
	}
	if digests[0] != digests[1] {
		t.Error("one seed gave two homes")
	}
	if digests[0] == digests[2] {
		t.Error("two seeds gave one home")
	}
}

func TestAHomeIsNotWrittenOverAnother(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(home, "1M", 33, 1, false); err == nil {
		t.Fatal("a folder with a file in it was taken")
	}
}

func TestASizeIsDividedBetweenBlocksAndApplication(t *testing.T) {
	for _, percent := range []int64{10, 50} {
		s := shapeOf(10<<30, percent, 1)
		blocks := s.heights * int64(s.blockBytes)
		application := s.heights * int64(s.changes) * bytesPerChange
		if got := 100 * application / (blocks + application); got < percent-1 || got > percent+1 {
			t.Errorf("the application got %d percent of the size, not %d", got, percent)
		}
	}
}

func TestSizesAreReadWithTheirUnit(t *testing.T) {
	for text, bytes := range map[string]int64{"7": 7, "3K": 3 << 10, "20G": 20 << 30} {
		if got, err := parseBytes(text); err != nil || got != bytes {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "G", "-1G", "0", "1T", "9999999999G"} {
		if got, err := parseBytes(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}

func nodeDB(t *testing.T, data, name string) cmtdb.DB {
	t.Helper()
	db, err := cmtdb.NewGoLevelDB(name, data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func multistore(t *testing.T, data string) *rootmulti.Store {
	t.Helper()
	db, err := dbm.NewGoLevelDB("application", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	multi := rootmulti.NewStore(db, log.NewNopLogger(), metrics.NewNoOpMetrics())
	multi.SetIAVLSyncPruning(true)
	for _, tree := range stores() {
		multi.MountStoreWithDB(tree.key, storetypes.StoreTypeIAVL, nil)
	}
	if err := multi.LoadLatestVersion(); err != nil {
		t.Fatal(err)
	}
	return multi
}

// digest is over every record of every database.
func digest(t *testing.T, data string) string {
	t.Helper()
	hash := sha256.New()
	for _, name := range []string{"application", "blockstore", "evidence", "state"} {
		db := nodeDB(t, data, name)
		records, err := db.Iterator(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for ; records.Valid(); records.Next() {
			for _, part := range [][]byte{records.Key(), records.Value()} {
				hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
				hash.Write(part)
			}
		}
		if err := records.Error(); err != nil {
			t.Fatal(err)
		}
		records.Close()
		db.Close()
	}
	return hex.EncodeToString(hash.Sum(nil))
}
