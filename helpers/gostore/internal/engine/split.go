package engine

import (
	"bytes"
	"encoding/binary"

	"gostore/internal/wire"
)

const (
	// splitPointsMax bounds an answer; with more the pieces become larger.
	splitPointsMax = 1 << 16
	// splitDepthMax is how many times eight further bytes of a key are looked at for one point.
	splitDepthMax = 32
)

// SplitPoints gives stored keys that divide r into pieces of about chunkBytes on disk. It asks
// the engine for the sizes of ranges between made-up keys, which costs index look-ups but no
// reading of data, and takes the stored key after each cut.
func SplitPoints(view View, r wire.Range, chunkBytes uint64) ([][]byte, error) {
	if r.Empty() || chunkBytes == 0 {
		return nil, nil
	}
	first, last, err := ends(view, r)
	if err != nil || first == nil {
		return nil, err
	}
	total, err := view.Size(first, last)
	if err != nil {
		return nil, err
	}
	iter, err := view.Iter(r)
	if err != nil {
		return nil, err
	}
	s := splitter{view: view, iter: iter, chunkBytes: max(chunkBytes, total/splitPointsMax)}
	err = s.halve(first, last, total)
	if closeErr := iter.Close(); err == nil {
		err = closeErr
	}
	return s.points, err
}

// ApproximateBytes is about how many bytes r takes on disk.
func ApproximateBytes(view View, r wire.Range) (uint64, error) {
	if r.Empty() {
		return 0, nil
	}
	first, last, err := ends(view, r)
	if err != nil || first == nil {
		return 0, err
	}
	return view.Size(first, last)
}

// ends gives the first and the last key of a range, nil when it holds none.
func ends(view View, r wire.Range) (first, last []byte, err error) {
	iter, err := view.Iter(r)
	if err != nil {
		return nil, nil, err
	}
	if iter.First() {
		first = append([]byte{}, iter.Key()...)
		if iter.Last() {
			last = append([]byte{}, iter.Key()...)
		} else {
			first = nil
		}
	}
	err = iter.Err()
	if closeErr := iter.Close(); err == nil {
		err = closeErr
	}
	return first, last, err
}

type splitter struct {
	view       View
	iter       Iter
	chunkBytes uint64
	points     [][]byte
}

// halve adds the points inside (low, high], in order. total is the size of the range.
func (s *splitter) halve(low, high []byte, total uint64) error {
	pieces := (total + s.chunkBytes/2) / s.chunkBytes
	if pieces < 2 {
		return nil
	}
	middle, err := s.cut(low, high, total/pieces*(pieces/2))
	if err != nil || middle == nil {
		return err
	}
	left, err := s.view.Size(low, middle)
	if err != nil {
		return err
	}
	right, err := s.view.Size(middle, high)
	if err != nil {
		return err
	}
	// Blocks on the border are counted on both sides. Sizes that don't shrink would divide for
	// ever: such a range stays whole.
	if left < total {
		if err := s.halve(low, middle, left); err != nil {
			return err
		}
	}
	s.points = append(s.points, middle)
	if right < total {
		return s.halve(middle, high, right)
	}
	return nil
}

// cut gives a stored key between low and high, neither of them, before which about want bytes
// lie; nil when there is none.
func (s *splitter) cut(low, high []byte, want uint64) ([]byte, error) {
	var best []byte
	bestMiss := ^uint64(0)
	prefix := commonPrefix(low, high)
	lower, upper := number(low[len(prefix):], 0), number(high[len(prefix):], 0xff)
	for range splitDepthMax {
		at, err := s.boundary(prefix, lower, upper, low, high, want)
		if err != nil {
			return nil, err
		}
		for _, candidate := range [][]byte{at.from, at.to} {
			key, err := s.stored(candidate, low, high)
			if err != nil {
				return nil, err
			}
			if key == nil {
				continue
			}
			size, err := s.view.Size(low, key)
			if err != nil {
				return nil, err
			}
			if miss := max(size, want) - min(size, want); miss < bestMiss {
				best, bestMiss = key, miss
			}
		}
		if bestMiss <= s.chunkBytes/4 || at.from == nil {
			break
		}
		// All that is left lies between two neighbouring numbers: the next eight bytes decide.
		if bytes.Compare(at.from, at.to) >= 0 {
			break
		}
		inside, err := s.view.Size(at.from, at.to)
		if err != nil {
			return nil, err
		}
		if inside <= s.chunkBytes/4 {
			break
		}
		prefix, lower, upper = at.from, 0, ^uint64(0)
	}
	return best, nil
}

// between are two keys, usually made up, that differ by one in their last eight bytes.
type between struct{ from, to []byte }

// boundary finds where, among the keys of prefix and eight bytes from lower to upper, want bytes
// have gone by since low: after from, and before to. When even upper has too few before it, the
// place lies between upper and high. Without a key below to, from is nil.
func (s *splitter) boundary(
	prefix []byte, lower, upper uint64, low, high []byte, want uint64,
) (between, error) {
	made := func(n uint64) []byte { return binary.BigEndian.AppendUint64(bytes.Clone(prefix), n) }
	before := func(n uint64) (uint64, error) {
		if at := made(n); bytes.Compare(low, at) < 0 {
			return s.view.Size(low, at)
		}
		return 0, nil
	}
	size, err := before(upper)
	if err != nil {
		return between{}, err
	}
	if size < want {
		return between{from: made(upper), to: high}, nil
	}
	for lower < upper {
		middle := lower + (upper-lower)/2
		if size, err = before(middle); err != nil {
			return between{}, err
		}
		if size < want {
			lower = middle + 1
		} else {
			upper = middle
		}
	}
	if upper == 0 {
		return between{to: made(upper)}, nil
	}
	return between{from: made(upper - 1), to: made(upper)}, nil
}

// stored gives the first stored key from at on, if it lies between low and high.
func (s *splitter) stored(at, low, high []byte) ([]byte, error) {
	if at == nil || !s.iter.SeekGE(at) {
		return nil, s.iter.Err()
	}
	key := s.iter.Key()
	if bytes.Compare(key, low) <= 0 || bytes.Compare(key, high) >= 0 {
		return nil, nil
	}
	return bytes.Clone(key), nil
}

func commonPrefix(a, b []byte) []byte {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return bytes.Clone(a[:n])
}

// number is the first eight bytes of key, filled up with fill.
func number(key []byte, fill byte) uint64 {
	var eight [8]byte
	for i := range eight {
		eight[i] = fill
	}
	copy(eight[:], key)
	return binary.BigEndian.Uint64(eight[:])
}
