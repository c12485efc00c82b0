package wire

import (
	"encoding/binary"
	"fmt"
)

// Mode tells how a directory is opened.
type Mode uint8

// The modes.
const (
	// ModeReadOnly reads a linked snapshot of a source; nothing but a lock file is made in it.
	ModeReadOnly Mode = 1
	// ModeCreate makes a store in a directory that doesn't exist or is empty.
	ModeCreate Mode = 2
	// ModeReopen opens a store that is there, for writing.
	ModeReopen Mode = 3
)

// Open asks for the one store of this process.
type Open struct {
	Engine         Engine
	Mode           Mode
	MemoryBytesMax uint64
	Path           string
}

// Encode gives u8 engine, u8 mode, u64 memory_bytes_max, bytes path.
func (o Open) Encode() []byte {
	out := []byte{byte(o.Engine), byte(o.Mode)}
	out = binary.BigEndian.AppendUint64(out, o.MemoryBytesMax)
	return AppendBytes(out, []byte(o.Path))
}

// DecodeOpen reads what Encode gives.
func DecodeOpen(payload []byte) (Open, error) {
	f := NewFields(payload)
	o := Open{Engine: Engine(f.U8("engine")), Mode: Mode(f.U8("mode"))}
	o.MemoryBytesMax = f.U64("memory_bytes_max")
	o.Path = string(f.Bytes("path", PathBytesMax))
	if err := f.Finish(); err != nil {
		return o, err
	}
	if o.Mode < ModeReadOnly || o.Mode > ModeReopen {
		return o, fmt.Errorf("%w: mode %d", ErrMalformed, o.Mode)
	}
	return o, nil
}

// Opened is the answer to an Open: u32 format, bytes version.
type Opened struct {
	Format  uint32
	Version string
}

// Encode gives the bytes.
func (o Opened) Encode() []byte {
	return AppendBytes(binary.BigEndian.AppendUint32(nil, o.Format), []byte(o.Version))
}

// Get asks for one value: u32 snapshot, bytes key.
type Get struct {
	Snapshot uint32
	Key      []byte
}

// Encode gives the bytes.
func (g Get) Encode() []byte {
	return AppendBytes(binary.BigEndian.AppendUint32(nil, g.Snapshot), g.Key)
}

// DecodeGet reads what Encode gives.
func DecodeGet(payload []byte) (Get, error) {
	f := NewFields(payload)
	g := Get{Snapshot: f.U32("snapshot"), Key: f.Bytes("key", KeyBytesMax)}
	return g, f.Finish()
}

// GetMany asks for many values: u32 snapshot, u32 count, and for each key bytes key.
type GetMany struct {
	Snapshot uint32
	Keys     [][]byte
}

// Encode gives the bytes.
func (g GetMany) Encode() []byte {
	out := binary.BigEndian.AppendUint32(nil, g.Snapshot)
	out = binary.BigEndian.AppendUint32(out, uint32(len(g.Keys)))
	for _, key := range g.Keys {
		out = AppendBytes(out, key)
	}
	return out
}

// DecodeGetMany reads what Encode gives; the keys' bytes belong to the frame.
func DecodeGetMany(payload []byte) (GetMany, error) {
	f := NewFields(payload)
	g := GetMany{Snapshot: f.U32("snapshot")}
	count := f.U32("count")
	if err := f.Err(); err != nil {
		return g, err
	}
	if count == 0 || count > GetKeysMax || int(count) > f.Left()/getKeyBytesMin {
		return g, fmt.Errorf("%w: %d keys in %d bytes", ErrMalformed, count, f.Left())
	}
	g.Keys = make([][]byte, 0, count)
	for range count {
		key := f.Bytes("key", KeyBytesMax)
		if f.Err() != nil {
			break
		}
		g.Keys = append(g.Keys, key)
	}
	return g, f.Finish()
}

// getKeyBytesMin is what the shortest key takes, so that a forged count allocates nothing.
const getKeyBytesMin = 4

// Values answers a GetMany for its first keys: u32 count, and for each flag present and, if set,
// bytes value.
type Values struct {
	payload []byte
	count   uint32
}

