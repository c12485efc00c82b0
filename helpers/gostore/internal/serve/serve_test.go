package serve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"gostore/internal/tabletest"
	"gostore/internal/wire"
)

// patience is how long a test waits before it calls an answer missing.
const patience = 30 * time.Second

// pair is two connected sockets.
func pair(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	descriptors, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, descriptor := range descriptors {
		file := os.NewFile(uintptr(descriptor), "pair")
		conn, err := net.FileConn(file)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		conns[i] = conn.(*net.UnixConn)
		_ = conns[i].SetDeadline(time.Now().Add(patience))
	}
	_ = conns[1].SetDeadline(time.Time{})
	t.Cleanup(func() { _ = conns[0].Close() })
	return conns[0], conns[1]
}

// peer is what Transload is to the helper.
type peer struct {
	t       *testing.T
	control *net.UnixConn
	ended   chan error
}

func start(t *testing.T) *peer {
	t.Helper()
	ours, theirs := pair(t)
	p := &peer{t: t, control: ours, ended: make(chan error, 1)}
	go func() {
		_, err := Control(theirs, "test")
		_ = theirs.Close()
		p.ended <- err
	}()
	return p
}

func greeted(t *testing.T) *peer {
	p := start(t)
	p.send(p.control, wire.KindHello, wire.Hello{VersionMin: 1, VersionMax: wire.Version + 1}.Encode())
	p.want(p.control, wire.KindHelloReply)
	return p
}

func (p *peer) send(conn net.Conn, kind wire.Kind, payload []byte) {
	p.t.Helper()
	if err := wire.WriteFrame(conn, kind, payload); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) receive(conn net.Conn) wire.Frame {
	p.t.Helper()
	frame, _, err := wire.ReadFrame(conn, wire.FrameBytesMax, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return frame
}

func (p *peer) want(conn net.Conn, kind wire.Kind) []byte {
	p.t.Helper()
	frame := p.receive(conn)
	for frame.Kind == wire.KindWorking {
		frame = p.receive(conn)
	}
	if frame.Kind == wire.KindError && kind != wire.KindError {
		failure, err := wire.DecodeFailure(frame.Payload)
		p.t.Fatal(failure, err)
	}
	if frame.Kind != kind {
		p.t.Fatalf("a frame of kind %#x, wanted %#x", frame.Kind, kind)
	}
	return frame.Payload
}

func (p *peer) wantFailure(conn net.Conn, kind wire.FailureKind) {
	p.t.Helper()
	failure, err := wire.DecodeFailure(p.want(conn, wire.KindError))
	if err != nil || failure.Kind != kind {
		p.t.Errorf("%v (kind %d), %v; wanted kind %d", failure, failure.Kind, err, kind)
	}
}

func (p *peer) wantEnd(conn net.Conn) {
	p.t.Helper()
	if frame, _, err := wire.ReadFrame(conn, wire.FrameBytesMax, nil); err == nil ||
		errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Errorf("%+v, %v instead of the end", frame, err)
	}
}

// attach opens a socket for requests.
func (p *peer) attach() *net.UnixConn {
	p.t.Helper()
	ours, theirs := pair(p.t)
	p.pass(theirs)
	return ours
}

func (p *peer) pass(theirs *net.UnixConn) {
	p.t.Helper()
	file, err := theirs.File()
	if err != nil {
		p.t.Fatal(err)
	}
	var frame bytes.Buffer
	_ = wire.WriteFrame(&frame, wire.KindAttach, nil)
	_, _, err = p.control.WriteMsgUnix(frame.Bytes(), syscall.UnixRights(int(file.Fd())), nil)
	if err := errors.Join(err, file.Close(), theirs.Close()); err != nil {
		p.t.Fatal(err)
	}
}

// opened is a helper with a store of one engine, open for writing.
func opened(t *testing.T, engine wire.Engine) (*peer, *net.UnixConn, string) {
	t.Helper()
	p := greeted(t)
	conn := p.attach()
	// Not t.TempDir: where a test leaves the store open, the engine may still write when it ends.
	folder, err := os.MkdirTemp("", "gostore")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	path := filepath.Join(folder, "db")
	p.send(conn, wire.KindOpen, wire.Open{
		Engine: engine, Mode: wire.ModeCreate, MemoryBytesMax: 64 << 20, Path: path,
	}.Encode())
	p.want(conn, wire.KindOpened)
	return p, conn, path
}

