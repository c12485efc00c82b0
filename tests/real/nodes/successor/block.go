package main

import (
	"encoding/binary"
	"fmt"

	storetypes "cosmossdk.io/store/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
)

const (
	// A store is written in one of so many blocks; in the others its root stays.
	writtenEvery = 3
	// Keys of our own are removed after so many blocks.
	keptBlocks = 7
	denom      = "stake"
)

// What each block writes follows from its height and the state, as it must.
func (app *successor) endBlock(ctx sdk.Context) (sdk.EndBlock, error) {
	height := ctx.BlockHeight()
	if err := app.transfer(ctx, height); err != nil {
		return sdk.EndBlock{}, err
	}
	for index, name := range storeNames {
		// The keepers of these two read what they wrote.
		if name == "acc" || name == "bank" || (height+int64(index))%writtenEvery != 0 {
			continue
		}
		store := ctx.KVStore(app.keys[name])
		store.Set(ownKey(height), []byte(fmt.Sprintf("%s at %d", name, height)))
		store.Delete(ownKey(height - keptBlocks*writtenEvery))
		rewrite(store, height)
	}
	return sdk.EndBlock{}, nil
}

// The bank sends one coin from an account to the next one.
func (app *successor) transfer(ctx sdk.Context, height int64) error {
	balances := app.bank.GetAccountsBalances(ctx)
	coin := sdk.NewInt64Coin(denom, 1)
	for tried := range balances {
		at := (int(height) + tried) % len(balances)
		if balances[at].Coins.AmountOf(denom).GTE(coin.Amount) {
			from := sdk.MustAccAddressFromBech32(balances[at].Address)
			to := sdk.MustAccAddressFromBech32(balances[(at+1)%len(balances)].Address)
			return app.bank.SendCoins(ctx, from, to, sdk.NewCoins(coin))
		}
	}
	return fmt.Errorf("no account has %s", coin)
}

// One of the store's keys, another one each time, gets a value that says when.
func rewrite(store storetypes.KVStore, height int64) {
	var keys [][]byte
	iterator := store.Iterator(nil, nil)
	for ; iterator.Valid(); iterator.Next() {
		keys = append(keys, iterator.Key())
	}
	iterator.Close()
	key := keys[int(height)%len(keys)]
	store.Set(key, []byte(fmt.Sprintf("rewritten at %d", height)))
}

// In the middle of a store's keys, so that its tree turns.
func ownKey(height int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0x15}, uint64(height))
}
