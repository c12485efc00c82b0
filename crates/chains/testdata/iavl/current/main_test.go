package main

import (
	"fmt"
	"strings"
	"testing"

	dbm "github.com/cosmos/iavl/db"
)

// A database as it was, and as Transload converted it (`tests/iavl_convert/golden.rs` keeps the
// latter equal to what the code makes).
var pairs = []struct {
	source, converted string
	// The last version, and the last one that is of the 0.x form, which IAVL 1.x prunes with all
	// before it or not at all.
	last, lastOld int
}{
	{"../pruned.legacy", "../pruned.converted", 40, 40},
	{"../mixed.entries", "../mixed.converted", 50, 40},
	{"../mixed-changed.entries", "../mixed-changed.converted", 49, 40},
	{"../mixed-pruned.entries", "../mixed-pruned.converted", 50, 0},
}

func outcome(t *testing.T, path, script string) (string, *dbm.MemDB) {
	t.Helper()
	db := dbm.NewMemDB()
	if err := load(db, path); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := replay(db, script, &out); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return out.String(), db
}

// changes gives versions with sets and removes, an unchanged one among them.
func changes(count int) string {
	text := ""
	for n := range count {
		if n%3 != 2 {
			text += fmt.Sprintf("set %x %02x\nset %x %02x\n", "new", n, "key/07", n)
			text += fmt.Sprintf("remove %x\n", fmt.Sprintf("key/%02d", n))
		}
		text += "save\n"
	}
	return text
}

func TestEveryVersionReadsTheSame(t *testing.T) {
	for _, pair := range pairs {
		before, _ := outcome(t, pair.source, "read\nreload\nread\n")
		after, _ := outcome(t, pair.converted, "read\nreload\nread\n")
		if before != after || !strings.Contains(before, "pair ") {
			t.Errorf("%s and %s differ", pair.source, pair.converted)
		}
	}
}

func TestNewVersionsAndPruningComeOutTheSame(t *testing.T) {
	for _, pair := range pairs {
		for _, keep := range []int{1, 3, 8} {
			script := changes(8) + "read\n"
			script += fmt.Sprintf("delete 1 %d\nread\nreload\nread\n", pair.last+8-keep)
			script += changes(5) + fmt.Sprintf("delete 1 %d\nreload\nread\n", pair.last+11)
			before, _ := outcome(t, pair.source, script)
			after, _ := outcome(t, pair.converted, script)
			if before != after {
				t.Errorf("%s, %d kept: the two differ", pair.converted, keep)
			}
		}
	}
}

// What the old form can't do: prune some of its versions.
func TestOldVersionsArePrunedOneByOne(t *testing.T) {
	for _, pair := range pairs {
		if pair.lastOld == 0 {
			continue
		}
		all, _ := outcome(t, pair.converted, "read\n")
		for last := pair.lastOld - 9; last < pair.last; last++ {
			script := fmt.Sprintf("delete 1 %d\nreload\nread\n", last)
			kept, _ := outcome(t, pair.converted, script)
			from := strings.Index(all, fmt.Sprintf("version %d ", last+1))
			if from < 0 || kept != all[from:] {
				t.Errorf("%s: other versions changed with %d", pair.converted, last)
			}
		}
	}
}

// Once every other version is gone, no node is left that the last one doesn't have.
func TestPruningLeavesNothingBehind(t *testing.T) {
	for _, pair := range pairs {
		script := fmt.Sprintf("delete 1 %d\nreload\n", pair.last-1)
		_, db := outcome(t, pair.converted, script)
		var out strings.Builder
		if err := replay(db, "read\n", &out); err != nil {
			t.Fatal(err)
		}
		leaves := strings.Count(out.String(), "pair ")
		nodes, err := db.Iterator([]byte("s"), []byte("t"))
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for ; nodes.Valid(); nodes.Next() {
			if len(nodes.Value()) > 0 && nodes.Value()[0] != 's' {
				count++
			}
		}
		if want := max(2*leaves-1, 0); count != want {
			t.Errorf("%s: %d nodes are left, and the last version has %d", pair.converted, count, want)
		}
	}
}
