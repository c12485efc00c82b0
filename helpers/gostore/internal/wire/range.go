package wire

import "bytes"

// Range is a range of keys: from Start, included, to End, excluded; without HasEnd to the end of
// the store.
type Range struct {
	Start  []byte
	End    []byte
	HasEnd bool
}

// Range reads a range: bytes start, flag has_end, bytes end (only if the flag is set).
func (f *Fields) Range() Range {
	r := Range{Start: f.Bytes("range start", KeyBytesMax)}
	if r.HasEnd = f.Flag("range has_end"); r.HasEnd {
		r.End = f.Bytes("range end", KeyBytesMax)
	}
	return r
}

// AppendRange appends the encoding that Fields.Range reads.
func AppendRange(to []byte, r Range) []byte {
	to = AppendBytes(to, r.Start)
	if !r.HasEnd {
		return append(to, 0)
	}
	return AppendBytes(append(to, 1), r.End)
}

// Contains tells whether key lies in the range.
func (r Range) Contains(key []byte) bool {
	return bytes.Compare(key, r.Start) >= 0 && (!r.HasEnd || bytes.Compare(key, r.End) < 0)
}

// Empty tells that no key can lie in the range.
func (r Range) Empty() bool { return r.HasEnd && bytes.Compare(r.End, r.Start) <= 0 }

// Clone is a copy that owns its bytes.
func (r Range) Clone() Range {
	return Range{Start: bytes.Clone(r.Start), End: bytes.Clone(r.End), HasEnd: r.HasEnd}
}
