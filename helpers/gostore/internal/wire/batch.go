package wire

import (
	"encoding/binary"
	"fmt"
)

// The operations of a batch.
const (
	OpPut    uint8 = 1
	OpDelete uint8 = 2
)

// Op is one change. Its bytes belong to the frame.
type Op struct {
	Op    uint8
	Key   []byte
	Value []byte
}

// Batch is a set of changes that belong together; later ones win.
type Batch struct {
	Sync bool
	Ops  []Op
}

// Encode gives flag sync, u32 count, and for each change u8 op, bytes key and, for a put, bytes
// value.
func (b Batch) Encode() []byte {
	out := []byte{0}
	if b.Sync {
		out[0] = 1
	}
	out = binary.BigEndian.AppendUint32(out, uint32(len(b.Ops)))
	for _, op := range b.Ops {
		out = AppendBytes(append(out, op.Op), op.Key)
		if op.Op == OpPut {
			out = AppendBytes(out, op.Value)
		}
	}
	return out
}

// batchOpBytesMin is what the shortest change takes, so that a forged count allocates nothing.
const batchOpBytesMin = 5

// DecodeBatch reads what Encode gives. Every change is checked before any is applied.
func DecodeBatch(payload []byte) (Batch, error) {
	f := NewFields(payload)
	b := Batch{Sync: f.Flag("sync")}
	count := f.U32("count")
	if err := f.Err(); err != nil {
		return b, err
	}
	if count > BatchOpsMax || int(count) > f.Left()/batchOpBytesMin {
		return b, fmt.Errorf("%w: %d changes in %d bytes", ErrMalformed, count, f.Left())
	}
	b.Ops = make([]Op, 0, count)
	for range count {
		op := Op{Op: f.U8("op"), Key: f.Bytes("key", KeyBytesMax)}
		switch op.Op {
		case OpPut:
			op.Value = f.Bytes("value", ValueBytesMax)
		case OpDelete:
		default:
			if f.Err() == nil {
				return b, fmt.Errorf("%w: operation %d", ErrMalformed, op.Op)
			}
		}
		if f.Err() != nil {
			break
		}
		b.Ops = append(b.Ops, op)
	}
	return b, f.Finish()
}
