package serve

import (
	"errors"
	"time"

	"gostore/internal/engine"
	"gostore/internal/wire"
)

// scanBuffers is how many data frames of a scan exist at once: one being filled, one being sent.
const scanBuffers = 2

// filled is a data frame ready to be sent, or the end of the walk.
type filled struct {
	payload []byte
	entries uint64
	ended   bool
	err     error
}

// scan answers with data frames and an end frame, or a failure in its place.
func (s *session) scan(payload []byte) error {
	request, err := wire.DecodeRangeOf(payload)
	if err != nil {
		return wire.Malformed("scan", err)
	}
	walked := request.Range.Clone() // the frame's buffer is used again
	return s.stream(func(emit func(key, value []byte) error) error {
		return s.withView("scan", request.Snapshot, func(view engine.View) error {
			return walk(view, walked, emit)
		})
	})
}

// splitPoints answers like a scan; the entries' keys are the points and their values are empty.
func (s *session) splitPoints(payload []byte) error {
	request, err := wire.DecodeSplitPoints(payload)
	if err != nil {
		return wire.Malformed("split points", err)
	}
	divided := request.Range.Clone()
	return s.stream(func(emit func(key, value []byte) error) error {
		return s.withView("split points", request.Snapshot, func(view engine.View) error {
			points, err := engine.SplitPoints(view, divided, request.ChunkBytes)
			for _, point := range points {
				err = errors.Join(err, emit(point, nil))
			}
			return err
		})
	})
}

func walk(view engine.View, r wire.Range, emit func(key, value []byte) error) (err error) {
	if r.Empty() {
		return nil
	}
	iter, err := view.Iter(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	order := wire.Order{Range: r}
	for more := iter.First(); more; more = iter.Next() {
		value, err := iter.Value()
		if err != nil {
			return err
		}
		if err := order.Next(iter.Key()); err != nil {
			return wire.Fail(wire.FailCorrupt, "scan", "the engine gave a %v", err)
		}
		if err := emit(iter.Key(), value); err != nil {
			return err
		}
	}
	return iter.Err()
}

// errStopped tells a walk that nobody reads it any more.
var errStopped = errors.New("the reader has gone")

// stream runs produce in a goroutine and sends what it emits. The walk goes on while a frame is
// on its way, but never more than scanBuffers frames ahead of the reader.
func (s *session) stream(produce func(emit func(key, value []byte) error) error) error {
	frames := make(chan filled)
	free := make(chan []byte, scanBuffers)
	for range scanBuffers {
		free <- nil
	}
	stop := make(chan struct{})
	go s.fill(produce, frames, free, stop)
	err := s.send(frames, free)
	close(stop)
	return err
}

func (s *session) fill(
	produce func(emit func(key, value []byte) error) error,
	frames chan<- filled, free <-chan []byte, stop <-chan struct{},
) {
	var now filled
	give := func() error {
		select {
		case frames <- now:
			now = filled{}
			return nil
		case <-stop:
			return errStopped
		}
	}
	defer func() {
		if panicked := recover(); panicked != nil {
			now = filled{ended: true, err: s.panicked(panicked)}
			_ = give()
		}
	}()
	err := produce(func(key, value []byte) error {
		if len(key) > wire.KeyBytesMax || len(value) > wire.ValueBytesMax {
			return wire.Fail(wire.FailLimit, "scan",
				"key %s and its value have %d and %d bytes, the limits are %d and %d",
				wire.Shown(key), len(key), len(value), wire.KeyBytesMax, wire.ValueBytesMax)
		}
		if now.entries > 0 && len(now.payload)+8+len(key)+len(value) > wire.DataFrameBytesTarget {
			if err := give(); err != nil {
				return err
			}
		}
		if now.payload == nil {
			select {
			case now.payload = <-free:
			case <-stop:
				return errStopped
			}
			if now.payload == nil {
				now.payload = make([]byte, 0, wire.DataFrameBytesTarget)
			}
		}
		now.payload = wire.AppendEntry(now.payload, key, value)
		now.entries++
		return nil
	})
	if now.entries > 0 && err == nil {
		err = give()
	}
	now = filled{ended: true, err: err}
	_ = give() // nobody listens when the reader has gone
}

func (s *session) send(frames <-chan filled, free chan<- []byte) error {
	ticker := time.NewTicker(workingInterval)
	defer ticker.Stop()
	tally := wire.NewTally()
	for {
		select {
		case frame := <-frames:
			if frame.err != nil {
				return frame.err
			}
			if frame.ended {
				return wire.WriteFrame(s.conn, wire.KindEnd, tally.End().Encode())
			}
			tally.Add(frame.payload, frame.entries)
			if err := wire.WriteFrame(s.conn, wire.KindData, frame.payload); err != nil {
				return err
			}
			if cap(frame.payload) > 4*wire.DataFrameBytesTarget {
				frame.payload = nil // one large entry must not hold its memory for ever
			}
			free <- frame.payload[:0]
		case <-s.server.trouble():
			return s.server.troubled()
		case <-ticker.C:
			if err := wire.WriteFrame(s.conn, wire.KindWorking, nil); err != nil {
				return err
			}
		}
	}
}
