package body

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// isJSON reports whether data are an object or a list in JSON, or, if they have
// been cut off, the beginning of one. A lone number or string is text.
func isJSON(data []byte, cut bool) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	if len(data) == 0 || data[0] != '{' && data[0] != '[' {
		return false
	}
	if !cut {
		return json.Valid(data)
	}
	var whole json.RawMessage
	err := json.NewDecoder(bytes.NewReader(data)).Decode(&whole)
	return err == nil || errors.Is(err, io.ErrUnexpectedEOF)
}

const step = "  "

// indent writes JSON, or the beginning of it, in lines. Numbers and strings stay as
// they were written: a number of 64 bits is not rounded. It gives up when the result
// would be longer than limit bytes.
func indent(data []byte, limit int) (text string, whole bool) {
	var w indenter
	for i := 0; i < len(data); {
		if w.out.Len() > limit {
			return "", false
		}
		switch c := data[i]; c {
		case ' ', '\t', '\r', '\n':
			i++
		case '"':
			n := stringEnd(data[i:])
			w.out.Write(data[i : i+n])
			i += n
		default:
			i++
			w.mark(c, next(data[i:]))
		}
	}
	return w.out.String(), w.out.Len() <= limit
}

type indenter struct {
	out   strings.Builder
	depth int
}

// mark writes a byte that lies outside of strings; next is the one that follows it.
func (w *indenter) mark(c, next byte) {
	switch c {
	case '{', '[':
		w.out.WriteByte(c)
		w.depth++
		if next != '}' && next != ']' {
			w.line()
		}
	case '}', ']':
		if w.depth--; !w.empty() {
			w.line()
		}
		w.out.WriteByte(c)
	case ',':
		w.out.WriteByte(c)
		w.line()
	case ':':
		w.out.WriteString(": ")
	default:
		w.out.WriteByte(c)
	}
}

func (w *indenter) line() {
	w.out.WriteByte('\n')
	for range w.depth {
		w.out.WriteString(step)
	}
}

// empty reports whether the object or list that ends here has begun just before.
func (w *indenter) empty() bool {
	s := w.out.String()
	return strings.HasSuffix(s, "{") || strings.HasSuffix(s, "[")
}

// next is the first byte that is no white space; 0 at the end.
func next(data []byte) byte {
	for _, c := range data {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

// stringEnd is the length of the string that data begin with, its quotes included.
func stringEnd(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}
