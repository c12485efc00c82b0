package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"
)

// engines of the golden hello reply.
var goldenReply = HelloReply{Version: Version, Build: "gostore test", Engines: []EngineInfo{
	{Engine: EngineGoleveldb, Capabilities: CapWrite | CapBulk, Module: "goleveldb v1"},
	{
		Engine: EnginePebble1, Capabilities: CapReadOnly | CapWrite | CapTables,
		Module: "pebble v1.1.5", FormatMin: 1, FormatMax: 16, FormatNew: 1,
	},
}}

func goldenEntries() (payload []byte, end End) {
	payload = AppendEntry(AppendEntry(nil, []byte("a"), []byte("one")), []byte("b"), nil)
	tally := NewTally()
	tally.Add(payload, 2)
	return payload, tally.End()
}

func goldenValues() []byte {
	values := NewValues()
	values.Add([]byte("one"), true)
	values.Add(nil, false)
	values.Add(nil, true)
	return values.Encode()
}

// golden is every vector of testdata/frames.json as this side writes it.
func golden() map[string]Frame {
	entries, end := goldenEntries()
	ranged := Range{Start: []byte("a"), End: []byte("b\xff"), HasEnd: true}
	return map[string]Frame{
		"hello":          {KindHello, Hello{Version, Version}.Encode()},
		"hello_range":    {KindHello, Hello{2, 700}.Encode()},
		"attach":         {KindAttach, nil},
		"open_read_only": {KindOpen, Open{EnginePebble1, ModeReadOnly, 1 << 30, "/données"}.Encode()},
		"open_create":    {KindOpen, Open{EngineGoleveldb, ModeCreate, 0, "/x"}.Encode()},
		"open_reopen":    {KindOpen, Open{EnginePebble2, ModeReopen, ^uint64(0), "/x"}.Encode()},
		"open_file":      {KindOpen, Open{EngineBbolt, ModeCreate, 1 << 20, "/x.db"}.Encode()},
		"snapshot":       {KindSnapshot, nil},
		"release":        {KindRelease, []byte{0, 0, 0, 7}},
		"get":            {KindGet, Get{7, []byte("key")}.Encode()},
		"get_empty_key":  {KindGet, Get{7, nil}.Encode()},
		"get_many":       {KindGetMany, GetMany{7, [][]byte{[]byte("key"), nil}}.Encode()},
		"scan_all":       {KindScan, RangeOf{7, Range{}}.Encode()},
		"scan_range":     {KindScan, RangeOf{7, ranged}.Encode()},
		"scan_empty_end": {KindScan, RangeOf{7, Range{HasEnd: true}}.Encode()},
		"split_points": {
			KindSplitPoints, SplitPoints{7, 64 << 20, Range{Start: []byte("H:")}}.Encode(),
		},
		"approximate_bytes": {KindApproximateBytes, RangeOf{7, Range{
			Start: []byte("a"), End: []byte("b"), HasEnd: true,
		}}.Encode()},
		"write_buffered": {KindWrite, Batch{}.Encode()},
		"write_synced": {KindWrite, Batch{Sync: true, Ops: []Op{
			{OpPut, []byte("k"), []byte("v")}, {OpDelete, []byte("d"), nil}, {OpPut, nil, nil},
		}}.Encode()},
		"bulk": {KindBulk, AppendRange(nil, Range{[]byte("a"), []byte("c"), true})},
		"take_in": {KindTakeIn, EncodeTables([]Table{
			{"table-0-0.sst", 1 << 26}, {"table-0-1.sst", 7},
		})},
		"close":          {KindClose, []byte{0}},
		"close_check":    {KindClose, []byte{1}},
		"hello_reply":    {KindHelloReply, goldenReply.Encode()},
		"opened":         {KindOpened, Opened{13, "format 13"}.Encode()},
		"snapshot_made":  {KindSnapshotMade, []byte{0, 0, 0, 7}},
		"value":          {KindValue, []byte("one")},
		"value_empty":    {KindValue, nil},
		"absent":         {KindAbsent, nil},
		"values":         {KindValues, goldenValues()},
		"size":           {KindSize, []byte{0, 0, 1, 0, 0, 0, 0, 0}},
		"done":           {KindDone, nil},
		"data":           {KindData, entries},
		"end":            {KindEnd, end.Encode()},
		"end_of_nothing": {KindEnd, NewTally().End().Encode()},
		"working":        {KindWorking, nil},
		"error":          {KindError, Fail(FailCorrupt, "scan", "bad block – %d", 7).Encode()},
		"error_unknown_effect": {KindError, (&Failure{
			Kind: FailNoSpace, EffectUnknown: true, Operation: "write", Message: "disk full",
		}).Encode()},
	}
}

func vectors(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("../../testdata/frames.json")
	if err != nil {
		t.Fatal(err)
	}
	var encoded map[string]string
	if err := json.Unmarshal(text, &encoded); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for name, digits := range encoded {
		if out[name], err = hex.DecodeString(digits); err != nil {
			t.Fatal(name, err)
		}
	}
	return out
}

func TestFramesAreTheGoldenBytes(t *testing.T) {
	written, kept := golden(), vectors(t)
	if len(written) != len(kept) {
		t.Errorf("%d vectors here, %d in frames.json", len(written), len(kept))
	}
	for name, frame := range written {
		var out bytes.Buffer
		if err := WriteFrame(&out, frame.Kind, frame.Payload); err != nil {
			t.Fatal(name, err)
		}
		if !bytes.Equal(out.Bytes(), kept[name]) {
			t.Errorf("%s: wrote %x, golden %x", name, out.Bytes(), kept[name])
		}
		read, _, err := ReadFrame(bytes.NewReader(kept[name]), FrameBytesMax, nil)
		if err != nil || read.Kind != frame.Kind || !bytes.Equal(read.Payload, frame.Payload) {
			t.Errorf("%s: read %+v, %v", name, read, err)
		}
	}
}

