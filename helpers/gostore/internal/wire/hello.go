package wire

import (
	"encoding/binary"
	"fmt"
)

// Engine is the number of an engine in the protocol.
type Engine uint8

// The engines.
const (
	EngineGoleveldb Engine = 1
	EnginePebble1   Engine = 2
	EnginePebble2   Engine = 3
	EngineBbolt     Engine = 4
	EngineBadgerdb  Engine = 5
)

func (e Engine) String() string {
	switch e {
	case EngineGoleveldb:
		return "goleveldb"
	case EnginePebble1:
		return "pebble1"
	case EnginePebble2:
		return "pebble2"
	case EngineBbolt:
		return "bbolt"
	case EngineBadgerdb:
		return "badgerdb"
	}
	return fmt.Sprintf("engine %d", uint8(e))
}

// What an engine can do here: bits of EngineInfo.Capabilities.
const (
	CapReadOnly uint32 = 1 << iota // opened without a write to the directory's data
	CapWrite                       // batches
	CapBulk                        // sorted chunks of entries
	CapTables                      // sorted tables, made elsewhere
)

// Hello is the first frame on the control socket.
type Hello struct {
	VersionMin, VersionMax uint16
}

// Encode gives magic, u16 version_min, u16 version_max.
func (h Hello) Encode() []byte {
	out := []byte(Magic)
	out = binary.BigEndian.AppendUint16(out, h.VersionMin)
	return binary.BigEndian.AppendUint16(out, h.VersionMax)
}

// DecodeHello reads what Encode gives. Later versions may append fields; they are ignored, so
// that a mismatch is answered by the versions and not by the length.
func DecodeHello(payload []byte) (Hello, error) {
	f := NewFields(payload)
	magic := f.Fixed("magic", len(Magic))
	h := Hello{VersionMin: f.U16("version_min"), VersionMax: f.U16("version_max")}
	if err := f.Err(); err != nil {
		return h, err
	}
	if string(magic) != Magic {
		return h, fmt.Errorf("%w: hello begins with %q, not %q", ErrMalformed, magic, Magic)
	}
	return h, nil
}

// EngineInfo is what a helper says about one engine.
type EngineInfo struct {
	Engine       Engine
	Capabilities uint32
	Module       string // Go module and version
	FormatMin    uint32 // oldest format version opened; 0 where the engine has none
	FormatMax    uint32 // newest format version opened
	FormatNew    uint32 // format version of new stores
}

// HelloReply is the answer to a Hello.
type HelloReply struct {
	Version uint16
	Build   string // how the helper was built, for people
	Engines []EngineInfo
}

// Encode gives u16 version, bytes build, u8 engine count, and for each engine u8 engine,
// u32 capabilities, bytes module, u32 format_min, u32 format_max, u32 format_new.
func (h HelloReply) Encode() []byte {
	out := binary.BigEndian.AppendUint16(nil, h.Version)
	out = AppendBytes(out, []byte(h.Build))
	out = append(out, byte(len(h.Engines)))
	for _, e := range h.Engines {
		out = append(out, byte(e.Engine))
		out = binary.BigEndian.AppendUint32(out, e.Capabilities)
		out = AppendBytes(out, []byte(e.Module))
		out = binary.BigEndian.AppendUint32(out, e.FormatMin)
		out = binary.BigEndian.AppendUint32(out, e.FormatMax)
		out = binary.BigEndian.AppendUint32(out, e.FormatNew)
	}
	return out
}
