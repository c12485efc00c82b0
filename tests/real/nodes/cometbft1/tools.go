//go:build tools

// Package nodes keeps the node program in go.mod, so that `go mod tidy` doesn't drop it.
package nodes

import _ "github.com/cometbft/cometbft/cmd/cometbft"
