// Package logs is how lines of a log look, how many alike are written, and what becomes of
// them when nobody takes them.
//
// What a client, a disk or a reader of the log does wrong must not fill a disk with lines,
// hide other lines, or hold up whoever logs: sparing bounds lines that are alike, Outlet
// waits for a stream only so long.
package logs

import (
	"fmt"
	"io"
	"log/slog"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Format is how a line of a log looks.
type Format string

// The formats. Auto is Text on a terminal and JSON elsewhere.
const (
	Auto Format = "auto"
	Text Format = "text"
	JSON Format = "json"
)

// ParseFormat returns the format called name.
func ParseFormat(name string) (Format, error) {
	switch f := Format(name); f {
	case Auto, Text, JSON:
		return f, nil
	}
	return "", fmt.Errorf("log-format %q: must be auto, text or json", name)
}

// instant is RFC 3339 in UTC, always of one width, so that lines can be sorted.
const instant = "2006-01-02T15:04:05.000Z"

const (
	maxValue = 4 << 10  // bytes of a value; whoever is on the wire may have chosen it
	maxStack = 64 << 10 // bytes of a stack, which is ours
)

// handler returns what writes lines of a format to w: Text or JSON. In neither do control
// characters reach a terminal. prefix stands before a line of text, and is a key of JSON.
func handler(w io.Writer, f Format, level slog.Leveler, prefix string) slog.Handler {
	if f == JSON {
		h := slog.Handler(slog.NewJSONHandler(escaped{w}, &slog.HandlerOptions{Level: level, ReplaceAttr: inJSON}))
		if prefix != "" {
			h = h.WithAttrs([]slog.Attr{slog.String("prefix", prefix)})
		}
		return h
	}
	if prefix != "" {
		w = prefixed{w, prefix}
	}
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: plain})
}

// plain makes of a value what both formats write alike: slog's JSON would show the fields
// of an address, and the local time.
func plain(groups []string, a slog.Attr) slog.Attr {
	most := maxValue
	if a.Key == "stack" {
		most = maxStack
	}
	switch a.Value.Kind() {
	case slog.KindTime:
		a.Value = slog.StringValue(a.Value.Time().UTC().Format(instant))
	case slog.KindString:
		a.Value = slog.StringValue(cut(a.Value.String(), most))
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case nil, slog.Level:
		case []string:
			a.Value = slog.AnyValue(cutAll(v))
		default:
			a.Value = slog.StringValue(cut(told(v), most))
		}
	}
	return a
}

// inJSON is plain, with durations as numbers: of seconds, so that jq can compare them.
func inJSON(groups []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key, a.Value.Duration().Seconds())
	}
	return plain(groups, a)
}

// told is v as text. fmt survives an Error or String that panics, such as one of a nil
// pointer.
func told(v any) string { return fmt.Sprintf("%+v", v) }

// cut is s without what is beyond most bytes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for end > most-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:end], len(s))
}

// cutAll is list with at most maxValue bytes in all.
func cutAll(list []string) []string {
	size := 0
	for i, s := range list {
		if size += len(s); size > maxValue {
			return append(list[:i:i], fmt.Sprintf("… (%d in all)", len(list)))
		}
	}
	return list
}

type prefixed struct {
	w      io.Writer
	prefix string
}

func (p prefixed) Write(line []byte) (int, error) {
	n, err := p.w.Write(append([]byte(p.prefix), line...))
	return max(n-len(p.prefix), 0), err
}

// escaped passes JSON on with what no printer prints escaped: encoding/json leaves DEL, the
// C1 controls and what turns the direction of text as they are, and a log may be looked at
// on a terminal. Outside of strings JSON has none of them.
type escaped struct{ w io.Writer }

func (e escaped) Write(line []byte) (int, error) {
	n := len(line)
	if _, err := e.w.Write(escape(line)); err != nil {
		return 0, err
	}
	return n, nil
}

func escape(line []byte) []byte {
	clean := true
	for _, b := range line {
		clean = clean && b < 0x7f
	}
	if clean {
		return line
	}
	out := make([]byte, 0, len(line)+64)
	for _, r := range string(line) {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// New returns a logger that writes lines of a format, Text or JSON, to w, from level on.
// Lines that are alike are bounded: what was left out of them is told when their minute is
// over, and when the Outlet closes that w is or is a Layer over.
func New(w io.Writer, f Format, level slog.Leveler, prefix string) *slog.Logger {
	s := newSparing(handler(w, f, level, prefix))
	if o := outletOf(w); o != nil {
		o.beforeClose(s.close)
		o.tellLossBy(func(to io.Writer, lost int) {
			r := slog.NewRecord(time.Now(), slog.LevelWarn, "lines of the log are lost: nobody took them in time", 0)
			r.AddAttrs(slog.Int("unlogged", lost))
			_ = handler(to, f, slog.LevelDebug, prefix).Handle(background, r)
		})
	}
	return slog.New(s)
}
