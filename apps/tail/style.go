package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/millrace-mq/millrace/apps/internal/record"
)

// style is how a message is printed.
type style struct {
	topic, time, id bool // what is printed before it
	format          record.Format
	pretty          bool // JSON is indented
	color           bool // JSON is coloured
	visible         bool // a terminal must not obey what is in a message
}

const (
	reset    = "\x1b[0m"
	dim      = "\x1b[2m"
	forKey   = "\x1b[34m"
	forText  = "\x1b[32m"
	forOther = "\x1b[36m" // numbers, true, false and null
)

// append adds m to dst as it is printed, with a newline.
func (s *style) append(dst []byte, m *record.Record) []byte {
	if s.topic || s.time || s.id {
		dst = s.prefix(dst, m)
	}
	start := len(dst)
	dst = s.format.Append(dst, m)
	if !s.pretty && !s.color && !s.visible {
		return dst
	}
	text := dst[start : len(dst)-1]
	indented, isJSON := s.indent(text)
	if s.visible {
		indented = appendVisible(nil, indented)
	}
	dst = dst[:start]
	if isJSON && s.color {
		dst = appendColored(dst, indented)
	} else {
		dst = append(dst, indented...)
	}
	return append(dst, '\n')
}

func (s *style) prefix(dst []byte, m *record.Record) []byte {
	if s.color {
		dst = append(dst, dim...)
	}
	if s.time {
		dst = append(m.Timestamp.AppendFormat(dst, time.RFC3339Nano), ' ')
	}
	if s.id {
		dst = append(appendVisible(dst, m.ID[:]), ' ')
	}
	if s.topic {
		dst = append(append(dst, m.Topic...), ' ')
	}
	dst = append(dst, "| "...)
	if s.color {
		dst = append(dst, reset...)
	}
	return dst
}

// indent is text with a line for each member, if it is a JSON object or array and that
// is wanted. It says whether text is JSON. Keys stay in their order, numbers as they are.
func (s *style) indent(text []byte) (indented []byte, isJSON bool) {
	trimmed := bytes.TrimSpace(text)
	if len(trimmed) == 0 || (trimmed[0] != '{' && trimmed[0] != '[') || !json.Valid(trimmed) {
		return bytes.Clone(text), false
	}
	if !s.pretty {
		return bytes.Clone(text), true
	}
	var b bytes.Buffer
	if err := json.Indent(&b, trimmed, "", "  "); err != nil {
		return bytes.Clone(text), false
	}
	return b.Bytes(), true
}

const hexDigits = "0123456789abcdef"

// appendVisible adds text with all that a terminal might obey written out: control
// characters, those that turn the direction of writing, and bytes that are not UTF-8.
func appendVisible(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n <= 1, r < ' ' && r != '\n' && r != '\t', r == 0x7f:
			dst = append(dst, '\\', 'x', hexDigits[text[0]>>4], hexDigits[text[0]&0xf])
		case r == '\n', r == '\t', unicode.IsGraphic(r) && !unicode.Is(unicode.Bidi_Control, r):
			dst = append(dst, text[:n]...)
		default:
			dst = append(dst, `\u{`...)
			dst = appendHex(dst, r)
			dst = append(dst, '}')
		}
		text = text[n:]
	}
	return dst
}

func appendHex(dst []byte, r rune) []byte {
	if r >= 16 {
		dst = appendHex(dst, r>>4)
	}
	return append(dst, hexDigits[r&0xf])
}

// appendColored adds valid JSON with colours.
func appendColored(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		end := i + 1
		color := ""
		switch {
		case c == '"':
			end = endOfString(text, i)
			color = forText
			if next := bytes.TrimLeft(text[end:], " \t\r\n"); len(next) > 0 && next[0] == ':' {
				color = forKey
			}
		case c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z':
			color = forOther
			for end < len(text) && strings.IndexByte(",]} \t\r\n", text[end]) < 0 {
				end++
			}
		}
		if color != "" {
			dst = append(dst, color...)
		}
		dst = append(dst, text[i:end]...)
		if color != "" {
			dst = append(dst, reset...)
		}
		i = end
	}
	return dst
}

// endOfString is behind the string that begins at text[start].
func endOfString(text []byte, start int) int {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}
