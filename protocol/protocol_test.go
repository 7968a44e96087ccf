package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"test": true, "..": true, ".": true, "A-z_0.9": true,
		"x#ephemeral": true, strings.Repeat("n", 64): true,
		strings.Repeat("n", 54) + "#ephemeral": true,
		"":                                     false, "#ephemeral": false, "x#ephemeral#ephemeral": false,
		"x#Ephemeral": false, "a b": false, "a/b": false, "ünï": false, "a#b": false,
		strings.Repeat("n", 65): false, strings.Repeat("n", 55) + "#ephemeral": false,
	} {
		if got := ValidName(name); got != want {
			t.Errorf("ValidName(%q) = %v", name, got)
		}
	}
	if !Ephemeral("x#ephemeral") || Ephemeral("ephemeral") {
		t.Error("Ephemeral mistakes its suffix")
	}
}

func TestID(t *testing.T) {
	for _, n := range []uint64{0, 1, 0x0123456789abcdef, math.MaxUint64} {
		id := FormatID(n)
		if got, ok := ParseID(id[:]); !ok || got != n {
			t.Errorf("ParseID(%s) = %x, %v; want %x", id, got, ok, n)
		}
	}
	for n := range uint64(1 << 16) {
		n *= 0x0001_0003_0007_000d // has every digit in every place
		if got, want := FormatID(n).String(), fmt.Sprintf("%016x", n); got != want {
			t.Fatalf("FormatID(%#x) = %s", n, got)
		}
	}
	if got := FormatID(0xfedc).String(); got != "000000000000fedc" {
		t.Errorf("FormatID = %s", got)
	}
	for _, bad := range []string{"", "123", "000000000000000G", "000000000000ABCD", "00000000000000000"} {
		if _, ok := ParseID([]byte(bad)); ok {
			t.Errorf("ParseID(%q) succeeds", bad)
		}
	}
}

func TestMessageFrame(t *testing.T) {
	frame := AppendMessage(nil, 5, 7, 0xabc, []byte("body"))
	want := "\x00\x00\x00\x22\x00\x00\x00\x02" + "\x00\x00\x00\x00\x00\x00\x00\x05" + "\x00\x07" +
		"0000000000000abc" + "body"
	if string(frame) != want {
		t.Fatalf("frame %q, want %q", frame, want)
	}
	typ, data, err := ReadFrame(iotest.OneByteReader(bytes.NewReader(frame)), nil, 100)
	if err != nil || typ != FrameMessage {
		t.Fatal(typ, err)
	}
	m, err := ParseMessage(data)
	if err != nil || m.Timestamp != 5 || m.Attempts != 7 || m.ID != FormatID(0xabc) || string(m.Body) != "body" {
		t.Fatalf("%+v %v", m, err)
	}
}

