package serve

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"gostore/internal/engine"
	"gostore/internal/wire"
)

// workingInterval is how often a long operation gives a sign of life.
const workingInterval = 5 * time.Second

// receiveBufferBytes holds small frames; larger ones are read around it.
const receiveBufferBytes = 64 << 10

// session answers the requests of one socket, one after another.
type session struct {
	server *server
	conn   net.Conn
	in     *bufio.Reader
	buffer []byte
}

func (s *session) run() {
	s.in = bufio.NewReaderSize(s.conn, receiveBufferBytes)
	for {
		frame, err := s.receive()
		if err != nil {
			return
		}
		if err := s.answer(frame); err != nil {
			return
		}
		if cap(s.buffer) > 4*wire.DataFrameBytesTarget {
			s.buffer = nil // one large frame must not hold its memory for ever
		}
	}
}

// receive reads the next frame. Its error means that the peer has gone, broke off inside a frame
// or announced one that is too long; it is told of the latter, and the socket is of no use then.
func (s *session) receive() (wire.Frame, error) {
	frame, buffer, err := wire.ReadFrame(s.in, wire.FrameBytesMax, s.buffer)
	s.buffer = buffer
	if errors.Is(err, wire.ErrFrameTooLong) {
		told := wire.Malformed("receive", err)
		return frame, errors.Join(errGone, wire.WriteFrame(s.conn, wire.KindError, told.Encode()))
	}
	if err != nil {
		return frame, errGone
	}
	return frame, nil
}

// errGone ends a session.
var errGone = errors.New("the peer has gone")

// reply is what an operation answers.
type reply struct {
	kind    wire.Kind
	payload []byte
	// release is called once the payload is sent; nil where nobody wants its memory back.
	release func()
}

// answer handles one request. Its error means that the socket is of no use any more; failures of
// the request are sent.
func (s *session) answer(frame wire.Frame) error {
	var err error
	switch frame.Kind {
	case wire.KindScan:
		err = s.scan(frame.Payload)
	case wire.KindSplitPoints:
		err = s.splitPoints(frame.Payload)
	case wire.KindBulk:
		err = s.bulk(frame.Payload)
	default:
		var out reply
		out, err = s.await(func() (reply, error) { return s.single(frame) })
		if err == nil {
			err = wire.WriteFrame(s.conn, out.kind, out.payload)
			if out.release != nil {
				out.release()
			}
			return err
		}
	}
	var failure *wire.Failure
	if errors.As(err, &failure) {
		return wire.WriteFrame(s.conn, wire.KindError, failure.Encode())
	}
	return err
}

// single answers requests of one frame by one frame.
func (s *session) single(frame wire.Frame) (reply, error) {
	switch frame.Kind {
	case wire.KindOpen:
		return s.open(frame.Payload)
	case wire.KindClose:
		check, err := wire.DecodeCheck(frame.Payload)
		if err != nil {
			return reply{}, wire.Malformed("close", err)
		}
		return reply{kind: wire.KindDone}, s.server.close(s.conn, check)
	case wire.KindSnapshot:
		return s.snapshot(frame.Payload)
	case wire.KindRelease:
		id, err := wire.DecodeSnapshot(frame.Payload)
		if err != nil {
			return reply{}, wire.Malformed("release", err)
		}
		if _, err := s.server.begin("release"); err != nil {
			return reply{}, err
		}
		defer s.server.end()
		return reply{kind: wire.KindDone}, s.server.release(id)
	case wire.KindGet:
		return s.get(frame.Payload)
	case wire.KindGetMany:
		return s.getMany(frame.Payload)
	case wire.KindApproximateBytes:
		return s.approximateBytes(frame.Payload)
	case wire.KindWrite:
		return s.write(frame.Payload)
	case wire.KindTakeIn:
		return s.takeIn(frame.Payload)
	}
	return reply{}, wire.Fail(wire.FailProtocol, "receive", "a frame of kind 0x%02x", frame.Kind)
}

func (s *session) open(payload []byte) (reply, error) {
	request, err := wire.DecodeOpen(payload)
	if err != nil {
		return reply{}, wire.Malformed("open", err)
	}
	store, err := s.server.open(request)
	if err != nil {
		return reply{}, err
	}
	format, version := store.Format()
	return reply{kind: wire.KindOpened, payload: wire.Opened{Format: format, Version: version}.Encode()}, nil
}

func (s *session) snapshot(payload []byte) (reply, error) {
	if err := wire.DecodeEmpty(payload); err != nil {
		return reply{}, wire.Malformed("snapshot", err)
	}
	store, err := s.server.begin("snapshot")
	if err != nil {
		return reply{}, err
	}
	defer s.server.end()
	view, err := store.Snapshot()
	if err != nil {
		return reply{}, err
	}
	id, err := s.server.keep(view)
	return reply{kind: wire.KindSnapshotMade, payload: binary.BigEndian.AppendUint32(nil, id)}, err
}

func (s *session) get(payload []byte) (out reply, err error) {
	request, err := wire.DecodeGet(payload)
	if err != nil {
		return reply{}, wire.Malformed("get", err)
	}
	err = s.withView("get", request.Snapshot, func(view engine.View) error {
		value, found, err := valueOf(view, nil, request.Key)
		out = reply{kind: wire.KindAbsent}
		if found {
			out = reply{kind: wire.KindValue, payload: value}
		}
		return err
	})
	return out, err
}