func (p *peer) snapshot(conn net.Conn) uint32 {
	p.t.Helper()
	p.send(conn, wire.KindSnapshot, nil)
	return binary.BigEndian.Uint32(p.want(conn, wire.KindSnapshotMade))
}

// bulk sends a chunk without its end frame.
func (p *peer) bulk(conn net.Conn, r wire.Range, count, valueBytes int) *wire.Tally {
	p.t.Helper()
	p.send(conn, wire.KindBulk, wire.AppendRange(nil, r))
	tally := wire.NewTally()
	value := bytes.Repeat([]byte{'v'}, valueBytes)
	for i := range count {
		payload := wire.AppendEntry(nil, fmt.Appendf(nil, "k%08d", i), value)
		tally.Add(payload, 1)
		p.send(conn, wire.KindData, payload)
	}
	return tally
}

// load brings in entries by a batch, which every engine takes.
func (p *peer) load(conn net.Conn, count, valueBytes int) {
	p.t.Helper()
	batch := wire.Batch{Sync: true}
	value := bytes.Repeat([]byte{'v'}, valueBytes)
	for i := range count {
		key := fmt.Appendf(nil, "k%08d", i)
		batch.Ops = append(batch.Ops, wire.Op{Op: wire.OpPut, Key: key, Value: value})
	}
	p.send(conn, wire.KindWrite, batch.Encode())
	p.want(conn, wire.KindDone)
}

