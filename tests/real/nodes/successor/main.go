// A node for the homes of SDK 0.46's simapp, as the chain has it after its upgrade: the server,
// the multistore and the keepers of SDK 0.50 with IAVL 1.x, on CometBFT 0.38. It has the stores
// of that application, so it goes on with its state, whether that is of IAVL 0.x, 1.x or both.
//
// It runs no migration of the modules' own data: what is under test is how the trees are kept.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	cmtcfg "github.com/cometbft/cometbft/config"
	"github.com/cosmos/cosmos-sdk/server"
	servercmd "github.com/cosmos/cosmos-sdk/server/cmd"
	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{Use: filepath.Base(os.Args[0]), SilenceUsage: true}
	start := server.StartCmd(newSuccessor, "")
	start.PersistentPreRunE = func(command *cobra.Command, _ []string) error {
		return server.InterceptConfigsPreRunHandler(command, "", nil, cmtcfg.DefaultConfig())
	}
	root.AddCommand(start, proofsCommand())
	if err := servercmd.Execute(root, "SUCCESSOR", ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
