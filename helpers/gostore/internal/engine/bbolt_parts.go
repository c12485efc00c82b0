package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"go.etcd.io/bbolt"

	"gostore/internal/wire"
)

const (
	// bboltPartsMin is how many parts sizes are told from; more pages are read only until there
	// are so many.
	bboltPartsMin = 1024
	// bboltDepthMax ends a walk through pages that lead round in a ring.
	bboltDepthMax = 64

	bboltHeaderBytes  = 16
	bboltElementBytes = 16
	bboltFlagBranch   = 1
	bboltMagic        = 0xed0cdaed
)

// bboltParts gives the lowest keys of the parts of a bucket's tree, without the first, from its
// branch pages: bbolt itself tells nothing about where its bytes are. The transaction keeps the
// pages as they are.
//
// Layout (page.go, little-endian): a page begins with u64 number, u16 flags, u16 count and u32
// overflow; a branch's elements are u32 position of the key from the element on, u32 length, u64
// page below.
func bboltParts(path string, tx *bbolt.Tx, bucket *bbolt.Bucket) (keys [][]byte, err error) {
	root := uint64(bucket.Root())
	if root == 0 {
		return nil, nil // so small that it stands in its parent's page
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	pageBytes := tx.DB().Info().PageSize
	type part struct {
		lowest []byte
		page   uint64
	}
	level := []part{{page: root}}
	for range bboltDepthMax {
		if len(level) > bboltPartsMin {
			break
		}
		var below []part
		for _, above := range level {
			page, err := bboltPage(file, int64(above.page), pageBytes)
			if err != nil {
				return nil, err
			}
			if binary.LittleEndian.Uint16(page[8:]) != bboltFlagBranch {
				break // all leaves have one depth
			}
			for index := range int(binary.LittleEndian.Uint16(page[10:])) {
				at := bboltHeaderBytes + index*bboltElementBytes
				if at+bboltElementBytes > len(page) {
					return nil, errBboltBranch
				}
				element := page[at:]
				from := uint64(binary.LittleEndian.Uint32(element))
				to := from + uint64(binary.LittleEndian.Uint32(element[4:]))
				if to > uint64(len(element)) {
					return nil, errBboltBranch
				}
				lowest := bytes.Clone(element[from:to])
				if index == 0 {
					lowest = above.lowest
				}
				below = append(below, part{lowest, binary.LittleEndian.Uint64(element[8:])})
			}
		}
		if len(below) == 0 {
			break
		}
		level = below
	}
	for _, part := range level[1:] {
		keys = append(keys, part.lowest)
	}
	return keys, nil
}

var errBboltBranch = wire.Fail(wire.FailCorrupt, "approximate bytes", "a branch contradicts itself")

// bboltPage reads a page, with those that it runs over where it is a branch.
func bboltPage(file *os.File, number int64, pageBytes int) ([]byte, error) {
	page := make([]byte, pageBytes)
	if _, err := file.ReadAt(page, number*int64(pageBytes)); err != nil {
		return nil, err
	}
	overflow := int64(binary.LittleEndian.Uint32(page[12:]))
	if overflow == 0 || binary.LittleEndian.Uint16(page[8:]) != bboltFlagBranch {
		return page, nil
	}
	rest, err := io.ReadAll(io.NewSectionReader(
		file, (number+1)*int64(pageBytes), overflow*int64(pageBytes)))
	return append(page, rest...), err
}

// recogniseBbolt looks at a file before bbolt does.
func recogniseBbolt(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fromOS("recognise", err)
	}
	refuse := func(why string) error {
		return wire.Fail(wire.FailUnknownFormat, "recognise", "%s is no bbolt file: %s", path, why)
	}
	if !info.Mode().IsRegular() {
		return refuse("it is no regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return fromOS("recognise", err)
	}
	start := make([]byte, bboltHeaderBytes+8)
	_, err = io.ReadFull(file, start)
	if closeErr := file.Close(); closeErr != nil {
		return fromOS("recognise", closeErr)
	}
	if err != nil || binary.LittleEndian.Uint32(start[bboltHeaderBytes:]) != bboltMagic {
		return refuse("it doesn't begin with bbolt's magic number")
	}
	if version := binary.LittleEndian.Uint32(start[bboltHeaderBytes+4:]); version != bboltFormat {
		return refuse("its format is another")
	}
	return nil
}