// bring brings in entries as chunks are: as entries or as a table.
func (p *peer) bring(conn net.Conn, engine wire.Engine, path string, count, valueBytes int) {
	p.t.Helper()
	if engine == wire.EngineGoleveldb {
		tally := p.bulk(conn, wire.Range{}, count, valueBytes)
		p.send(conn, wire.KindEnd, tally.End().Encode())
		p.want(conn, wire.KindDone)
		return
	}
	var flat [][]byte
	for i := range count {
		flat = append(flat, fmt.Appendf(nil, "k%08d", i), bytes.Repeat([]byte{'v'}, valueBytes))
	}
	folder := filepath.Join(path, "transload-bulk")
	table, err := tabletest.Write(folder, "table.sst", engine, flat...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(conn, wire.KindTakeIn, wire.EncodeTables([]wire.Table{table}))
	p.want(conn, wire.KindDone)
}

// wantValues reads the answer to a get of many; nil is an absent key.
func (p *peer) wantValues(conn net.Conn) (values [][]byte) {
	p.t.Helper()
	f := wire.NewFields(p.want(conn, wire.KindValues))
	for range f.U32("count") {
		var value []byte
		if f.Flag("present") {
			value = append([]byte{}, f.Bytes("value", wire.ValueBytesMax)...)
		}
		values = append(values, value)
	}
	if err := f.Finish(); err != nil {
		p.t.Fatal(err)
	}
	return values
}

// drain reads a stream to its end and checks it.
func (p *peer) drain(conn net.Conn) uint64 {
	p.t.Helper()
	tally := wire.NewTally()
	for {
		frame := p.receive(conn)
		switch frame.Kind {
		case wire.KindData:
			fields, entries := wire.NewFields(frame.Payload), uint64(0)
			for fields.Left() > 0 {
				fields.Bytes("key", wire.KeyBytesMax)
				fields.Bytes("value", wire.ValueBytesMax)
				entries++
			}
			if err := fields.Finish(); err != nil {
				p.t.Fatal(err)
			}
			tally.Add(frame.Payload, entries)
		case wire.KindWorking:
		case wire.KindEnd:
			end, err := wire.DecodeEnd(frame.Payload)
			if err := errors.Join(err, tally.Check(end)); err != nil {
				p.t.Error(err)
			}
			return end.Entries
		default:
			p.t.Fatalf("a frame of kind %#x in a stream", frame.Kind)
		}
	}
}

func (p *peer) scanAll(conn net.Conn, snapshot uint32) uint64 {
	p.t.Helper()
	p.send(conn, wire.KindScan, wire.RangeOf{Snapshot: snapshot}.Encode())
	return p.drain(conn)
}

func TestAWholeLifeOverTheSocket(t *testing.T) {
	for _, engine := range []wire.Engine{
		wire.EngineGoleveldb, wire.EnginePebble1, wire.EnginePebble2,
	} {
		t.Run(engine.String(), func(t *testing.T) {
			p, conn, path := opened(t, engine)
			const count, valueBytes = 5000, 1000
			p.bring(conn, engine, path, count, valueBytes)
			p.send(conn, wire.KindWrite, wire.Batch{Sync: true, Ops: []wire.Op{
				{Op: wire.OpPut, Key: []byte("z"), Value: []byte("last")},
				{Op: wire.OpDelete, Key: []byte("k00000000")},
			}}.Encode())
			p.want(conn, wire.KindDone)
			snapshot := p.snapshot(conn)
			if entries := p.scanAll(p.attach(), snapshot); entries != count {
				t.Errorf("%d entries", entries)
			}
			p.send(conn, wire.KindGet, wire.Get{Snapshot: snapshot, Key: []byte("z")}.Encode())
			if value := p.want(conn, wire.KindValue); string(value) != "last" {
				t.Errorf("%q", value)
			}
			p.send(conn, wire.KindGet, wire.Get{Snapshot: snapshot, Key: []byte("none")}.Encode())
			p.want(conn, wire.KindAbsent)
			p.send(conn, wire.KindGetMany, wire.GetMany{Snapshot: snapshot, Keys: [][]byte{
				[]byte("z"), []byte("none"), []byte("z"), []byte("k00000001"),
			}}.Encode())
			values := p.wantValues(conn)
			if len(values) != 4 || string(values[0]) != "last" || values[1] != nil ||
				string(values[2]) != "last" || len(values[3]) != valueBytes {
				t.Errorf("%q", values)
			}
			p.send(conn, wire.KindSplitPoints, wire.SplitPoints{
				Snapshot: snapshot, ChunkBytes: 16 << 10,
			}.Encode())
			if points := p.drain(conn); points < 4 {
				t.Errorf("%d points", points)
			}
			p.send(conn, wire.KindApproximateBytes, wire.RangeOf{Snapshot: snapshot}.Encode())
			if size := binary.BigEndian.Uint64(p.want(conn, wire.KindSize)); size == 0 {
				t.Error("no size")
			}
			p.send(conn, wire.KindRelease, binary.BigEndian.AppendUint32(nil, snapshot))
			p.want(conn, wire.KindDone)
			p.send(conn, wire.KindClose, []byte{1})
			p.want(conn, wire.KindDone)
			_ = p.control.Close()
			if err := <-p.ended; err != nil {
				t.Error(err)
			}

			again := greeted(t)
			conn = again.attach()
			again.send(conn, wire.KindOpen, wire.Open{
				Engine: engine, Mode: wire.ModeReopen, Path: path,
			}.Encode())
			again.want(conn, wire.KindOpened)
			if entries := again.scanAll(conn, again.snapshot(conn)); entries != count {
				t.Errorf("%d entries after the reopen", entries)
			}
			again.send(conn, wire.KindClose, []byte{0})
			again.want(conn, wire.KindDone)
		})
	}
}

func TestAnAnswerOfManyValuesEndsWhereAFrameDoesAndHasOneAtLeast(t *testing.T) {
	p, conn, _ := opened(t, wire.EnginePebble1)
	batch := wire.Batch{}
	for i, valueBytes := range []int{1000, 2 << 20, 400 << 10, 400 << 10, 400 << 10} {
		batch.Ops = append(batch.Ops, wire.Op{
			Op: wire.OpPut, Key: []byte{byte(i)}, Value: bytes.Repeat([]byte{'v'}, valueBytes),
		})
	}
	p.send(conn, wire.KindWrite, batch.Encode())
	p.want(conn, wire.KindDone)
	keys := [][]byte{{0}, {9}, {1}, {2}, {9}, {3}, {4}, {9}}
	request := wire.GetMany{Snapshot: p.snapshot(conn), Keys: keys}
	var answered []int
	for len(request.Keys) > 0 {
		p.send(conn, wire.KindGetMany, request.Encode())
		count := len(p.wantValues(conn))
		answered = append(answered, count)
		request.Keys = request.Keys[count:]
	}
	if want := []int{2, 1, 3, 2}; !slices.Equal(answered, want) {
		t.Errorf("answers of %v values, wanted %v", answered, want)
	}
	p.send(conn, wire.KindGetMany, wire.GetMany{Snapshot: 99, Keys: keys}.Encode())
	p.wantFailure(conn, wire.FailInvalidInput)
	p.send(conn, wire.KindGetMany, wire.GetMany{Snapshot: 1}.Encode())
	p.wantFailure(conn, wire.FailProtocol)
}

func TestAVersionMismatchIsToldAndEndsTheHelper(t *testing.T) {
	for _, hello := range []wire.Hello{
		{VersionMin: wire.Version + 1, VersionMax: wire.Version + 7},
		{VersionMin: wire.Version - 1, VersionMax: wire.Version - 1},
		{VersionMin: 0, VersionMax: 0},
	} {
		p := start(t)
		p.send(p.control, wire.KindHello, hello.Encode())
		p.wantFailure(p.control, wire.FailVersionMismatch)
		p.wantEnd(p.control)
		if err := <-p.ended; err == nil {
			t.Error("ended without an error")
		}
	}
}

func TestAStrangerOnTheControlSocketIsRefused(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"another protocol":   []byte("GET / HTTP/1.1\r\n\r\n"),
		"an oversized frame": {0xff, 0xff, 0xff, 0xff, byte(wire.KindHello)},
		"another kind":       {0, 0, 0, 0, byte(wire.KindClose)},
		"another magic":      append([]byte{0, 0, 0, 12, 1}, "HELLO!!!\x00\x01\x00\x01"...),
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			if _, err := p.control.Write(bytes); err != nil {
				t.Fatal(err)
			}
			p.wantFailure(p.control, wire.FailProtocol)
			if err := <-p.ended; err == nil {
				t.Error("ended without an error")
			}
		})
	}
	p := greeted(t)
	p.send(p.control, wire.KindAttach, nil) // no socket with it
	p.wantFailure(p.control, wire.FailProtocol)
}

