package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"gostore/internal/wire"
)

// badgerLog takes what BadgerDB logs as an error for one: it has no other way to tell that it
// leaves a damaged table out, or that it tries a flush or a compaction again and again.
type badgerLog struct{ *trouble }

func newBadgerLog() *badgerLog { return &badgerLog{newTrouble()} }

func (l *badgerLog) Errorf(format string, args ...interface{}) {
	l.record(fmt.Errorf("BadgerDB says: "+format, args...))
}
func (*badgerLog) Warningf(string, ...interface{}) {}
func (*badgerLog) Infof(string, ...interface{})    {}
func (*badgerLog) Debugf(string, ...interface{})   {}

// failure is the first error that was logged.
func (l *badgerLog) failure() error {
	select {
	case <-l.Trouble():
		return l.TroubleErr()
	default:
		return nil
	}
}

// hasMemtables tells that a store was left without closing it: its log must be read and cut,
// which BadgerDB does only where it may write.
func hasMemtables(path string) bool {
	entries, err := os.ReadDir(path)
	return err != nil || slices.ContainsFunc(entries, func(entry os.DirEntry) bool {
		return filepath.Ext(entry.Name()) == ".mem"
	})
}

// recogniseBadger looks at the manifest: u8[4] "Bdgr", u16 of the program, u16 version, big-endian.
func recogniseBadger(path string) error {
	refuse := func(kind wire.FailureKind, why string) error {
		return wire.Fail(kind, "recognise", "%s is no badgerdb store: %s", path, why)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fromOS("recognise", err)
	}
	if !info.IsDir() {
		return refuse(wire.FailUnknownFormat, "it is no directory")
	}
	file, err := os.Open(filepath.Join(path, "MANIFEST"))
	if errors.Is(err, fs.ErrNotExist) {
		kind := wire.FailUnknownFormat
		if entries, err := os.ReadDir(path); err == nil && len(entries) == 0 {
			kind = wire.FailNotFound
		}
		return refuse(kind, "it has no MANIFEST")
	}
	if err != nil {
		return fromOS("recognise", err)
	}
	start := make([]byte, 8)
	_, err = io.ReadFull(file, start)
	if closeErr := file.Close(); closeErr != nil {
		return fromOS("recognise", closeErr)
	}
	if err != nil || string(start[:4]) != "Bdgr" {
		return refuse(wire.FailUnknownFormat, "its MANIFEST doesn't begin with Bdgr")
	}
	program, version := binary.BigEndian.Uint16(start[4:]), binary.BigEndian.Uint16(start[6:])
	if program != 0 || version != badgerFormat {
		return refuse(wire.FailUnknownFormat, fmt.Sprintf(
			"its manifest has version %d of program %d, known is %d of 0", version, program, badgerFormat))
	}
	return nil
}
