package serve

import (
	"errors"

	"gostore/internal/engine"
	"gostore/internal/wire"
)

// bulk loads one chunk: the request names its range, data frames bring the entries, an end frame
// commits. The answer is one frame. A chunk that fails is answered at once, and the rest of its
// frames is read and dropped, so that the sender is never stuck in a write.
func (s *session) bulk(payload []byte) error {
	asked, err := wire.DecodeRange(payload)
	if err != nil {
		return wire.Malformed("bulk load", err)
	}
	load := &load{order: wire.Order{Range: asked.Clone()}, tally: wire.NewTally()}
	if _, err := s.await(func() (reply, error) { return reply{}, load.begin(s.server) }); err != nil {
		return s.dropRest(err)
	}
	defer load.giveUp()
	for {
		frame, err := s.receive()
		if err != nil {
			return err // the sender has gone; the chunk is given up
		}
		switch frame.Kind {
		case wire.KindData:
			_, err = s.await(func() (reply, error) { return reply{}, load.add(frame.Payload) })
			if err != nil {
				return s.dropRest(err)
			}
		case wire.KindEnd:
			out, err := s.await(func() (reply, error) { return load.commit(frame.Payload) })
			if err != nil {
				return err
			}
			return wire.WriteFrame(s.conn, out.kind, out.payload)
		default:
			told := wire.Fail(wire.FailProtocol, "bulk load",
				"a frame of kind 0x%02x inside a chunk", frame.Kind)
			return errors.Join(errGone, wire.WriteFrame(s.conn, wire.KindError, told.Encode()))
		}
	}
}

// dropRest sends a failure and reads on to the end of the chunk's frames.
func (s *session) dropRest(failed error) error {
	var failure *wire.Failure
	if !errors.As(failed, &failure) {
		return failed
	}
	if err := wire.WriteFrame(s.conn, wire.KindError, failure.Encode()); err != nil {
		return err
	}
	for {
		frame, err := s.receive()
		if err != nil {
			return err
		}
		if frame.Kind == wire.KindEnd {
			return nil
		}
		if frame.Kind != wire.KindData {
			return errGone
		}
	}
}

// takeIn has the engine take in tables that lie in the staging folder.
func (s *session) takeIn(payload []byte) (reply, error) {
	tables, err := wire.DecodeTables(payload)
	if err != nil {
		return reply{}, wire.Malformed("take in", err)
	}
	store, err := s.server.begin("take in")
	if err != nil {
		return reply{}, err
	}
	defer s.server.end()
	taker, takes := store.(engine.Taker)
	if !takes {
		return reply{}, wire.Fail(wire.FailUnsupported, "take in", "this engine takes entries, not tables")
	}
	return reply{kind: wire.KindDone}, taker.TakeIn(tables)
}

// load is a chunk on its way in.
type load struct {
	server *server
	chunk  engine.Chunk
	order  wire.Order
	tally  *wire.Tally
}

func (l *load) begin(server *server) error {
	store, err := server.begin("bulk load")
	if err != nil {
		return err
	}
	loader, takes := store.(engine.Loader)
	if !takes {
		server.end()
		return wire.Fail(wire.FailUnsupported, "bulk load", "this engine takes no chunks of entries")
	}
	if l.chunk, err = loader.Chunk(); err != nil {
		server.end()
		return err
	}
	l.server = server
	return nil
}

func (l *load) giveUp() {
	l.chunk.Abort()
	l.server.end()
}

func (l *load) add(payload []byte) error {
	fields := wire.NewFields(payload)
	entries := uint64(0)
	for fields.Left() > 0 {
		key := fields.Bytes("key", wire.KeyBytesMax)
		value := fields.Bytes("value", wire.ValueBytesMax)
		if err := fields.Err(); err != nil {
			return wire.Malformed("bulk load", err)
		}
		if err := l.order.Next(key); err != nil {
			return wire.Fail(wire.FailInvalidInput, "bulk load", "%v", err)
		}
		if err := l.chunk.Put(key, value); err != nil {
			return err
		}
		entries++
	}
	l.tally.Add(payload, entries)
	return nil
}

func (l *load) commit(payload []byte) (reply, error) {
	end, err := wire.DecodeEnd(payload)
	if err != nil {
		return reply{}, wire.Malformed("bulk commit", err)
	}
	if err := l.tally.Check(end); err != nil {
		return reply{}, wire.Malformed("bulk commit", err)
	}
	return reply{kind: wire.KindDone}, l.chunk.Commit()
}