func TestTheEndOfTheControlSocketIsTheEnd(t *testing.T) {
	p := start(t)
	_ = p.control.Close()
	if err := <-p.ended; err != nil {
		t.Error(err)
	}
	p, conn, _ := opened(t, wire.EnginePebble1)
	p.bulk(conn, wire.Range{}, 10, 10)
	_ = p.control.Close()
	if err := <-p.ended; err != nil {
		t.Error(err)
	}
}

func TestABulkStreamThatLiesIsNotCommitted(t *testing.T) {
	p, conn, _ := opened(t, wire.EngineGoleveldb)
	for name, spoil := range map[string]func(*wire.End){
		"a count":  func(e *wire.End) { e.Entries++ },
		"a size":   func(e *wire.End) { e.PayloadBytes-- },
		"a digest": func(e *wire.End) { e.Digest[0] ^= 1 },
	} {
		tally := p.bulk(conn, wire.Range{}, 100, 10)
		end := tally.End()
		spoil(&end)
		p.send(conn, wire.KindEnd, end.Encode())
		p.wantFailure(conn, wire.FailProtocol)
		if entries := p.scanAll(conn, p.snapshot(conn)); entries != 0 {
			t.Errorf("%s: %d entries", name, entries)
		}
	}
}

func TestABadChunkIsRefusedAndTheSocketGoesOn(t *testing.T) {
	p, conn, _ := opened(t, wire.EngineGoleveldb)
	p.send(conn, wire.KindBulk, wire.AppendRange(nil, wire.Range{}))
	entry := wire.AppendEntry(nil, []byte("k"), make([]byte, 1<<20))
	for range 20 { // more than any socket buffers: the sender is never stuck
		p.send(conn, wire.KindData, entry)
	}
	p.send(conn, wire.KindEnd, wire.NewTally().End().Encode())
	p.wantFailure(conn, wire.FailInvalidInput)
	p.load(conn, 10, 10)
	if entries := p.scanAll(conn, p.snapshot(conn)); entries != 10 {
		t.Errorf("%d entries", entries)
	}
}

func TestAChunkGoesOnlyToAnEngineThatTakesItsKind(t *testing.T) {
	p, conn, _ := opened(t, wire.EnginePebble2)
	tally := p.bulk(conn, wire.Range{}, 3, 10)
	p.send(conn, wire.KindEnd, tally.End().Encode())
	p.wantFailure(conn, wire.FailUnsupported)
	p.send(conn, wire.KindTakeIn, wire.EncodeTables([]wire.Table{{Name: "none.sst", FileBytes: 1}}))
	p.wantFailure(conn, wire.FailNotFound)
	p.send(conn, wire.KindTakeIn, []byte{0, 0, 0, 1, 0, 0, 0, 1})
	p.wantFailure(conn, wire.FailProtocol)
	p, conn, _ = opened(t, wire.EngineGoleveldb)
	p.send(conn, wire.KindTakeIn, wire.EncodeTables(nil))
	p.wantFailure(conn, wire.FailUnsupported)
}

