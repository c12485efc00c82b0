// Package foreign checks Transload's proofs with tools that its authors didn't write: here the
// RFC 6962 code of Go's checksum database.
package foreign

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

type inclusion struct {
	Index string   `json:"index"`
	Size  string   `json:"size"`
	Path  []string `json:"path"`
}

type proof struct {
	Table           string    `json:"table"`
	Key             string    `json:"key"`
	Value           string    `json:"value"`
	InSegment       inclusion `json:"in_segment"`
	SegmentRecords  string    `json:"segment_records"`
	SegmentBytes    string    `json:"segment_bytes"`
	SegmentFirstKey string    `json:"segment_first_key"`
	InTable         inclusion `json:"in_table"`
	TableRecords    string    `json:"table_records"`
	TableBytes      string    `json:"table_bytes"`
	InDataset       inclusion `json:"in_dataset"`
	DatasetRoot     string    `json:"dataset_root"`
}

type vectors struct {
	Root   string `json:"root"`
	Tables []struct {
		Root     string `json:"root"`
		Segments []struct {
			Root string `json:"root"`
			Leaf string `json:"leaf"`
		} `json:"segments"`
	} `json:"tables"`
	Proof proof `json:"proof_of_large_150"`
}

func TestTheChecksumDatabasesCodeAcceptsEveryStepOfAProof(t *testing.T) {
	text, err := os.ReadFile("../../crates/model/testdata/commitment-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	large := v.Tables[1]
	at := number(t, v.Proof.InTable.Index)
	record := recordData(t, v.Proof)
	accepted(t, v.Proof.InSegment, hash(t, large.Segments[at].Root), tlog.RecordHash(record))
	accepted(t, v.Proof.InTable, tableRoot(t, v), hash(t, large.Segments[at].Leaf))
	accepted(t, v.Proof.InDataset, hash(t, v.Root), hash(t, large.Root))

	record[len(record)-1] ^= 1
	step := v.Proof.InSegment
	if check(t, step, hash(t, large.Segments[at].Root), tlog.RecordHash(record)) == nil {
		t.Fatal("a changed record was accepted")
	}
}

func accepted(t *testing.T, step inclusion, root, leaf tlog.Hash) {
	t.Helper()
	if err := check(t, step, root, leaf); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, step inclusion, root, leaf tlog.Hash) error {
	t.Helper()
	var path tlog.RecordProof
	for _, sibling := range step.Path {
		path = append(path, hash(t, sibling))
	}
	return tlog.CheckRecord(path, number(t, step.Size), root, number(t, step.Index), leaf)
}

// recordData is the record as docs/formats/commitment.md writes it out.
func recordData(t *testing.T, p proof) []byte {
	t.Helper()
	key, value := raw(t, p.Key), raw(t, p.Value)
	table := sha256.Sum256([]byte(p.Table))
	data := append(tag("transload.record.v1"), table[:]...)
	data = binary.BigEndian.AppendUint32(data, uint32(len(key)))
	data = binary.BigEndian.AppendUint64(data, uint64(len(value)))
	data = append(data, key...)
	if len(value) > 1024 {
		sum := sha256.Sum256(value)
		return append(data, sum[:]...)
	}
	return append(data, value...)
}

// tableRoot is the root over the segments' leaves of table `large`, made by the foreign code.
func tableRoot(t *testing.T, v vectors) tlog.Hash {
	t.Helper()
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for n, segment := range v.Tables[1].Segments {
		hashes, err := tlog.StoredHashesForRecordHash(int64(n), hash(t, segment.Leaf), read)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
	}
	root, err := tlog.TreeHash(int64(len(v.Tables[1].Segments)), read)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func tag(text string) []byte {
	padded := make([]byte, 31)
	copy(padded, text)
	return padded
}

func raw(t *testing.T, text string) []byte {
	t.Helper()
	bytes, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

func hash(t *testing.T, text string) tlog.Hash {
	t.Helper()
	return tlog.Hash(raw(t, text))
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}
