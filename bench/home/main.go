// Command home writes a node home of a chosen size, as a Cosmos SDK chain on CometBFT 0.38 would
// leave it on goleveldb: a block store, the node's state, and an application of IAVL trees with
// every version kept. The modules that write it are the node's own, so everything that a chain
// signs is there and true.
//
//	home [-bytes 20G] [-application 33] [-seed 1] [-old-form] HOME
//
// The same seed and size give the same records; how the engine lays them out in files depends on
// when it compacts. Prints one JSON line at the end.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Go's heap may grow to this before the collector works harder. Until then it works less than
// it would by itself: the trees' caches are large and stay.
const (
	heapBytesMax   = 3 << 30
	garbagePercent = 400
)

func main() {
	bytes := flag.String("bytes", "20G", "size on disk, about; with K, M or G")
	application := flag.Int64("application", 33, "percent of the size that the application's state has")
	seed := flag.Uint64("seed", 1, "what the random bytes follow from")
	oldForm := flag.Bool("old-form", false, "keep the application's trees as IAVL 0.x does")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: home [-bytes 20G] [-application 33] [-seed 1] [-old-form] HOME")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *bytes, *application, *seed, *oldForm); err != nil {
		fmt.Fprintln(os.Stderr, "home:", err)
		os.Exit(1)
	}
}

func run(home, size string, application int64, seed uint64, oldForm bool) error {
	wanted, err := parseBytes(size)
	if err != nil {
		return err
	}
	if application < 1 || application > 99 {
		return fmt.Errorf("-application: from 1 to 99 percent, not %d", application)
	}
	if entries, err := os.ReadDir(home); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty; name a new folder", home)
	}
	debug.SetMemoryLimit(heapBytesMax)
	debug.SetGCPercent(garbagePercent)
	began := time.Now()
	shape := shapeOf(wanted, application, seed)
	tip, err := generate(home, shape, func(height int64) {
		done := height - initialHeight + 1
		if done%100 == 0 {
			fmt.Fprintf(os.Stderr, "%d of %d heights, %.0f s\n", done, shape.heights, time.Since(began).Seconds())
		}
	})
	if err != nil {
		return err
	}
	if oldForm {
		if err := toOldForm(filepath.Join(home, "data")); err != nil {
			return err
		}
	}
	sizes, err := databaseBytes(home)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"seed": seed, "heights": shape.heights, "tip": tip.height,
		"block_hash": tip.blockHash.String(), "app_hash": tip.appHash.String(),
		"bytes": sizes, "seconds": time.Since(began).Seconds(),
	})
}

func parseBytes(text string) (int64, error) {
	unit := int64(1)
	for suffix, value := range map[string]int64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		if number, found := strings.CutSuffix(text, suffix); found {
			text, unit = number, value
		}
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number <= 0 || number > (1<<50)/unit {
		return 0, fmt.Errorf("-bytes: a number with K, M or G, not %q", text)
	}
	return number * unit, nil
}
