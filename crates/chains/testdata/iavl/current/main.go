// Works on a database of one tree with IAVL 1.x.
//
//	go run . SCRIPT ENTRIES OUT
//
// ENTRIES holds lines `entry KEY VALUE` (bytes in hex; others are ignored), the database to begin
// with; `-` is an empty one. Lines of SCRIPT: those of the program beside this one, with `delete
// FIRST LAST` as deleting all versions up to LAST; `reload` opens the tree anew; `read` writes all
// versions with all their keys and values. OUT gets what `read` and `save` say, and at the end
// every entry.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cosmos/iavl"
	dbm "github.com/cosmos/iavl/db"
)

func main() {
	script, err := os.ReadFile(os.Args[1])
	if err == nil {
		db := dbm.NewMemDB()
		if os.Args[2] != "-" {
			err = load(db, os.Args[2])
		}
		if err == nil {
			var out *os.File
			if out, err = os.Create(os.Args[3]); err == nil {
				if err = replay(db, string(script), out); err == nil {
					err = dump(db, out)
				}
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// load puts the entries of a file into db.
func load(db *dbm.MemDB, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		if words[0] != "entry" {
			continue
		}
		key, err := hex.DecodeString(words[1])
		if err != nil {
			return err
		}
		value, err := hex.DecodeString(words[2])
		if err != nil {
			return err
		}
		if err := db.Set(key, value); err != nil {
			return err
		}
	}
	return lines.Err()
}

func dump(db *dbm.MemDB, out io.Writer) error {
	entries, err := db.Iterator(nil, nil)
	if err != nil {
		return err
	}
	defer entries.Close()
	for ; entries.Valid(); entries.Next() {
		fmt.Fprintf(out, "entry %x %x\n", entries.Key(), entries.Value())
	}
	return entries.Error()
}

// replay does what the script says.
func replay(db *dbm.MemDB, script string, out io.Writer) error {
	initial := uint64(0)
	var tree *iavl.MutableTree
	open := func() error {
		tree = iavl.NewMutableTree(
			db, 10_000, false, iavl.NewNopLogger(), iavl.InitialVersionOption(initial))
		_, err := tree.Load()
		return err
	}
	if err := open(); err != nil {
		return err
	}
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		if err := step(&tree, open, &initial, strings.Split(line, " "), out); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

func step(
	tree **iavl.MutableTree, open func() error, initial *uint64, words []string, out io.Writer,
) error {
	arguments := make([][]byte, 0, 2)
	numbers := make([]int64, 0, 2)
	for _, word := range words[1:] {
		if value, err := hex.DecodeString(word); err == nil {
			arguments = append(arguments, value)
		}
		if value, err := strconv.ParseInt(word, 10, 64); err == nil {
			numbers = append(numbers, value)
		}
	}
	var err error
	switch words[0] {
	case "set":
		_, err = (*tree).Set(arguments[0], arguments[1])
	case "remove":
		_, _, err = (*tree).Remove(arguments[0])
	case "initial":
		*initial = uint64(numbers[0])
		err = open()
	case "save":
		var hash []byte
		var version int64
		hash, version, err = (*tree).SaveVersion()
		fmt.Fprintf(out, "root %d %x\n", version, hash)
	case "delete":
		err = (*tree).DeleteVersionsTo(numbers[1])
	case "reload":
		if err = (*tree).Close(); err == nil {
			err = open()
		}
	case "read":
		err = read(*tree, out)
	default:
		err = fmt.Errorf("unknown line")
	}
	return err
}

func read(tree *iavl.MutableTree, out io.Writer) error {
	for _, version := range tree.AvailableVersions() {
		kept, err := tree.GetImmutable(int64(version))
		if err != nil {
			return fmt.Errorf("version %d: %w", version, err)
		}
		fmt.Fprintf(out, "version %d %x\n", version, kept.Hash())
		var last error
		_, err = kept.Iterate(func(key, value []byte) bool {
			fmt.Fprintf(out, "pair %x %x\n", key, value)
			var got []byte
			if got, last = kept.Get(key); last == nil && string(got) != string(value) {
				last = fmt.Errorf("version %d: key %x is %x and %x", version, key, value, got)
			}
			return last != nil
		})
		if err == nil {
			err = last
		}
		if err != nil {
			return err
		}
	}
	return nil
}
