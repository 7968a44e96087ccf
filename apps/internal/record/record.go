// Package record is how messages lie in a stream of bytes, and how they are read back: in
// files that to_file writes and pub publishes again, and in what tail prints.
// docs/FORMAT.md has the formats.
package record

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Format is one of the ways.
type Format int

// The formats; docs/FORMAT.md says how each is read back.
const (
	// Raw is the body and a newline. Bodies that contain newlines, or are not
	// text, cannot be told apart again.
	Raw Format = iota
	// JSON is an object a line: "id", "timestamp" (ns since the Unix epoch),
	// "attempts", "topic", and "body" or, when that is not valid UTF-8,
	// "body_base64".
	JSON
	// Length is the length of the body, four bytes, big endian, and the body.
	Length
)

var formatNames = [...]string{Raw: "raw", JSON: "json", Length: "length-prefixed"}

// String is the format's name: raw, json or length-prefixed.
func (f Format) String() string {
	if !f.Valid() {
		return fmt.Sprintf("Format(%d)", int(f))
	}
	return formatNames[f]
}

// ParseFormat is the reverse of String.
func ParseFormat(name string) (Format, error) {
	for f, n := range formatNames {
		if n == name {
			return Format(f), nil
		}
	}
	return 0, fmt.Errorf("format %q: must be raw, json or length-prefixed", name)
}

// Valid reports whether f is one of the formats.
func (f Format) Valid() bool { return f >= 0 && int(f) < len(formatNames) }

// Lines reports whether every message ends with a newline.
func (f Format) Lines() bool { return f != Length }

// Record is a message. Only JSON keeps more of it than its body.
type Record struct {
	ID        [16]byte
	Timestamp time.Time // when it was published
	Attempts  uint16
	Topic     string
	Body      []byte // may be anything; at most 4 GiB - 1 with Length
}

// Append adds m to dst. It does not allocate while dst has room.
func (f Format) Append(dst []byte, m *Record) []byte {
	switch f {
	case JSON:
		return appendJSON(dst, m)
	case Length:
		return append(appendPrefix(dst, len(m.Body)), m.Body...)
	}
	dst = append(dst, m.Body...)
	return append(dst, '\n')
}

func appendJSON(dst []byte, m *Record) []byte {
	dst = append(dst, `{"id":"`...)
	dst = AppendID(dst, m.ID)
	dst = append(dst, `","timestamp":`...)
	dst = strconv.AppendInt(dst, m.Timestamp.UnixNano(), 10)
	dst = append(dst, `,"attempts":`...)
	dst = strconv.AppendUint(dst, uint64(m.Attempts), 10)
	dst = append(dst, `,"topic":"`...)
	dst = append(dst, m.Topic...) // a valid name has nothing to escape
	if utf8.Valid(m.Body) {
		dst = append(dst, `","body":"`...)
		dst = appendText(dst, m.Body)
	} else {
		dst = append(dst, `","body_base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, m.Body)
	}
	return append(dst, "\"}\n"...)
}

// AppendID adds an ID, whose sixteen bytes are hexadecimal unless a daemon is
// out of its mind: then they are written so that the line stays JSON.
func AppendID(dst []byte, id [16]byte) []byte {
	if !utf8.Valid(id[:]) {
		return hex.AppendEncode(dst, id[:])
	}
	return appendText(dst, id[:])
}

// plain are the bytes that stand for themselves in a JSON string. 0xe2 may
// begin U+2028 or U+2029, which some readers take for ends of lines.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\' && c != 0xe2
	}
	return t
}()

const hexDigits = "0123456789abcdef"

// appendText adds s, which is UTF-8, as the inside of a JSON string.
func appendText(dst, s []byte) []byte {
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if plain[c] {
			continue
		}
		if c == 0xe2 {
			// #nosec G602 -- the condition above holds it against the length
			if i+2 >= len(s) || s[i+1] != 0x80 || s[i+2]&^1 != 0xa8 {
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\u202`...)
			// #nosec G602 -- the condition above holds it against the length
			dst = append(dst, hexDigits[s[i+2]&0xf])
			i += 2
			start = i + 1
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, c)
		start = i + 1
	}
	return append(dst, s[start:]...)
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}
