package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"cosmossdk.io/store/rootmulti"
	"github.com/cometbft/cometbft/crypto/merkle"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	"github.com/cometbft/cometbft/rpc/client/http"
	"github.com/spf13/cobra"
)

// As a light client would: a key that is there and one that isn't are proven, for each store and
// height, against the application's hash in the header above.
func proofsCommand() *cobra.Command {
	return &cobra.Command{
		Use:  "proofs NODE FIRST LAST",
		Args: cobra.ExactArgs(3),
		RunE: func(command *cobra.Command, words []string) error {
			node, err := http.New(words[0], "/websocket")
			if err != nil {
				return err
			}
			var first, last int64
			if _, err := fmt.Sscan(words[1]+" "+words[2], &first, &last); err != nil {
				return err
			}
			verified := 0
			for height := first; height <= last; height++ {
				count, err := proveHeight(command.Context(), node, height)
				if err != nil {
					return fmt.Errorf("height %d: %w", height, err)
				}
				verified += count
			}
			fmt.Println(verified)
			return nil
		},
	}
}

func proveHeight(ctx context.Context, node *http.HTTP, height int64) (int, error) {
	above := height + 1
	header, err := node.Header(ctx, &above)
	if err != nil {
		return 0, err
	}
	options := rpcclient.ABCIQueryOptions{Height: height}
	answer, err := node.ABCIQueryWithOptions(ctx, contentsPath, nil, options)
	if err != nil {
		return 0, err
	}
	if answer.Response.IsErr() {
		return 0, fmt.Errorf("contents: %s", answer.Response.Log)
	}
	var stores map[string]contents
	if err := json.Unmarshal(answer.Response.Value, &stores); err != nil {
		return 0, err
	}
	verified := 0
	for name, found := range stores {
		for _, key := range [][]byte{found.First, found.Last, found.Absent} {
			if key == nil {
				continue
			}
			isThere := !bytes.Equal(key, found.Absent)
			if err := prove(ctx, node, height, header.Header.AppHash, name, key, isThere); err != nil {
				return 0, fmt.Errorf("store %s, key %x: %w", name, key, err)
			}
			verified++
		}
	}
	return verified, nil
}

func prove(
	ctx context.Context, node *http.HTTP, height int64, appHash []byte, store string, key []byte,
	isThere bool,
) error {
	options := rpcclient.ABCIQueryOptions{Height: height, Prove: true}
	answer, err := node.ABCIQueryWithOptions(ctx, "/store/"+store+"/key", key, options)
	if err != nil {
		return err
	}
	response := answer.Response
	if response.IsErr() {
		return fmt.Errorf("query: %s", response.Log)
	}
	path := merkle.KeyPath{}
	path = path.AppendKey([]byte(store), merkle.KeyEncodingURL)
	path = path.AppendKey(key, merkle.KeyEncodingHex)
	runtime := rootmulti.DefaultProofRuntime()
	if isThere {
		return runtime.VerifyValue(response.ProofOps, appHash, path.String(), response.Value)
	}
	return runtime.VerifyAbsence(response.ProofOps, appHash, path.String())
}
