package main

import (
	"cosmossdk.io/log"
	storetypes "cosmossdk.io/store/types"
	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	cryptocodec "github.com/cosmos/cosmos-sdk/crypto/codec"
	"github.com/cosmos/cosmos-sdk/runtime"
	"github.com/cosmos/cosmos-sdk/server"
	"github.com/cosmos/cosmos-sdk/server/api"
	"github.com/cosmos/cosmos-sdk/server/config"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"context"
	"errors"
	"io"
)

// The stores of simapp in SDK 0.46, each an IAVL tree. Its store in memory is not in this list:
// it has no data, and SDK 0.50 doesn't commit to it.
var storeNames = []string{
	"acc", "authz", "bank", "capability", "distribution", "evidence", "feegrant", "gov", "group",
	"mint", "nft", "params", "slashing", "staking", "upgrade",
}

// The application: its own are only what each block writes and the query of whole stores.
type successor struct {
	*baseapp.BaseApp
	keys map[string]*storetypes.KVStoreKey
	bank bankkeeper.BaseKeeper
}

func newSuccessor(
	logger log.Logger, db dbm.DB, _ io.Writer, options servertypes.AppOptions,
) servertypes.Application {
	// There are no transactions: every block writes by itself.
	noTransactions := func([]byte) (sdk.Tx, error) { return nil, errors.New("no transactions here") }
	base := baseapp.NewBaseApp(
		"SimApp", logger, db, noTransactions, server.DefaultBaseappOptions(options)...,
	)
	registry := codectypes.NewInterfaceRegistry()
	cryptocodec.RegisterInterfaces(registry)
	authtypes.RegisterInterfaces(registry)
	base.SetInterfaceRegistry(registry)
	cdc := codec.NewProtoCodec(registry)
	app := &successor{BaseApp: base, keys: storetypes.NewKVStoreKeys(storeNames...)}
	authority := authtypes.NewModuleAddress("gov").String()
	prefix := sdk.GetConfig().GetBech32AccountAddrPrefix()
	accounts := authkeeper.NewAccountKeeper(
		cdc, runtime.NewKVStoreService(app.keys["acc"]), authtypes.ProtoBaseAccount, nil,
		address.NewBech32Codec(prefix), prefix, authority,
	)
	app.bank = bankkeeper.NewBaseKeeper(
		cdc, runtime.NewKVStoreService(app.keys["bank"]), accounts, nil, authority, logger,
	)
	banktypes.RegisterQueryServer(base.GRPCQueryRouter(), app.bank)
	base.MountKVStores(app.keys)
	base.SetEndBlocker(app.endBlock)
	if err := base.LoadLatestVersion(); err != nil {
		panic(err)
	}
	return app
}

// Whole stores are asked for under a path of our own; all other queries are the SDK's.
func (app *successor) Query(
	ctx context.Context, request *abci.RequestQuery,
) (*abci.ResponseQuery, error) {
	if request.Path == contentsPath {
		return app.queryContents(request.Height)
	}
	return app.BaseApp.Query(ctx, request)
}

// What the server asks of an application with more interfaces than this one has.
func (*successor) RegisterAPIRoutes(*api.Server, config.APIConfig)   {}
func (*successor) RegisterTxService(client.Context)                  {}
func (*successor) RegisterTendermintService(client.Context)          {}
func (*successor) RegisterNodeService(client.Context, config.Config) {}
