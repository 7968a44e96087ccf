package archive

import (
	"fmt"
	"time"
)

// Format is how messages lie in a file.
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
	if f < 0 || int(f) >= len(formatNames) {
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

// Record is a message on its way into a file. Only JSON keeps more of it than
// its body; a sidecar names ID and Timestamp of the first and the last.
type Record struct {
	ID        [16]byte
	Timestamp time.Time // when it was published
	Attempts  uint16
	Topic     string
	Body      []byte // may be anything, also empty
}
