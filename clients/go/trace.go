package millrace

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
)

// Traceparent says which trace something belongs to, as W3C's Trace Context, level
// 1, has it. The zero value is none.
type Traceparent struct {
	TraceID  [16]byte // not all zero
	ParentID [8]byte  // the span's that published; not all zero
	Sampled  bool     // that span may have been recorded
}

// NewTraceparent begins a trace.
func NewTraceparent(sampled bool) (t Traceparent) {
	fillID(t.TraceID[:])
	fillID(t.ParentID[:])
	t.Sampled = sampled
	return t
}

// Child is for a new span of the same trace.
func (t Traceparent) Child() Traceparent {
	fillID(t.ParentID[:])
	return t
}

func fillID(id []byte) {
	for {
		_, _ = rand.Read(id) // never fails
		if !isZero(id) {
			return
		}
	}
}

func isZero(id []byte) bool { return len(bytes.Trim(id, "\x00")) == 0 }

// IsZero reports whether t is no trace.
func (t Traceparent) IsZero() bool { return t == Traceparent{} }

// String returns the header's value in version 00.
func (t Traceparent) String() string {
	b := hex.AppendEncode([]byte("00-"), t.TraceID[:])
	b = hex.AppendEncode(append(b, '-'), t.ParentID[:])
	if t.Sampled {
		return string(append(b, "-01"...))
	}
	return string(append(b, "-00"...))
}

// ErrTraceparent is returned for what is no traceparent.
var ErrTraceparent = errors.New("not a traceparent: 00, a trace ID, a parent ID and flags, in lower-case hex with dashes between")

// traceparentLength is that of a traceparent of version 00, and the least of later ones.
const traceparentLength = 2 + 1 + 32 + 1 + 16 + 1 + 2

// ParseTraceparent reads the value of a traceparent header. Of versions to come it
// takes what version 00 has, as the specification says; version ff is none.
func ParseTraceparent(s string) (t Traceparent, err error) {
	if len(s) < traceparentLength {
		return Traceparent{}, ErrTraceparent
	}
	var version, flags [1]byte
	ok := lowerHex(version[:], s[:2]) && s[2] == '-' && lowerHex(t.TraceID[:], s[3:35]) && s[35] == '-' &&
		lowerHex(t.ParentID[:], s[36:52]) && s[52] == '-' && lowerHex(flags[:], s[53:55])
	switch {
	case !ok, version[0] == 0xff, isZero(t.TraceID[:]), isZero(t.ParentID[:]),
		len(s) > traceparentLength && (version[0] == 0 || s[traceparentLength] != '-'):
		return Traceparent{}, ErrTraceparent
	}
	t.Sampled = flags[0]&1 != 0 // other flags are not to be passed on
	return t, nil
}

func lowerHex(dst []byte, s string) bool {
	_, err := hex.Decode(dst, []byte(s))
	return err == nil && strings.ToLower(s) == s
}

// The lines that WrapTrace puts before a body.
const (
	traceparentLine = "traceparent: "
	tracestateLine  = "tracestate: "
	maxTraceLine    = 8 << 10 // bytes of a value
)

// WrapTrace returns body behind a header of text that says which trace it belongs
// to: a line "traceparent: …", one "tracestate: …" if that is not empty, and an empty line. The
// reader takes it off with UnwrapTrace. Without a valid traceparent there is nothing to say: then body
// itself is returned. A tracestate that is not one line of printable ASCII is left out.
func WrapTrace(body []byte, traceparent, tracestate string) []byte {
	if !validTraceparent(traceparent) {
		return body
	}
	wrapped := make([]byte, 0, len(traceparentLine)+len(traceparent)+len(tracestateLine)+len(tracestate)+3+len(body))
	wrapped = append(append(append(wrapped, traceparentLine...), traceparent...), '\n')
	if tracestate != "" && validTracestate(tracestate) {
		wrapped = append(append(append(wrapped, tracestateLine...), tracestate...), '\n')
	}
	return append(append(wrapped, '\n'), body...)
}

// UnwrapTrace takes off what WrapTrace has put before a body. A body that does not
// begin with a valid header is returned as it is, with empty strings. What it returns
// shares memory with wrapped.
func UnwrapTrace(wrapped []byte) (body []byte, traceparent, tracestate string) {
	traceparent, rest, ok := traceLine(wrapped, traceparentLine)
	if !ok || !validTraceparent(traceparent) {
		return wrapped, "", ""
	}
	if value, behind, ok := traceLine(rest, tracestateLine); ok && value != "" && validTracestate(value) {
		tracestate, rest = value, behind
	}
	body, ok = bytes.CutPrefix(rest, []byte("\n"))
	if !ok {
		return wrapped, "", ""
	}
	return body, traceparent, tracestate
}

// traceLine cuts the line that begins with name off b.
func traceLine(b []byte, name string) (value string, rest []byte, ok bool) {
	b, ok = bytes.CutPrefix(b, []byte(name))
	if !ok {
		return "", nil, false
	}
	end := bytes.IndexByte(b[:min(len(b), maxTraceLine+1)], '\n')
	if end < 0 {
		return "", nil, false
	}
	return string(b[:end]), b[end+1:], true
}

func validTraceparent(s string) bool {
	_, err := ParseTraceparent(s)
	return err == nil && validTracestate(s) // of versions to come, what follows is unknown
}

func validTracestate(s string) bool {
	return len(s) <= maxTraceLine && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
