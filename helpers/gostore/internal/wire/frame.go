package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// Kind tells what a frame's payload is.
type Kind uint8

// The kinds of frames. Requests are below 0x80, answers above; Data and End go both ways.
const (
	KindHello            Kind = 0x01
	KindAttach           Kind = 0x02
	KindOpen             Kind = 0x10
	KindSnapshot         Kind = 0x11
	KindRelease          Kind = 0x12
	KindGet              Kind = 0x13
	KindScan             Kind = 0x14
	KindSplitPoints      Kind = 0x15
	KindApproximateBytes Kind = 0x16
	KindWrite            Kind = 0x17
	KindBulk             Kind = 0x18
	KindClose            Kind = 0x19
	KindTakeIn           Kind = 0x1a
	KindGetMany          Kind = 0x1b
	KindHelloReply       Kind = 0x81
	KindOpened           Kind = 0x82
	KindSnapshotMade     Kind = 0x83
	KindValue            Kind = 0x84
	KindAbsent           Kind = 0x85
	KindSize             Kind = 0x86
	KindDone             Kind = 0x87
	KindValues           Kind = 0x88
	KindData             Kind = 0x90
	KindEnd              Kind = 0x91
	KindWorking          Kind = 0xa0
	KindError            Kind = 0xff
)

// HeaderBytes is the length of a frame's header: u32 BE payload length, u8 kind. The header is
// the same in every version of the protocol.
const HeaderBytes = 5

// Frame is one message.
type Frame struct {
	Kind    Kind
	Payload []byte
}

// ErrFrameTooLong is a length above the limit of the socket; nothing was allocated for it.
var ErrFrameTooLong = errors.New("frame longer than the limit")

// WriteFrame sends one frame.
func WriteFrame(w io.Writer, kind Kind, payload []byte) error {
	if len(payload) > FrameBytesMax {
		return fmt.Errorf("%w: %d bytes of %d", ErrFrameTooLong, len(payload), FrameBytesMax)
	}
	small := make([]byte, 0, HeaderBytes+min(len(payload), smallFrameBytes))
	small = binary.BigEndian.AppendUint32(small, uint32(len(payload)))
	small = append(small, byte(kind))
	if len(payload) <= smallFrameBytes {
		small, payload = append(small, payload...), nil
	}
	if len(payload) == 0 {
		_, err := w.Write(small)
		return err
	}
	// One system call on a socket, and one wakeup of whoever reads it.
	parts := net.Buffers{small, payload}
	_, err := parts.WriteTo(w)
	return err
}

// smallFrameBytes is up to where header and payload are put together.
const smallFrameBytes = 4096

// ParseHeader splits a header and checks its length against limit.
func ParseHeader(header [HeaderBytes]byte, limit int) (Kind, int, error) {
	length := binary.BigEndian.Uint32(header[:4])
	if uint64(length) > uint64(limit) {
		return 0, 0, fmt.Errorf("%w: %d bytes of %d", ErrFrameTooLong, length, limit)
	}
	return Kind(header[4]), int(length), nil
}

// ReadFrame reads one frame into buffer (which may grow). io.EOF means that the peer ended
// between two frames; an end inside a frame is io.ErrUnexpectedEOF.
func ReadFrame(r io.Reader, limit int, buffer []byte) (Frame, []byte, error) {
	var header [HeaderBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return Frame{}, buffer, err
	}
	kind, length, err := ParseHeader(header, limit)
	if err != nil {
		return Frame{}, buffer, err
	}
	buffer = buffer[:0]
	for len(buffer) < length {
		step := min(length-len(buffer), readStepBytes)
		start := len(buffer)
		if cap(buffer) < start+step {
			grown := make([]byte, start, min(length, max(2*cap(buffer), start+step)))
			copy(grown, buffer)
			buffer = grown
		}
		buffer = buffer[:start+step]
		if _, err := io.ReadFull(r, buffer[start:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return Frame{}, buffer, err
		}
	}
	return Frame{Kind: kind, Payload: buffer}, buffer, nil
}