// NewValues begins an answer.
func NewValues() *Values {
	return &Values{payload: make([]byte, valuesHeaderBytes, DataFrameBytesTarget)}
}

// Reset begins another answer in the memory of the last.
func (v *Values) Reset() { v.payload, v.count = v.payload[:valuesHeaderBytes], 0 }

// valuesHeaderBytes is the length of the count.
const valuesHeaderBytes = 4

// Fits tells whether the next value belongs to this answer. The first one always does.
func (v *Values) Fits(value []byte) bool {
	return v.count == 0 || len(v.payload)+5+len(value) <= DataFrameBytesTarget
}

// Add takes the next value.
func (v *Values) Add(value []byte, found bool) {
	v.count++
	if !found {
		v.payload = append(v.payload, 0)
		return
	}
	v.payload = AppendBytes(append(v.payload, 1), value)
}

// Encode gives the bytes.
func (v *Values) Encode() []byte {
	binary.BigEndian.PutUint32(v.payload[:valuesHeaderBytes], v.count)
	return v.payload
}

// RangeOf names a range of a snapshot, for scans and sizes: u32 snapshot, range.
type RangeOf struct {
	Snapshot uint32
	Range    Range
}

// Encode gives the bytes.
func (r RangeOf) Encode() []byte {
	return AppendRange(binary.BigEndian.AppendUint32(nil, r.Snapshot), r.Range)
}

// DecodeRangeOf reads what Encode gives.
func DecodeRangeOf(payload []byte) (RangeOf, error) {
	f := NewFields(payload)
	r := RangeOf{Snapshot: f.U32("snapshot"), Range: f.Range()}
	return r, f.Finish()
}

// SplitPoints asks where to divide a range: u32 snapshot, u64 chunk_bytes, range.
type SplitPoints struct {
	Snapshot   uint32
	ChunkBytes uint64
	Range      Range
}

// Encode gives the bytes.
func (s SplitPoints) Encode() []byte {
	out := binary.BigEndian.AppendUint32(nil, s.Snapshot)
	return AppendRange(binary.BigEndian.AppendUint64(out, s.ChunkBytes), s.Range)
}

// DecodeSplitPoints reads what Encode gives.
func DecodeSplitPoints(payload []byte) (SplitPoints, error) {
	f := NewFields(payload)
	s := SplitPoints{Snapshot: f.U32("snapshot"), ChunkBytes: f.U64("chunk_bytes"), Range: f.Range()}
	return s, f.Finish()
}

// DecodeSnapshot reads a snapshot's number.
func DecodeSnapshot(payload []byte) (uint32, error) {
	f := NewFields(payload)
	id := f.U32("snapshot")
	return id, f.Finish()
}

// DecodeRange reads a payload that is one range.
func DecodeRange(payload []byte) (Range, error) {
	f := NewFields(payload)
	r := f.Range()
	return r, f.Finish()
}

// Table is a file in the staging folder that is to be taken in.
type Table struct {
	Name      string
	FileBytes uint64
}

// EncodeTables gives u32 count and for each table bytes name, u64 file bytes.
func EncodeTables(tables []Table) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(tables)))
	for _, table := range tables {
		out = AppendBytes(out, []byte(table.Name))
		out = binary.BigEndian.AppendUint64(out, table.FileBytes)
	}
	return out
}

// DecodeTables reads what EncodeTables gives.
func DecodeTables(payload []byte) ([]Table, error) {
	f := NewFields(payload)
	count := f.U32("count")
	var tables []Table
	for range count {
		table := Table{Name: string(f.Bytes("name", PathBytesMax))}
		table.FileBytes = f.U64("file_bytes")
		if f.Err() != nil {
			break
		}
		tables = append(tables, table)
	}
	return tables, f.Finish()
}

// DecodeCheck reads the payload of a close: flag check.
func DecodeCheck(payload []byte) (bool, error) {
	f := NewFields(payload)
	check := f.Flag("check")
	return check, f.Finish()
}

// DecodeEmpty refuses a payload.
func DecodeEmpty(payload []byte) error { return NewFields(payload).Finish() }
