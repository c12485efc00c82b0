package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/types"
)

const validatorCount = 4

// The keys of the SDK's app.toml that say how the application keeps its data.
const applicationConfig = `minimum-gas-prices = "0stake"
pruning = "nothing"
pruning-keep-recent = "0"
pruning-interval = "0"
min-retain-blocks = 0
iavl-cache-size = 781250
iavl-disable-fastnode = false
# An empty string falls back to db_backend in config.toml.
app-db-backend = ""

[state-sync]
snapshot-interval = 0
snapshot-keep-recent = 2
`

// validatorKeys are the chain's; the first is this home's own.
func validatorKeys(s shape) []ed25519.PrivKey {
	keys := make([]ed25519.PrivKey, 0, validatorCount)
	for number := range validatorCount {
		secret := s.digest(fmt.Sprintf("validator %d", number))
		keys = append(keys, ed25519.GenPrivKeyFromSecret(secret[:]))
	}
	return keys
}

// writeConfiguration writes everything of a home that is no database and no signer.
func writeConfiguration(home string, s shape, keys []ed25519.PrivKey) (*types.GenesisDoc, error) {
	settings := config.DefaultConfig().SetRoot(home)
	settings.DBBackend = "goleveldb"
	settings.Moniker = "bighome"
	// Without an index of transactions: it would hold each of them a second time.
	settings.TxIndex.Indexer = "null"
	for _, folder := range []string{"config", "data"} {
		if err := os.MkdirAll(filepath.Join(home, folder), 0o755); err != nil {
			return nil, err
		}
	}
	config.WriteConfigFile(filepath.Join(home, "config", "config.toml"), settings)
	application := filepath.Join(home, "config", "app.toml")
	if err := os.WriteFile(application, []byte(applicationConfig), 0o644); err != nil {
		return nil, err
	}
	secret := s.digest("node")
	encoded, err := cmtjson.Marshal(map[string]any{"priv_key": ed25519.GenPrivKeyFromSecret(secret[:])})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(settings.NodeKeyFile(), encoded, 0o600); err != nil {
		return nil, err
	}
	genesis := &types.GenesisDoc{
		GenesisTime: genesisTime, ChainID: chainID, InitialHeight: initialHeight,
		ConsensusParams: types.DefaultConsensusParams(), AppState: json.RawMessage(`{}`),
	}
	for number, key := range keys {
		public := key.PubKey()
		genesis.Validators = append(genesis.Validators, types.GenesisValidator{
			Address: public.Address(), PubKey: public, Power: votingPower, Name: fmt.Sprintf("validator %d", number),
		})
	}
	if err := genesis.ValidateAndComplete(); err != nil {
		return nil, err
	}
	return genesis, genesis.SaveAs(settings.GenesisFile())
}

// writeSigner leaves the signer as it was after its last vote.
func writeSigner(home string, key ed25519.PrivKey, vote *types.Vote) error {
	const stepPrecommit = 3
	settings := config.DefaultConfig().SetRoot(home)
	signer := privval.NewFilePV(key, settings.PrivValidatorKeyFile(), settings.PrivValidatorStateFile())
	signer.LastSignState.Height = vote.Height
	signer.LastSignState.Round = vote.Round
	signer.LastSignState.Step = stepPrecommit
	signer.LastSignState.Signature = vote.Signature
	signer.LastSignState.SignBytes = types.VoteSignBytes(chainID, vote.ToProto())
	signer.Save()
	return nil
}
