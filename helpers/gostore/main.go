// Command gostore opens stores of Go engines for Transload, which starts it and
// speaks docs/formats/driver-protocol.md to it over a socket at its standard input.
//
// Invariant: it ends when that socket ends, and it writes nowhere but into the one directory
// or file that it was told to make or reopen (and the lock file of a snapshot that it reads; in a
// snapshot of BadgerDB, whatever that engine insists on).
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"gostore/internal/engine"
	"gostore/internal/serve"
	"gostore/internal/wire"
)

// Exit codes beyond 0.
const (
	exitUsage     = 2
	exitNotClosed = 3 // the socket ended before the store was closed
	exitProtocol  = 4
)

func main() {
	if len(os.Args) > 1 {
		os.Exit(explain(os.Args[1:]))
	}
	// A terminal's Ctrl-C and a service manager's stop reach the whole group. Transload decides
	// what happens then; this process ends with its standard input.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM)
	os.Exit(run())
}

func run() int {
	conn, err := net.FileConn(os.Stdin)
	control, isUnix := conn.(*net.UnixConn)
	if err != nil || !isUnix {
		fmt.Fprintln(os.Stderr, "gostore is started by transload, with a socket at its standard input")
		return exitUsage
	}
	closed, err := serve.Control(control, build())
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "gostore:", err)
		return exitProtocol
	case !closed:
		return exitNotClosed
	}
	return 0
}

func explain(args []string) int {
	if len(args) != 1 || args[0] != "--version" {
		fmt.Fprintln(os.Stderr, "usage: gostore --version; otherwise it is started by transload")
		return exitUsage
	}
	fmt.Println(build())
	for _, info := range engine.Info() {
		fmt.Printf("%s: %s, formats %d to %d, new stores %d\n",
			info.Engine, info.Module, info.FormatMin, info.FormatMax, info.FormatNew)
	}
	return 0
}

func build() string {
	version := "unversioned"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	return fmt.Sprintf("gostore %s, protocol %d, %s", version, wire.Version, runtime.Version())
}
