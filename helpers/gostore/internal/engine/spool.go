package engine

import (
	"bufio"
	"errors"
	"io"
	"os"

	"gostore/internal/wire"
)

// spool keeps a chunk in a file until its commit, for an engine that has no way to write a part
// of a load that isn't visible yet. Several chunks fill their spools at the same time; the engine
// takes them one after another.
type spool struct {
	file  *os.File
	out   *bufio.Writer
	tally *wire.Tally
	load  func(entries func(put func(key, value []byte) error) error) error
	entry []byte
	done  bool
}

const spoolBufferBytes = 256 << 10

func newSpool(
	path string, load func(func(put func(key, value []byte) error) error) error,
) (*spool, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fromOS("bulk load", err)
	}
	// Its name goes at once: however this process ends, no spool stays behind.
	if err := os.Remove(path); err != nil {
		return nil, fromOS("bulk load", errors.Join(err, file.Close()))
	}
	return &spool{
		file:  file,
		out:   bufio.NewWriterSize(file, spoolBufferBytes),
		tally: wire.NewTally(),
		load:  load,
	}, nil
}

func (s *spool) Put(key, value []byte) error {
	s.entry = wire.AppendEntry(s.entry[:0], key, value)
	s.tally.Add(s.entry, 1)
	_, err := s.out.Write(s.entry)
	return fromOS("bulk load", err)
}

func (s *spool) Commit() error {
	defer s.Abort()
	if err := s.out.Flush(); err != nil {
		return fromOS("bulk load", err)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fromOS("bulk load", err)
	}
	if s.tally.End().Entries == 0 {
		return nil
	}
	return s.load(s.replay)
}

// replay gives every entry that was put, and fails if the file holds anything else: a spool that
// was damaged or cut must not become a shorter chunk.
func (s *spool) replay(put func(key, value []byte) error) error {
	written := s.tally.End()
	read := wire.NewTally()
	in := bufio.NewReaderSize(s.file, spoolBufferBytes)
	for range written.Entries {
		var err error
		s.entry = s.entry[:0]
		var bounds [2]int
		for part, limit := range [2]int{wire.KeyBytesMax, wire.ValueBytesMax} {
			if s.entry, err = readPart(in, s.entry, limit); err != nil {
				return fromOS("bulk load", err)
			}
			bounds[part] = len(s.entry)
		}
		read.Add(s.entry, 1)
		if err := put(s.entry[4:bounds[0]], s.entry[bounds[0]+4:bounds[1]]); err != nil {
			return err
		}
	}
	if err := read.Check(written); err != nil {
		return wire.Fail(wire.FailIO, "bulk load", "the spool changed: %v", err)
	}
	return nil
}

func readPart(in io.Reader, entry []byte, limit int) ([]byte, error) {
	start := len(entry)
	entry = append(entry, 0, 0, 0, 0)
	if _, err := io.ReadFull(in, entry[start:]); err != nil {
		return entry, err
	}
	length := wire.NewFields(entry[start:]).U32("length")
	if uint64(length) > uint64(limit) {
		return entry, wire.Fail(wire.FailIO, "bulk load", "the spool holds a length of %d", length)
	}
	start = len(entry)
	entry = append(entry, make([]byte, length)...)
	_, err := io.ReadFull(in, entry[start:])
	return entry, err
}

func (s *spool) Abort() {
	if !s.done {
		s.done = true
		_ = s.file.Close() // it has no name any more
	}
}
