package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is a payload that doesn't have the layout of its kind.
var ErrMalformed = errors.New("malformed payload")

// Fields reads a payload from front to back. The first fault sticks; Finish reports it, and
// bytes that nobody asked for.
type Fields struct {
	rest []byte
	err  error
}

// NewFields begins at the front of payload.
func NewFields(payload []byte) *Fields { return &Fields{rest: payload} }

func (f *Fields) take(n int, what string) []byte {
	if f.err != nil {
		return nil
	}
	if n > len(f.rest) {
		f.err = fmt.Errorf("%w: %s needs %d bytes, %d are left", ErrMalformed, what, n, len(f.rest))
		return nil
	}
	taken := f.rest[:n:n]
	f.rest = f.rest[n:]
	return taken
}

// U8 reads one byte.
func (f *Fields) U8(what string) uint8 {
	if b := f.take(1, what); b != nil {
		return b[0]
	}
	return 0
}

// U16 reads two bytes, big endian.
func (f *Fields) U16(what string) uint16 {
	if b := f.take(2, what); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// U32 reads four bytes, big endian.
func (f *Fields) U32(what string) uint32 {
	if b := f.take(4, what); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// U64 reads eight bytes, big endian.
func (f *Fields) U64(what string) uint64 {
	if b := f.take(8, what); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Bytes reads a u32 length, at most limit, and that many bytes.
func (f *Fields) Bytes(what string, limit int) []byte {
	n := f.U32(what)
	if f.err == nil && uint64(n) > uint64(limit) {
		f.err = fmt.Errorf("%w: %s of %d bytes, the limit is %d", ErrMalformed, what, n, limit)
	}
	if f.err != nil {
		return nil
	}
	return f.take(int(n), what)
}

// Fixed reads n bytes without a length before them.
func (f *Fields) Fixed(what string, n int) []byte { return f.take(n, what) }

// Flag reads a byte that must be 0 or 1.
func (f *Fields) Flag(what string) bool {
	b := f.U8(what)
	if f.err == nil && b > 1 {
		f.err = fmt.Errorf("%w: %s is %d, not 0 or 1", ErrMalformed, what, b)
	}
	return b == 1
}

// Rest reads everything that is left.
func (f *Fields) Rest() []byte { return f.take(len(f.rest), "rest") }

// Left is the number of bytes not yet read.
func (f *Fields) Left() int { return len(f.rest) }

// Err is the first fault so far.
func (f *Fields) Err() error { return f.err }

// Finish reports the first fault, or bytes that are left over.
func (f *Fields) Finish() error {
	if f.err == nil && len(f.rest) != 0 {
		f.err = fmt.Errorf("%w: %d bytes after the last field", ErrMalformed, len(f.rest))
	}
	return f.err
}

// AppendBytes appends a u32 length and the bytes.
func AppendBytes(to, bytes []byte) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(len(bytes)))
	return append(to, bytes...)
}
