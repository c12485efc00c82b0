package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"
)

// seeds adds the golden frames.
func seeds(f *testing.F, from int) {
	f.Helper()
	text, err := os.ReadFile("../../testdata/frames.json")
	if err != nil {
		f.Fatal(err)
	}
	var frames map[string]string
	if err := json.Unmarshal(text, &frames); err != nil {
		f.Fatal(err)
	}
	for _, text := range frames {
		frame, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame[from:])
	}
}

// same fails when a payload that was decoded is encoded to other bytes.
func same(t *testing.T, what string, err error, encoded func() []byte, payload []byte) {
	t.Helper()
	if err == nil && !bytes.Equal(encoded(), payload) {
		t.Fatalf("%s: %x was decoded, and encodes to %x", what, payload, encoded())
	}
	if err != nil && !errors.Is(err, ErrMalformed) {
		t.Fatalf("%s: %v isn't ErrMalformed", what, err)
	}
}

// FuzzPayloads: whatever is decoded encodes to the same bytes, and nothing else is an error than
// a malformed payload.
func FuzzPayloads(f *testing.F) {
	seeds(f, HeaderBytes)
	f.Fuzz(func(t *testing.T, payload []byte) {
		open, err := DecodeOpen(payload)
		same(t, "open", err, open.Encode, payload)
		get, err := DecodeGet(payload)
		same(t, "get", err, get.Encode, payload)
		many, err := DecodeGetMany(payload)
		same(t, "get many", err, many.Encode, payload)
		if cap(many.Keys) > len(payload) {
			t.Fatalf("%d keys are made room for in %d bytes", cap(many.Keys), len(payload))
		}
		rangeOf, err := DecodeRangeOf(payload)
		same(t, "range of", err, rangeOf.Encode, payload)
		points, err := DecodeSplitPoints(payload)
		same(t, "split points", err, points.Encode, payload)
		keys, err := DecodeRange(payload)
		same(t, "range", err, func() []byte { return AppendRange(nil, keys) }, payload)
		batch, err := DecodeBatch(payload)
		same(t, "batch", err, batch.Encode, payload)
		if cap(batch.Ops) > len(payload) {
			t.Fatalf("%d changes are made room for in %d bytes", cap(batch.Ops), len(payload))
		}
		end, err := DecodeEnd(payload)
		same(t, "end", err, end.Encode, payload)
		check, err := DecodeCheck(payload)
		same(t, "check", err, func() []byte {
			if check {
				return []byte{1}
			}
			return []byte{0}
		}, payload)
		if hello, err := DecodeHello(payload); err == nil {
			if !bytes.HasPrefix(payload, hello.Encode()) {
				t.Fatalf("hello: %x encodes to %x", payload, hello.Encode())
			}
		}
		if failure, err := DecodeFailure(payload); err == nil {
			again, err := DecodeFailure(failure.Encode())
			if err != nil || again.Kind != failure.Kind {
				t.Fatalf("failure: %v of %x", err, payload)
			}
		}
		if order := (&Order{Range: keys}); order.Next(payload) == nil && keys.Empty() {
			t.Fatalf("a key in an empty range")
		}
	})
}

// FuzzFrames: a stream is read as frames that make up just its bytes, or ends in an error.
func FuzzFrames(f *testing.F) {
	seeds(f, 0)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, byte(KindData)})
	f.Fuzz(func(t *testing.T, stream []byte) {
		reader := bytes.NewReader(stream)
		var buffer []byte
		var again bytes.Buffer
		for {
			var frame Frame
			var err error
			frame, buffer, err = ReadFrame(reader, ControlFrameBytesMax, buffer)
			if cap(buffer) > ControlFrameBytesMax {
				t.Fatalf("%d bytes are claimed", cap(buffer))
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrFrameTooLong) {
					t.Fatal(err)
				}
				return
			}
			if err := WriteFrame(&again, frame.Kind, frame.Payload); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again.Bytes(), stream) {
			t.Fatalf("%x is read as %x", stream, again.Bytes())
		}
	})
}
