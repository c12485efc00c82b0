package engine

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
)

// tablePayloadBytesMax is where a chunk begins a new table. Nodes let tables of the lowest level
// grow to 128 MiB; smaller ones make finer split points and cheaper compactions.
const tablePayloadBytesMax = 64 << 20

// tableWriter writes one sorted table. Close makes the file durable.
type tableWriter interface {
	Set(key, value []byte) error
	Close() error
}

// tableChunk writes a chunk as tables beside the store, which takes them in at once.
type tableChunk struct {
	create  func(path string) (tableWriter, error)
	ingest  func(paths []string) error
	remove  func(path string)
	prefix  string
	paths   []string
	current tableWriter
	bytes   int
	done    bool
}

// chunkNumber tells the files of this process's chunks apart.
var chunkNumber atomic.Uint64

func stagingPrefix(path string) (string, error) {
	staging, err := makeStaging(path)
	if err != nil {
		return "", err
	}
	return filepath.Join(staging, fmt.Sprintf("chunk-%d", chunkNumber.Add(1))), nil
}

func (c *tableChunk) Put(key, value []byte) error {
	size := len(key) + len(value)
	if c.current != nil && c.bytes+size > tablePayloadBytesMax {
		if err := c.finishTable(); err != nil {
			return err
		}
	}
	if c.current == nil {
		path := fmt.Sprintf("%s-%d.sst", c.prefix, len(c.paths))
		writer, err := c.create(path)
		if err != nil {
			return fromOS("bulk load", err)
		}
		c.current, c.bytes = writer, 0
		c.paths = append(c.paths, path)
	}
	c.bytes += size
	return fromOS("bulk load", c.current.Set(key, value))
}

func (c *tableChunk) finishTable() error {
	writer := c.current
	c.current = nil
	return fromOS("bulk load", writer.Close())
}

func (c *tableChunk) Commit() error {
	if c.current != nil {
		if err := c.finishTable(); err != nil {
			return err
		}
	}
	if len(c.paths) != 0 {
		if err := c.ingest(c.paths); err != nil {
			failure := classify("bulk commit", err)
			failure.EffectUnknown = true
			return failure
		}
	}
	c.done = true
	return nil
}

func (c *tableChunk) Abort() {
	if c.done {
		return
	}
	c.done = true
	if c.current != nil {
		_ = c.finishTable() // its file goes next
	}
	for _, path := range c.paths {
		c.remove(path)
	}
}