// decode reads a payload as the requests that this side understands.
func decode(kind Kind, payload []byte) (known bool, err error) {
	switch kind {
	case KindHello:
		_, err = DecodeHello(payload)
	case KindOpen:
		_, err = DecodeOpen(payload)
	case KindGet:
		_, err = DecodeGet(payload)
	case KindGetMany:
		_, err = DecodeGetMany(payload)
	case KindScan, KindApproximateBytes:
		_, err = DecodeRangeOf(payload)
	case KindSplitPoints:
		_, err = DecodeSplitPoints(payload)
	case KindTakeIn:
		_, err = DecodeTables(payload)
	case KindRelease:
		_, err = DecodeSnapshot(payload)
	case KindWrite:
		_, err = DecodeBatch(payload)
	case KindBulk:
		_, err = DecodeRange(payload)
	case KindClose:
		_, err = DecodeCheck(payload)
	case KindEnd:
		_, err = DecodeEnd(payload)
	case KindError:
		_, err = DecodeFailure(payload)
	case KindAttach, KindSnapshot:
		err = DecodeEmpty(payload)
	default:
		return false, nil
	}
	return true, err
}

func TestEveryCutOrExtendedRequestIsMalformed(t *testing.T) {
	for name, frame := range golden() {
		known, err := decode(frame.Kind, frame.Payload)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !known {
			continue
		}
		for cut := range frame.Payload {
			if _, err := decode(frame.Kind, frame.Payload[:cut]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %v", name, cut, err)
			}
		}
		longer := append(bytes.Clone(frame.Payload), 0)
		_, err = decode(frame.Kind, longer)
		if frame.Kind == KindHello { // later versions may append
			if err != nil {
				t.Errorf("%s with a byte more: %v", name, err)
			}
		} else if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a byte more: %v", name, err)
		}
	}
}

func TestATruncatedFrameIsNeverAnEnd(t *testing.T) {
	for name, whole := range vectors(t) {
		for cut := 1; cut < len(whole); cut++ {
			_, _, err := ReadFrame(bytes.NewReader(whole[:cut]), FrameBytesMax, nil)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s cut to %d bytes: %v", name, cut, err)
			}
		}
		if _, _, err := ReadFrame(bytes.NewReader(nil), FrameBytesMax, nil); err != io.EOF {
			t.Errorf("nothing at all: %v", err)
		}
	}
}

func TestAForgedLengthAllocatesNothing(t *testing.T) {
	for _, length := range []string{"ffffffff", "20000000"} {
		header, _ := hex.DecodeString(length + "90")
		_, buffer, err := ReadFrame(bytes.NewReader(header), FrameBytesMax, nil)
		if !errors.Is(err, ErrFrameTooLong) || cap(buffer) != 0 {
			t.Errorf("%s: %v, %d bytes held", length, err, cap(buffer))
		}
	}
	// A length within the limit claims memory only as its bytes arrive.
	_, buffer, err := ReadFrame(bytes.NewReader([]byte{0x10, 0, 0, 0, 0x90, 1}), FrameBytesMax, nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) || cap(buffer) > readStepBytes {
		t.Errorf("%v, %d bytes held", err, cap(buffer))
	}
	for _, count := range []uint32{0, 2, GetKeysMax + 1, 1 << 31} {
		forged := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 7}, count)
		forged = append(forged, 0, 0, 0, 0)
		if _, err := DecodeGetMany(forged); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d keys: %v", count, err)
		}
	}
	forged := append([]byte{0}, 0, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0)
	if _, err := DecodeBatch(forged); !errors.Is(err, ErrMalformed) {
		t.Errorf("a forged count: %v", err)
	}
}

func TestTheEndOfAnotherStreamIsNoticed(t *testing.T) {
	payload, end := goldenEntries()
	for name, other := range map[string]End{
		"an entry less": {end.Entries - 1, end.PayloadBytes, end.Digest},
		"a byte more":   {end.Entries, end.PayloadBytes + 1, end.Digest},
		"other bytes":   {end.Entries, end.PayloadBytes, [32]byte{}},
	} {
		tally := NewTally()
		tally.Add(payload, 2)
		if err := tally.Check(other); !errors.Is(err, ErrStreamDiffers) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysMustAscendWithinTheRange(t *testing.T) {
	bounded := Range{Start: []byte("b"), End: []byte("d"), HasEnd: true}
	for name, keys := range map[string][]string{
		"before the range": {"a"}, "at its end": {"b", "d"}, "twice": {"b", "b"},
		"descending": {"c", "b"}, "a prefix after": {"bb", "b"},
	} {
		order := Order{Range: bounded}
		var err error
		for _, key := range keys {
			err = errors.Join(err, order.Next([]byte(key)))
		}
		if !errors.Is(err, ErrOrder) {
			t.Errorf("%s: %v", name, err)
		}
	}
	order := Order{}
	for _, key := range []string{"", "\x00", "a", "a\x00"} {
		if err := order.Next([]byte(key)); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, whole := range vectors(f) {
		f.Add(whole[4], whole[HeaderBytes:])
	}
	f.Fuzz(func(_ *testing.T, kind byte, payload []byte) {
		_, _ = decode(Kind(kind), payload) // must not panic
	})
}
