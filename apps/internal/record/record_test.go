package record

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

func record(body string) *Record {
	m := &Record{Timestamp: time.Unix(1780000000, 123), Attempts: 2, Topic: "orders", Body: []byte(body)}
	copy(m.ID[:], "0a1b2c3d4e5f6071")
	return m
}

func TestFormats(t *testing.T) {
	const head = `{"id":"0a1b2c3d4e5f6071","timestamp":1780000000000000123,"attempts":2,"topic":"orders",`
	tests := []struct {
		f          Format
		body, want string
	}{
		{Raw, "a b", "a b\n"},
		{Raw, "a\nb", "a\nb\n"},
		{Raw, "", "\n"},
		{Length, "a\nb", "\x00\x00\x00\x03a\nb"},
		{Length, "", "\x00\x00\x00\x00"},
		{JSON, "plain", head + `"body":"plain"}` + "\n"},
		{JSON, "", head + `"body":""}` + "\n"},
		{JSON, `a "b" \ c`, head + `"body":"a \"b\" \\ c"}` + "\n"},
		{JSON, "1\n2\r\n3\t\x00\x1f", head + `"body":"1\n2\r\n3\t\u0000\u001f"}` + "\n"},
		{JSON, "größer \u2028\u2029 € 😀", head + `"body":"größer \u2028\u2029 € 😀"}` + "\n"},
		{JSON, "\xff\x00", head + `"body_base64":"/wA="}` + "\n"},
		{JSON, "cut \xe2\x80", head + `"body_base64":"Y3V0IOKA"}` + "\n"},
	}
	for _, tt := range tests {
		if got := string(tt.f.Append(nil, record(tt.body))); got != tt.want {
			t.Errorf("%s of %q:\n got %q\nwant %q", tt.f, tt.body, got, tt.want)
		}
	}
}

// An ID that is not text, which no sane daemon sends, does not spoil the line.
func TestJSONWithAStrangeID(t *testing.T) {
	m := record("x")
	copy(m.ID[:], "\xff\xfe\"")
	if line := JSON.Append(nil, m); !json.Valid(line) || !utf8.Valid(line) {
		t.Errorf("%q", line)
	}
}

func TestFormatNames(t *testing.T) {
	for _, f := range []Format{Raw, JSON, Length} {
		if got, err := ParseFormat(f.String()); got != f || err != nil {
			t.Errorf("%s is parsed as %s, %v", f, got, err)
		}
	}
	if _, err := ParseFormat("xml"); err == nil || !strings.Contains(err.Error(), "raw, json or length-prefixed") {
		t.Errorf("xml: %v", err)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 4096)
	for _, body := range []string{"plain \"text\"\n", "\xff\xfe"} {
		m := record(body)
		for _, f := range []Format{Raw, JSON, Length} {
			if n := testing.AllocsPerRun(100, func() { dst = f.Append(dst[:0], m) }); n > 0 {
				t.Errorf("%s: %v allocations", f, n)
			}
		}
	}
}

// Any body can be read back from JSON and from length-prefixed messages, and
// looks whole to a start.
func FuzzFormats(f *testing.F) {
	for _, s := range []string{"", "x", "\n", "\u2028", "\xe2\x80", "\"\\\x00", "\xff", "{}"} {
		f.Add([]byte(s))
	}
	var p Parser
	f.Fuzz(func(t *testing.T, body []byte) {
		line := JSON.Append(nil, record(string(body)))
		if !json.Valid(line) || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("%q is no line of JSON", line)
		}
		var got []byte
		var topic string
		err := p.Members(line, func(name string, value jsontext.Value) error {
			if name == "topic" {
				text, err := Text(value)
				topic = string(text)
				return err
			}
			b, err := Body(name, value)
			if b != nil {
				got = b
			}
			return err
		})
		if err != nil || got == nil || !bytes.Equal(got, body) || topic != "orders" {
			t.Errorf("got %q of %q (%v), want %q", got, topic, err, body)
		}
		b := Length.Append(nil, record(string(body)))
		if BodySize(b) != int64(len(body)) || !bytes.Equal(b[PrefixSize:], body) {
			t.Errorf("got %q, want %q", b, body)
		}
	})
}

// Whatever a line is, its members are read or it is told why not; what was read is the
// same JSON as encoding/json sees.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{"", "{}", `{"body":"a"}`, `{"body_base64":"AA=="}`, `{"a":{"body":1}} {}`, `{"body":"\ud800"}`, `["body"]`, "{\"a\":1,\"a\":2}"} {
		f.Add([]byte(s))
	}
	var p Parser
	f.Fuzz(func(t *testing.T, line []byte) {
		got := make(map[string]string)
		if p.Members(line, func(name string, value jsontext.Value) error {
			got[name] = string(value)
			return nil
		}) != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(line, &want); err != nil || len(want) != len(got) {
			t.Fatalf("%q: %d members, want %d (%v)", line, len(got), len(want), err)
		}
		for name, value := range want {
			if got[name] != string(value) {
				t.Errorf("%q: %s is %q, want %q", line, name, got[name], value)
			}
		}
	})
}
