package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// FailureKind is what kind of thing went wrong. Closed: the other side matches on it.
type FailureKind uint8

// The kinds of failures.
const (
	FailNotFound        FailureKind = 1
	FailCorrupt         FailureKind = 2
	FailUnknownFormat   FailureKind = 3
	FailUnsupported     FailureKind = 4
	FailIO              FailureKind = 5
	FailNoSpace         FailureKind = 6
	FailBusy            FailureKind = 7
	FailInvalidInput    FailureKind = 8
	FailProtocol        FailureKind = 9
	FailLimit           FailureKind = 10
	FailVersionMismatch FailureKind = 11
	FailInternal        FailureKind = 12 // a panic, or an engine that contradicts itself
)

// Failure is an error with its kind, and whether something may have been changed.
type Failure struct {
	Kind          FailureKind
	EffectUnknown bool
	Operation     string
	Message       string
}

func (f *Failure) Error() string { return f.Operation + ": " + f.Message }

// Fail makes a failure.
func Fail(kind FailureKind, operation, format string, args ...any) *Failure {
	return &Failure{Kind: kind, Operation: operation, Message: fmt.Sprintf(format, args...)}
}

// Malformed turns an error of this package into a failure.
func Malformed(operation string, err error) *Failure {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	return &Failure{Kind: FailProtocol, Operation: operation, Message: err.Error()}
}

// Encode gives u8 kind, flag effect_unknown, bytes operation, bytes message.
func (f *Failure) Encode() []byte {
	out := []byte{byte(f.Kind), 0}
	if f.EffectUnknown {
		out[1] = 1
	}
	out = AppendBytes(out, cut(f.Operation))
	return AppendBytes(out, cut(f.Message))
}

func cut(text string) []byte {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= TextBytesMax {
		return []byte(text)
	}
	end := TextBytesMax
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return []byte(text[:end])
}

// DecodeFailure reads what Encode gives.
func DecodeFailure(payload []byte) (*Failure, error) {
	f := NewFields(payload)
	out := &Failure{Kind: FailureKind(f.U8("kind")), EffectUnknown: f.Flag("effect_unknown")}
	out.Operation = string(f.Bytes("operation", TextBytesMax))
	out.Message = string(f.Bytes("message", TextBytesMax))
	return out, f.Finish()
}