func TestReadFrameErrors(t *testing.T) {
	for _, c := range []struct {
		in   string
		want error
	}{
		{"", io.EOF},
		{"\x00\x00", io.ErrUnexpectedEOF},
		{"\x00\x00\x00\x08\x00\x00\x00\x00ab", io.ErrUnexpectedEOF},
		{"\x00\x00\x00\x08\x00\x00\x00\x00", io.ErrUnexpectedEOF},
		{"\x00\x00\x00\x03\x00\x00\x00\x00", ErrFrameSize},
		{"\xff\xff\xff\xff\x00\x00\x00\x00", ErrFrameSize},
		{"\x7f\xff\xff\xff\x00\x00\x00\x00", ErrFrameSize},
	} {
		if _, _, err := ReadFrame(strings.NewReader(c.in), nil, 100); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.in, err, c.want)
		}
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		line  string
		state State
		want  string // the error, or name|arg|arg/N
	}{
		{"PUB t", StateInit, "PUB|t|/1"},
		{"PUB t\r", StateSubscribed, "PUB|t|/1"},
		{"PUB t surplus and more", StateClosing, "PUB|t|surplus/4"},
		{"PUB", StateInit, "E_INVALID PUB insufficient number of parameters"},
		{"DPUB t", StateInit, "E_INVALID DPUB insufficient number of parameters"},
		{"SUB t c", StateInit, "SUB|t|c/2"},
		{"SUB t  c", StateInit, "SUB|t|/3"},
		{"SUB t c", StateSubscribed, "E_INVALID cannot SUB in current state"},
		{"RDY", StateSubscribed, "RDY||/0"},
		{"RDY ", StateSubscribed, "RDY||/1"},
		{"RDY 1", StateInit, "E_INVALID cannot RDY in current state"},
		{"FIN", StateSubscribed, "E_INVALID FIN insufficient number of params"},
		{"FIN", StateInit, "E_INVALID cannot FIN in current state"},
		{"REQ x", StateClosing, "E_INVALID REQ insufficient number of params"},
		{"CLS", StateClosing, "E_INVALID cannot CLS in current state"},
		{"IDENTIFY", StateSubscribed, "E_INVALID cannot IDENTIFY in current state"},
		{"AUTH x", StateInit, "E_INVALID AUTH invalid number of parameters"},
		{"NOP", StateInit, "NOP||/0"},
		{"nop", StateInit, "E_INVALID invalid command nop"},
		{"", StateInit, "E_INVALID invalid command "},
		{"GET / HTTP/1.1\r", StateInit, "E_INVALID invalid command GET"},
	} {
		l, err := ParseLine([]byte(c.line))
		if err == nil {
			err = l.Check(c.state)
		}
		var got string
		if err != nil {
			got = err.Error()
		} else {
			got = l.Name + "|" + string(l.Args[0]) + "|" + string(l.Args[1]) + "/" + string(rune('0'+l.N))
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.line, got, c.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for s, want := range map[string]int64{"": 0, "0": 0, "007": 7, "9223372036854775807": math.MaxInt64} {
		if n, ok := ParseCount([]byte(s)); !ok || n != want {
			t.Errorf("ParseCount(%q) = %d, %v", s, n, ok)
		}
	}
	for _, s := range []string{"-1", "+1", "1.5", "x", " 1", "9223372036854775808", "99999999999999999999"} {
		if _, ok := ParseCount([]byte(s)); ok {
			t.Errorf("ParseCount(%q) succeeds", s)
		}
	}
	if d, ok := ParseMillis([]byte("9223372036854775807")); !ok || d != math.MaxInt64 {
		t.Error("a long delay wraps around:", d)
	}
	if d, _ := ParseMillis([]byte("1500")); d != 1500*time.Millisecond {
		t.Error(d)
	}
}

func TestCheckBatch(t *testing.T) {
	const maxMessage, maxBody = 10, 100
	good := AppendBatch(nil, [][]byte{[]byte("a"), []byte("bcd")})
	n, size, err := CheckBatch(good, maxMessage, maxBody)
	if err != nil || n != 2 || size != 4 {
		t.Fatal(n, size, err)
	}
	first, rest := Next(good[4:])
	second, rest := Next(rest)
	if string(first) != "a" || string(second) != "bcd" || len(rest) != 0 {
		t.Fatalf("%q %q %q", first, second, rest)
	}
	for in, want := range map[string]string{
		"":                                  "E_BAD_BODY MPUB failed to read message count",
		"\x00\x00\x00":                      "E_BAD_BODY MPUB failed to read message count",
		"\x00\x00\x00\x00":                  "E_BAD_BODY MPUB invalid message count 0",
		"\xff\xff\xff\xff":                  "E_BAD_BODY MPUB invalid message count -1",
		"\x00\x00\x00\x14":                  "E_BAD_BODY MPUB invalid message count 20",
		"\x00\x00\x00\x01\x00":              "E_BAD_MESSAGE MPUB failed to read message(0) body size",
		"\x00\x00\x00\x01\x00\x00\x00\x00":  "E_BAD_MESSAGE MPUB invalid message(0) body size 0",
		"\x00\x00\x00\x01\xff\xff\xff\xff":  "E_BAD_MESSAGE MPUB invalid message(0) body size -1",
		"\x00\x00\x00\x01\x00\x00\x00\x0b":  "E_BAD_MESSAGE MPUB message too big 11 > 10",
		"\x00\x00\x00\x01\x00\x00\x00\x02a": "E_BAD_MESSAGE MPUB failed to read message body",
		string(good) + "x":                  "E_BAD_BODY MPUB invalid message count 2",
	} {
		if _, _, err := CheckBatch([]byte(in), maxMessage, maxBody); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

// TestWriters checks that what a client appends, the table of commands reads.
func TestWriters(t *testing.T) {
	id := FormatID(1)
	for _, c := range []struct {
		wire []byte
		want string
	}{
		{AppendSub(nil, "t", "c"), "SUB t c\n"},
		{AppendPub(nil, "t", []byte("x")), "PUB t\n\x00\x00\x00\x01x"},
		{AppendDPub(nil, "t", 1500*time.Microsecond, []byte("x")), "DPUB t 2\n\x00\x00\x00\x01x"},
		{AppendMPub(nil, "t", [][]byte{[]byte("x")}), "MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x01x"},
		{AppendRdy(nil, 3), "RDY 3\n"},
		{AppendFin(nil, id), "FIN 0000000000000001\n"},
		{AppendReq(nil, id, time.Second), "REQ 0000000000000001 1000\n"},
		{AppendTouch(nil, id), "TOUCH 0000000000000001\n"},
		{AppendCls(nil), "CLS\n"},
		{AppendNop(nil), "NOP\n"},
		{AppendSeek(nil, PlaceEarliest), "SEEK earliest\n"},
		{AppendIdentify(nil, []byte("{}")), "IDENTIFY\n\x00\x00\x00\x02{}"},
		{AppendAuth(nil, []byte("s")), "AUTH\n\x00\x00\x00\x01s"},
	} {
		if string(c.wire) != c.want {
			t.Errorf("%q, want %q", c.wire, c.want)
		}
		line, _, _ := bytes.Cut(c.wire, []byte{'\n'})
		l, err := ParseLine(line)
		if err == nil && l.Body != (len(line)+1 < len(c.wire)) {
			t.Errorf("%s: the table is wrong about its body", l.Name)
		}
		if err != nil || (l.Check(StateInit) != nil && l.Check(StateSubscribed) != nil) {
			t.Errorf("%q is refused", line)
		}
	}
}

func TestErrorFatality(t *testing.T) {
	for code, fatal := range map[string]bool{EFinFailed: false, EReqFailed: false, ETouchFailed: false, ESeekFailed: false, EInvalid: true, EBadBody: true} {
		e := ParseError([]byte(code + " some text"))
		if e.Fatal() != fatal || e.Code != code || e.Text != "some text" {
			t.Errorf("%+v: fatal is %v", e, e.Fatal())
		}
	}
}

// What a daemon says is printed on terminals, where it must move nothing.
func TestErrorDoesNotDriveATerminal(t *testing.T) {
	got := ParseError([]byte("E_INVALID \x1b]0;a\x07 \nb \u202ec \xff größer")).Error()
	if want := "E_INVALID �]0;a� �b �c � größer"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParseLine(f *testing.F) {
	for _, c := range commands {
		f.Add([]byte(c.Name + " a b\r"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLine(b)
		if err != nil {
			return
		}
		for i, a := range l.Args {
			if i >= l.N && a != nil || bytes.ContainsRune(a, ' ') {
				t.Fatalf("%q: argument %d of %d is %q", b, i, l.N, a)
			}
		}
		_ = l.Check(StateSubscribed)
	})
}

func FuzzCheckBatch(f *testing.F) {
	f.Add(AppendBatch(nil, [][]byte{[]byte("a"), []byte("bcd")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, size, err := CheckBatch(b, 1000, 100000)
		if err != nil {
			return // the only other outcome is an exact round trip
		}
		rest := b[4:]
		bodies := make([][]byte, n)
		for i := range bodies {
			bodies[i], rest = Next(rest)
			size -= len(bodies[i])
		}
		if len(rest) != 0 || size != 0 || !bytes.Equal(AppendBatch(nil, bodies), b) {
			t.Fatalf("%x does not round-trip", b)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add(AppendMessage(nil, 1, 2, 3, []byte("body")))
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, data, err := ReadFrame(bytes.NewReader(b), make([]byte, 16), 1000)
		if err != nil {
			return
		}
		if got := AppendFrame(nil, typ, data); !bytes.HasPrefix(b, got) {
			t.Fatalf("%x re-encodes as %x", b, got)
		}
		if m, err := ParseMessage(data); err == nil && typ == FrameMessage {
			if n, ok := ParseID(m.ID[:]); ok && !bytes.Equal(AppendMessage(nil, m.Timestamp, m.Attempts, n, m.Body), b[:4+binary.BigEndian.Uint32(b)]) {
				t.Fatalf("message in %x does not round-trip", b)
			}
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add([]byte("0123456789abcdef"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, ok := ParseID(b); ok {
			if id := FormatID(n); !bytes.Equal(id[:], b) {
				t.Fatalf("%q re-encodes as %q", b, id)
			}
		}
	})
}

func FuzzParseIdentify(f *testing.F) {
	f.Add([]byte(`{"client_id":"a","heartbeat_interval":-1,"unknown":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseIdentify(b) })
}

func BenchmarkPutMessageHeader(b *testing.B) {
	var h [MessageOverhead]byte
	for i := range b.N {
		PutMessageHeader(h[:], 1, 1, uint64(i), 200)
	}
}

func BenchmarkParseID(b *testing.B) {
	id := FormatID(0x0123456789abcdef)
	for range b.N {
		ParseID(id[:])
	}
}
