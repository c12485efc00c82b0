package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"
)

// End closes a stream of data frames. It carries what the sender sent, so that a stream that
// broke off can't look like one that ended.
type End struct {
	Entries      uint64
	PayloadBytes uint64
	Digest       [32]byte // BLAKE3-256 over all payload bytes of the stream's data frames
}

// Encode gives u64 entries, u64 payload_bytes, 32 bytes digest.
func (e End) Encode() []byte {
	out := binary.BigEndian.AppendUint64(nil, e.Entries)
	out = binary.BigEndian.AppendUint64(out, e.PayloadBytes)
	return append(out, e.Digest[:]...)
}

// DecodeEnd reads what Encode gives.
func DecodeEnd(payload []byte) (End, error) {
	f := NewFields(payload)
	e := End{Entries: f.U64("entries"), PayloadBytes: f.U64("payload_bytes")}
	copy(e.Digest[:], f.Fixed("digest", len(e.Digest)))
	return e, f.Finish()
}

// AppendEntry appends an entry as data frames carry it: bytes key, bytes value.
func AppendEntry(to, key, value []byte) []byte { return AppendBytes(AppendBytes(to, key), value) }

// Tally counts and digests the payloads of a stream.
type Tally struct {
	entries, payloadBytes uint64
	hasher                *blake3.Hasher
}

// NewTally begins a stream.
func NewTally() *Tally { return &Tally{hasher: blake3.New()} }

// Add takes the payload of a data frame that holds entries whole entries.
func (t *Tally) Add(payload []byte, entries uint64) {
	t.entries += entries
	t.payloadBytes += uint64(len(payload))
	_, _ = t.hasher.Write(payload) // a hash.Hash never fails
}

// End is the end frame of what was added.
func (t *Tally) End() End {
	e := End{Entries: t.entries, PayloadBytes: t.payloadBytes}
	t.hasher.Sum(e.Digest[:0])
	return e
}

// ErrStreamDiffers is a stream whose end frame contradicts the frames before it.
var ErrStreamDiffers = errors.New("the end of the stream contradicts its frames")

// Check compares the sender's end with what arrived.
func (t *Tally) Check(sent End) error {
	if got := t.End(); got != sent {
		return fmt.Errorf("%w: %d entries, %d bytes, digest %x announced; %d, %d, %x arrived",
			ErrStreamDiffers, sent.Entries, sent.PayloadBytes, sent.Digest, got.Entries,
			got.PayloadBytes, got.Digest)
	}
	return nil
}

// Order checks that the keys of a stream strictly ascend and lie in a range.
type Order struct {
	Range Range
	last  []byte
	any   bool
}

// ErrOrder is a key that doesn't follow the one before it, or lies outside the range.
var ErrOrder = errors.New("key out of order or out of range")

// Next takes the next key.
func (o *Order) Next(key []byte) error {
	if o.any && bytes.Compare(o.last, key) >= 0 {
		return fmt.Errorf("%w: %s after %s", ErrOrder, Shown(key), Shown(o.last))
	}
	if !o.Range.Contains(key) {
		return fmt.Errorf("%w: %s", ErrOrder, Shown(key))
	}
	o.any = true
	o.last = append(o.last[:0], key...)
	return nil
}

// Shown prints the beginning of a key.
func Shown(key []byte) string {
	const shownBytes = 48
	if len(key) > shownBytes {
		return fmt.Sprintf("%q... (%d bytes)", key[:shownBytes], len(key))
	}
	return fmt.Sprintf("%q", key)
}
