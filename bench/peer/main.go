// Command peer is the other side of Transload's benchmarks: the canonical engines, used the way
// the field's tools use them.
//
//	peer gen    DIR SHAPE RECORDS SEED   write a seeded goleveldb database
//	peer scan   DIR                      goleveldb's iterator over everything
//	peer loop   DIR TARGET               iterate, write 4 MB batches to Pebble without sync
//	peer synced DIR TARGET               iterate, write 100 MB synced batches to Pebble
//	peer ingest DIR TARGET               iterate, write one sorted table after another, ingest
//
// Each prints one JSON line {"records":N,"bytes":N,"seconds":S}.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"
)

type outcome struct {
	Records uint64  `json:"records"`
	Bytes   uint64  `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	start := time.Now()
	var done outcome
	var err error
	switch {
	case len(args) == 5 && args[0] == "gen":
		records, parseErr := strconv.ParseUint(args[3], 10, 64)
		if parseErr != nil {
			return parseErr
		}
		seed, parseErr := strconv.ParseUint(args[4], 10, 64)
		if parseErr != nil {
			return parseErr
		}
		done, err = generate(args[1], args[2], records, seed)
	case len(args) == 2 && args[0] == "scan":
		done, err = scan(args[1])
	case len(args) == 3 && args[0] == "loop":
		done, err = loop(args[1], args[2], 4_000_000, false)
	case len(args) == 3 && args[0] == "synced":
		done, err = loop(args[1], args[2], 100_000_000, true)
	case len(args) == 3 && args[0] == "ingest":
		done, err = ingest(args[1], args[2])
	default:
		return fmt.Errorf("usage: peer gen|scan|loop|synced|ingest ...; see the comment in main.go")
	}
	if err != nil {
		return err
	}
	done.Seconds = time.Since(start).Seconds()
	return json.NewEncoder(os.Stdout).Encode(done)
}
