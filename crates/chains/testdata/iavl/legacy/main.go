// Replays a script on a tree of IAVL 0.x and writes down the database and what it holds.
//
//	go run . SCRIPT OUT
//
// Lines of SCRIPT (bytes in hex): `set KEY VALUE`, `remove KEY`, `save`, `delete FIRST LAST`
// (versions, as pruning does), `initial VERSION` (before anything else). OUT gets `root VERSION
// HASH` as versions are saved, and at the end every entry of the database as `entry KEY VALUE`.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	dbm "github.com/cometbft/cometbft-db"
	"github.com/cosmos/iavl"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	script, err := os.Open(os.Args[1])
	check(err)
	out, err := os.Create(os.Args[2])
	check(err)
	db := dbm.NewMemDB()
	tree, err := iavl.NewMutableTree(db, 10_000, false)
	check(err)
	lines := bufio.NewScanner(script)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		switch words[0] {
		case "set":
			_, err = tree.Set(bytes(words[1]), bytes(words[2]))
		case "remove":
			_, _, err = tree.Remove(bytes(words[1]))
		case "initial":
			tree.SetInitialVersion(uint64(number(words[1])))
		case "save":
			var hash []byte
			var version int64
			hash, version, err = tree.SaveVersion()
			fmt.Fprintf(out, "root %d %x\n", version, hash)
		case "delete":
			err = tree.DeleteVersionsRange(number(words[1]), number(words[2])+1)
		default:
			err = fmt.Errorf("unknown line: %s", lines.Text())
		}
		check(err)
	}
	check(lines.Err())
	entries, err := db.Iterator(nil, nil)
	check(err)
	for ; entries.Valid(); entries.Next() {
		fmt.Fprintf(out, "entry %x %x\n", entries.Key(), entries.Value())
	}
	check(out.Close())
}

func bytes(text string) []byte {
	value, err := hex.DecodeString(text)
	check(err)
	return value
}

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	check(err)
	return value
}