// getMany answers for as many of the first keys as a frame is to hold.
func (s *session) getMany(payload []byte) (out reply, err error) {
	request, err := wire.DecodeGetMany(payload)
	if err != nil {
		return reply{}, wire.Malformed("get many", err)
	}
	held := manyPool.Get().(*many)
	held.values.Reset()
	err = s.withView("get many", request.Snapshot, func(view engine.View) error {
		for _, key := range request.Keys {
			value, found, err := valueOf(view, held.scratch, key)
			if err != nil {
				return err
			}
			if cap(value) > cap(held.scratch) && cap(value) <= wire.DataFrameBytesTarget {
				held.scratch = value
			}
			if !held.values.Fits(value) {
				break
			}
			held.values.Add(value, found)
		}
		return nil
	})
	answer := held.values.Encode()
	release := func() {
		// One large value must not hold its memory for ever.
		if cap(answer) <= 2*wire.DataFrameBytesTarget {
			manyPool.Put(held)
		}
	}
	return reply{kind: wire.KindValues, payload: answer, release: release}, err
}

// many is the memory of an answer to getMany: the collector would else be busy with little but it.
type many struct {
	values  *wire.Values
	scratch []byte
}

var manyPool = sync.Pool{New: func() any { return &many{values: wire.NewValues()} }}

func valueOf(view engine.View, into, key []byte) ([]byte, bool, error) {
	value, found, err := view.Get(into, key)
	if err == nil && len(value) > wire.ValueBytesMax {
		err = wire.Fail(wire.FailLimit, "get", "the value of key %s has %d bytes, the limit is %d",
			wire.Shown(key), len(value), wire.ValueBytesMax)
	}
	return value, found, err
}

func (s *session) approximateBytes(payload []byte) (out reply, err error) {
	request, err := wire.DecodeRangeOf(payload)
	if err != nil {
		return reply{}, wire.Malformed("approximate bytes", err)
	}
	err = s.withView("approximate bytes", request.Snapshot, func(view engine.View) error {
		size, err := engine.ApproximateBytes(view, request.Range)
		out = reply{kind: wire.KindSize, payload: binary.BigEndian.AppendUint64(nil, size)}
		return err
	})
	return out, err
}

func (s *session) write(payload []byte) (reply, error) {
	batch, err := wire.DecodeBatch(payload)
	if err != nil {
		return reply{}, wire.Malformed("write", err)
	}
	store, err := s.server.begin("write")
	if err != nil {
		return reply{}, err
	}
	defer s.server.end()
	if err := store.Write(batch.Ops, batch.Sync); err != nil {
		failure := wire.Malformed("write", err)
		failure.EffectUnknown = true
		return reply{}, failure
	}
	return reply{kind: wire.KindDone}, nil
}

// withView runs an operation on a snapshot of the open store.
func (s *session) withView(operation string, id uint32, do func(engine.View) error) error {
	if _, err := s.server.begin(operation); err != nil {
		return err
	}
	defer s.server.end()
	held, err := s.server.use(operation, id)
	if err != nil {
		return err
	}
	err = do(held.view)
	return errors.Join(err, s.server.done(id, held))
}

// outcome is what an operation in its goroutine came to.
type outcome struct {
	reply reply
	err   error
}

// await runs an operation and meanwhile gives signs of life. It comes back without the operation
// when the engine is in trouble and may never finish.
func (s *session) await(operation func() (reply, error)) (reply, error) {
	finished := make(chan outcome, 1)
	go func() {
		var out outcome
		defer func() {
			if panicked := recover(); panicked != nil {
				out = outcome{err: s.panicked(panicked)}
			}
			finished <- out
		}()
		out.reply, out.err = operation()
	}()
	return waitFor(s, finished)
}

func waitFor(s *session, finished <-chan outcome) (reply, error) {
	ticker := time.NewTicker(workingInterval)
	defer ticker.Stop()
	for {
		select {
		case out := <-finished:
			return out.reply, out.err
		case <-s.server.trouble():
			s.buffer = nil // the operation may still read the frame
			return reply{}, s.server.troubled()
		case <-ticker.C:
			if err := wire.WriteFrame(s.conn, wire.KindWorking, nil); err != nil {
				// The peer has gone. The operation is waited for all the same: its frame's bytes
				// are in use.
				out := <-finished
				return out.reply, errors.Join(out.err, err)
			}
		}
	}
}

// panicked breaks the store down and says where the panic came from.
func (s *session) panicked(value any) error {
	s.server.breakDown()
	fmt.Fprintf(os.Stderr, "panic: %v\n%s", value, debug.Stack())
	failure := wire.Fail(wire.FailInternal, "engine", "panic: %v", value)
	failure.EffectUnknown = true
	return failure
}

// trouble is the store's, nil without a store.
func (s *server) trouble() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store == nil {
		return nil
	}
	return s.store.Trouble()
}

func (s *server) troubled() error {
	s.breakDown()
	return s.store.TroubleErr()
}
