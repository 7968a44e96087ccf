package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
)

// line is what a format makes of a line that is logged at midnight of 2000-01-01 UTC, in a
// place that is elsewhere.
func line(t *testing.T, f Format, prefix, msg string, args ...any) (said string) {
	synctest.Test(t, func(*testing.T) {
		var b bytes.Buffer
		New(&b, f, slog.LevelDebug, prefix).Info(msg, args...)
		said = b.String()
	})
	return said
}

type broken struct{ err *net.OpError }

func (b *broken) Error() string { return b.err.Op } // panics

func TestALineInBothFormats(t *testing.T) {
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4150}
	args := []any{
		"topic", "orders", "address", address, "error", errors.New("no room"), "took", 1500 * time.Millisecond, "count", 3,
		"at", time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600)), "list", []string{"a", "b"}, "tls", true, "nothing", nil,
		"map", map[string]int{"a": 1},
	}
	for _, c := range []struct {
		format       Format
		prefix, want string
	}{
		{Text, "", `time=2000-01-01T00:00:00.000Z level=INFO msg="a line" topic=orders address=127.0.0.1:4150 error="no room" took=1.5s count=3 at=2026-01-02T02:04:05.006Z list="[a b]" tls=true nothing=<nil> map=map[a:1]`},
		{Text, "[nsqd] ", `[nsqd] time=2000-01-01T00:00:00.000Z level=INFO msg="a line" topic=orders`},
		{JSON, "", `{"time":"2000-01-01T00:00:00.000Z","level":"INFO","msg":"a line","topic":"orders","address":"127.0.0.1:4150","error":"no room","took":1.5,"count":3,"at":"2026-01-02T02:04:05.006Z","list":["a","b"],"tls":true,"nothing":null,"map":"map[a:1]"}`},
		{JSON, "[nsqd] ", `{"time":"2000-01-01T00:00:00.000Z","level":"INFO","msg":"a line","prefix":"[nsqd] ","topic":"orders"`},
	} {
		if got := line(t, c.format, c.prefix, "a line", args...); !strings.HasPrefix(got, c.want) || strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") {
			t.Errorf("%s %q:\n%s\nwant it to begin\n%s", c.format, c.prefix, got, c.want)
		}
	}
}

// What comes from clients must not move a terminal's cursor, end a line, or turn text around.
func TestNoControlCharacterGetsOut(t *testing.T) {
	const evil = "a\x1b[2J\x07\r\nlevel=ERROR msg=forged\x00\x7f\u0085\u009b31m\u202e\u2028\u2066\xff\xfe\U000e0041 end"
	for _, f := range []Format{Text, JSON} {
		got := line(t, f, "", "a line", "error", errors.New(evil), "topic", evil, "list", []string{evil}, evil, 1)
		if strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %d lines: %q", f, strings.Count(got, "\n"), got)
		}
		for _, r := range strings.TrimSuffix(got, "\n") {
			if !unicode.IsPrint(r) {
				t.Errorf("%s: %q gets out: %q", f, r, got)
			}
		}
	}
	var read struct{ Topic string }
	if err := json.Unmarshal([]byte(line(t, JSON, "", "a line", "topic", evil)), &read); err != nil || read.Topic != strings.ToValidUTF8(strings.ReplaceAll(evil, "\xff\xfe", "\ufffd\ufffd"), "") {
		t.Errorf("JSON gives back %q, %v; want %q", read.Topic, err, evil)
	}
}

func TestAValueOfAnySizeOrKindMakesALine(t *testing.T) {
	long := strings.Repeat("ä", 1<<20)
	list := make([]string, 1<<16)
	for i := range list {
		list[i] = "0123456789abcdef"
	}
	for _, f := range []Format{Text, JSON} {
		got := line(t, f, "", "a line", "error", errors.New(long), "topic", long, "list", list)
		if len(got) > 5*maxValue || strings.Count(got, "(2097152 bytes)") != 2 || !strings.Contains(got, "(65536 in all)") {
			t.Errorf("%s: a line of %d bytes", f, len(got))
		}
		if got := line(t, f, "", "a line", "error", &broken{}, "count", 1); !strings.Contains(got, "PANIC") || !strings.Contains(got, "count") {
			t.Errorf("%s: an error that cannot be told makes %q", f, got)
		}
	}
	if stack := strings.Repeat("x", maxValue+1); !strings.Contains(line(t, Text, "", "panic", "stack", stack), stack) {
		t.Error("a stack is cut")
	}
}

func TestParseFormat(t *testing.T) {
	for _, name := range []string{"auto", "text", "json"} {
		if f, err := ParseFormat(name); err != nil || string(f) != name {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	if _, err := ParseFormat("xml"); err == nil || err.Error() != `log-format "xml": must be auto, text or json` {
		t.Errorf("xml: %v", err)
	}
}
