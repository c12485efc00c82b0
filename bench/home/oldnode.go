package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// node is one of IAVL 1.x. A leaf has a value and no hash.
type node struct {
	height, size int64
	key, value   []byte
	hash         []byte
	left, right  nodeID
}

var errShort = errors.New("a node is cut off")

// reader takes one part of a node after the other; after an error it gives nothing.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) number() int64 {
	number, length := binary.Varint(r.rest)
	if length <= 0 {
		r.rest, r.err = nil, errShort
		return 0
	}
	r.rest = r.rest[length:]
	return number
}

func (r *reader) bytes() []byte {
	size, length := binary.Uvarint(r.rest)
	if length <= 0 || uint64(len(r.rest)-length) < size {
		r.rest, r.err = nil, errShort
		return nil
	}
	found := r.rest[length : length+int(size)]
	r.rest = r.rest[length+int(size):]
	return found
}

func (r *reader) id() (id nodeID) {
	binary.BigEndian.PutUint64(id[:8], uint64(r.number()))
	binary.BigEndian.PutUint32(id[8:], uint32(r.number()))
	return id
}

func parseNode(value []byte) (node, error) {
	r := reader{rest: value}
	n := node{height: r.number(), size: r.number(), key: r.bytes()}
	if n.height == 0 {
		n.value = r.bytes()
		return n, r.err
	}
	n.hash = r.bytes()
	if mode := r.number(); mode != 0 {
		return n, fmt.Errorf("a node has children of mode %d", mode)
	}
	n.left, n.right = r.id(), r.id()
	return n, r.err
}

func (n node) head(version uint64) []byte {
	head := binary.AppendVarint(binary.AppendVarint(nil, n.height), n.size)
	return binary.AppendVarint(head, int64(version))
}

func (n node) leafHash(version uint64) []byte {
	value := sha256.Sum256(n.value)
	hash := sha256.Sum256(appendBytes(appendBytes(n.head(version), n.key), value[:]))
	return hash[:]
}

// oldForm names the children by their hashes and has the version in the node itself.
func (n node) oldForm(version uint64, hashes map[nodeID][]byte) ([]byte, error) {
	form := appendBytes(n.head(version), n.key)
	if n.height == 0 {
		return appendBytes(form, n.value), nil
	}
	for _, child := range []nodeID{n.left, n.right} {
		hash, ok := hashes[child]
		if !ok {
			return nil, fmt.Errorf("child %x isn't there", child)
		}
		form = appendBytes(form, hash)
	}
	return form, nil
}

func appendBytes(to, bytes []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(bytes))), bytes...)
}