func TestASenderThatGoesLeavesNothing(t *testing.T) {
	p, conn, path := opened(t, wire.EngineGoleveldb)
	gone := p.attach()
	p.bulk(gone, wire.Range{}, 100, 100)
	_ = gone.Close()
	p.send(conn, wire.KindClose, []byte{1}) // waits for the chunk to be given up
	p.want(conn, wire.KindDone)
	if left, _ := filepath.Glob(filepath.Join(path, "*bulk*")); len(left) != 0 {
		t.Error(left)
	}
}

func TestCloseCutsOffThoseWhoStillRead(t *testing.T) {
	p, conn, _ := opened(t, wire.EnginePebble1)
	p.load(conn, 20, 1<<20)
	slow := p.attach()
	p.send(slow, wire.KindScan, wire.RangeOf{Snapshot: p.snapshot(conn)}.Encode())
	p.want(slow, wire.KindData) // and no more: the helper is stuck behind the socket's buffer
	p.send(conn, wire.KindClose, []byte{0})
	p.want(conn, wire.KindDone)
	for {
		frame, _, err := wire.ReadFrame(slow, wire.FrameBytesMax, nil)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the reader hangs")
			}
			break
		}
		if frame.Kind == wire.KindEnd {
			t.Fatal("a scan that was cut off has an end frame")
		}
	}
	p.send(conn, wire.KindSnapshot, nil)
	p.wantFailure(conn, wire.FailInvalidInput)
}

func TestAReaderThatGoesEndsItsScan(t *testing.T) {
	p, conn, _ := opened(t, wire.EngineGoleveldb)
	p.load(conn, 20, 1<<20)
	snapshot := p.snapshot(conn)
	for range 10 {
		reader := p.attach()
		p.send(reader, wire.KindScan, wire.RangeOf{Snapshot: snapshot}.Encode())
		p.want(reader, wire.KindData)
		_ = reader.Close()
	}
	p.send(conn, wire.KindClose, []byte{0}) // waits for every scan
	p.want(conn, wire.KindDone)
}

func TestRequestsOutOfPlaceAreRefused(t *testing.T) {
	p := greeted(t)
	conn := p.attach()
	for _, kind := range []wire.Kind{wire.KindSnapshot, wire.KindHello, wire.KindDone, 0x7f} {
		p.send(conn, kind, nil)
		want := wire.FailProtocol
		if kind == wire.KindSnapshot {
			want = wire.FailInvalidInput
		}
		p.wantFailure(conn, want)
	}
	p, conn, path := opened(t, wire.EnginePebble1)
	p.send(conn, wire.KindOpen, wire.Open{Engine: wire.EnginePebble1, Mode: wire.ModeReopen, Path: path}.Encode())
	p.wantFailure(conn, wire.FailInvalidInput)
	p.send(conn, wire.KindGet, wire.Get{Snapshot: 99}.Encode())
	p.wantFailure(conn, wire.FailInvalidInput)
	p.send(conn, wire.KindWrite, []byte{0, 0, 0, 0, 9})
	p.wantFailure(conn, wire.FailProtocol)
	if _, err := conn.Write([]byte{0x7f, 0xff, 0xff, 0xff, byte(wire.KindWrite)}); err != nil {
		t.Fatal(err)
	}
	p.wantFailure(conn, wire.FailProtocol)
	p.wantEnd(conn)
}

func TestTooManySocketsAreToldSo(t *testing.T) {
	p := greeted(t)
	for range connectionsMax {
		p.attach()
	}
	last := p.attach()
	p.wantFailure(last, wire.FailLimit)
	p.wantEnd(last)
}

func TestAPanicIsAnErrorAndTheStoreIsGivenUp(t *testing.T) {
	s := newServer()
	ours, theirs := pair(t)
	session := &session{server: s, conn: theirs}
	_, err := session.await(func() (reply, error) { panic("a fault of the engine") })
	var failure *wire.Failure
	if !errors.As(err, &failure) || failure.Kind != wire.FailInternal || !failure.EffectUnknown {
		t.Errorf("%v", err)
	}
	if _, err := s.begin("get"); !errors.As(err, &failure) || failure.Kind != wire.FailInternal {
		t.Errorf("after a panic: %v", err)
	}
	_ = theirs.Close()
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}
