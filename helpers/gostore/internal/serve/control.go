// Package serve answers the protocol: hello and attached sockets on the control socket, requests
// on the attached ones.
//
// Invariant: the end of the control socket is the end of the process, whatever is under way, so
// that no helper outlives the transload that started it.
package serve

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"gostore/internal/engine"
	"gostore/internal/wire"
)

const (
	// helloTimeout is how long a peer may take to say hello.
	helloTimeout = 10 * time.Second
	// connectionsMax bounds the sockets that are open at once; each takes a few buffers of
	// wire.DataFrameBytesTarget.
	connectionsMax = 256
)

// Control serves the control socket until its end. closed tells whether the store was closed, or
// never opened.
func Control(control *net.UnixConn, version string) (closed bool, err error) {
	incoming := &descriptors{conn: control}
	defer incoming.drop()
	_ = control.SetReadDeadline(time.Now().Add(helloTimeout))
	frame, _, err := wire.ReadFrame(incoming, wire.ControlFrameBytesMax, nil)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	if err != nil {
		return true, refuse(control, wire.Malformed("hello", err))
	}
	_ = control.SetReadDeadline(time.Time{})
	if err := answerHello(control, frame, version); err != nil {
		return true, err
	}
	server := newServer()
	for {
		frame, _, err := wire.ReadFrame(incoming, wire.ControlFrameBytesMax, nil)
		if errors.Is(err, io.EOF) {
			return server.isClosed(), nil
		}
		if err != nil {
			return server.isClosed(), refuse(control, wire.Malformed("control", err))
		}
		if err := attach(server, incoming, frame); err != nil {
			return server.isClosed(), refuse(control, err)
		}
	}
}

func answerHello(control *net.UnixConn, frame wire.Frame, version string) error {
	if frame.Kind != wire.KindHello {
		return refuse(control, wire.Fail(wire.FailProtocol, "hello",
			"the first frame is of kind 0x%02x", frame.Kind))
	}
	hello, err := wire.DecodeHello(frame.Payload)
	if err != nil {
		return refuse(control, wire.Malformed("hello", err))
	}
	if hello.VersionMin > wire.Version || hello.VersionMax < wire.Version {
		return refuse(control, wire.Fail(wire.FailVersionMismatch, "hello",
			"this helper (%s) speaks protocol version %d; asked for were %d to %d",
			version, wire.Version, hello.VersionMin, hello.VersionMax))
	}
	reply := wire.HelloReply{Version: wire.Version, Build: version, Engines: engine.Info()}
	return wire.WriteFrame(control, wire.KindHelloReply, reply.Encode())
}

// refuse sends a failure and gives it back.
func refuse(to io.Writer, failure error) error {
	told := wire.Malformed("control", failure)
	return errors.Join(told, wire.WriteFrame(to, wire.KindError, told.Encode()))
}

func attach(server *server, incoming *descriptors, frame wire.Frame) error {
	if frame.Kind != wire.KindAttach {
		return wire.Fail(wire.FailProtocol, "control", "a frame of kind 0x%02x", frame.Kind)
	}
	if err := wire.DecodeEmpty(frame.Payload); err != nil {
		return err
	}
	file := incoming.next()
	if file == nil {
		return wire.Fail(wire.FailProtocol, "attach", "no socket came with the frame")
	}
	conn, err := net.FileConn(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return wire.Fail(wire.FailProtocol, "attach", "%v", err)
	}
	server.serve(conn)
	return nil
}

// descriptors reads the control socket and keeps the file descriptors that come with the bytes.
type descriptors struct {
	conn  *net.UnixConn
	files []*os.File
}

// descriptorsMax bounds those that came and weren't asked for by a frame.
const descriptorsMax = 16

func (d *descriptors) Read(to []byte) (int, error) {
	ancillary := make([]byte, syscall.CmsgSpace(descriptorsMax*4))
	n, ancillaryBytes, flags, _, err := d.conn.ReadMsgUnix(to, ancillary)
	if err != nil {
		return n, err
	}
	if flags&syscall.MSG_CTRUNC != 0 {
		return n, wire.Fail(wire.FailLimit, "attach", "more than %d sockets at once", descriptorsMax)
	}
	if ancillaryBytes > 0 {
		if err := d.keep(ancillary[:ancillaryBytes]); err != nil {
			return n, err
		}
	}
	if n == 0 && len(to) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (d *descriptors) keep(ancillary []byte) error {
	messages, err := syscall.ParseSocketControlMessage(ancillary)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	for i := range messages {
		rights, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return fmt.Errorf("attach: %w", err)
		}
		for _, descriptor := range rights {
			syscall.CloseOnExec(descriptor)
			d.files = append(d.files, os.NewFile(uintptr(descriptor), "attached socket"))
		}
	}
	if len(d.files) > descriptorsMax {
		return wire.Fail(wire.FailLimit, "attach", "more than %d sockets at once", descriptorsMax)
	}
	return nil
}

func (d *descriptors) next() *os.File {
	if len(d.files) == 0 {
		return nil
	}
	file := d.files[0]
	d.files = d.files[1:]
	return file
}

func (d *descriptors) drop() {
	for _, file := range d.files {
		_ = file.Close()
	}
}

// limitMemory makes the garbage collector keep to the limit of the plan as well as it can.
func limitMemory(memoryBytesMax uint64) {
	const floorBytes = 64 << 20
	debug.SetMemoryLimit(int64(min(max(memoryBytesMax, floorBytes), 1<<62)))
}
