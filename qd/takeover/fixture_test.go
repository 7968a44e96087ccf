package takeover_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/go-diskqueue"
	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/qd/takeover"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kind says how the n-th message of a queue is made up.
type kind func(n int) takeover.Message

// dated messages are as nsqd makes them: the ID tells the time of publication.
func dated(n int) takeover.Message {
	const epoch = 1288834974288
	m := takeover.Message{Published: 1_700_000_000_000_000_000 + int64(n)*1e9, Attempts: uint16(n%3 + 1), Body: body(n)}
	copy(m.ID[:], fmt.Sprintf("%016x", (m.Published>>20-epoch)<<22|7<<12|int64(n)))
	return m
}

// plain messages have IDs that tell nothing.
func plain(n int) takeover.Message {
	m := takeover.Message{Published: int64(n), Attempts: 1, Body: body(n)}
	copy(m.ID[:], fmt.Sprintf("%016x", n))
	return m
}

// body makes bodies of all sorts: text, hex digits, zeros, and of one byte.
func body(n int) []byte {
	switch n % 5 {
	case 0:
		return fmt.Appendf(nil, "message %d with some text in it", n)
	case 1:
		return []byte(strings.Repeat("0123456789abcdef", 4+n%7))
	case 2:
		return append(make([]byte, 40+n%200), byte(n))
	case 3:
		return []byte{byte(n)}
	default:
		return []byte(strings.Repeat(fmt.Sprintf("%d,", n), 100))
	}
}

func encode(m takeover.Message) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(m.Published))
	b = binary.BigEndian.AppendUint16(b, m.Attempts)
	return append(append(b, m.ID[:]...), m.Body...)
}

// make builds the first n messages.
func (k kind) make(n int) (all []takeover.Message) {
	for i := range n {
		all = append(all, k(i))
	}
	return all
}

// queue writes a disk queue as nsqd does: n messages in files of about so many
// bytes, of which the first read ones are read again.
func (k kind) queue(t testing.TB, dir, name string, n, read int, fileBytes int64) {
	t.Helper()
	q := diskqueue.New(name, dir, fileBytes, 26, 1<<20, math.MaxInt64, time.Hour,
		func(l diskqueue.LogLevel, format string, args ...any) {
			if l >= diskqueue.ERROR {
				t.Errorf(format, args...)
			}
		})
	for i := range n {
		if err := q.Put(encode(k(i))); err != nil {
			t.Fatal(err)
		}
	}
	for range read {
		<-q.ReadChan()
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

const oneTopic = `{"topics":[{"name":"t","paused":false,"channels":[{"name":"c","paused":true}]}],"version":"1.3.0"}`

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func find(t testing.TB, dir string) *takeover.Source {
	t.Helper()
	s, err := takeover.Find(dir)
	if err != nil || s == nil {
		t.Fatal(s, err)
	}
	return s
}

// read reads a queue and checks that it left everything as it was.
func read(t testing.TB, dir, topic, channel string) ([]takeover.Message, takeover.Finding) {
	t.Helper()
	before := contents(t, dir)
	var all []takeover.Message
	found, err := find(t, dir).Read(t.Context(), topic, channel, func(m takeover.Message) error {
		m.Body = slices.Clone(m.Body)
		all = append(all, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if after := contents(t, dir); !maps.Equal(before, after) {
		t.Errorf("reading changed the directory from %q to %q", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
	if found.Messages != int64(len(all)) {
		t.Errorf("%d messages came, %d were counted", len(all), found.Messages)
	}
	return all, found
}

// contents is everything in a directory, by name.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, name := []byte("a folder"), filepath.Join(dir, e.Name())
		if !e.IsDir() {
			if text, err = os.ReadFile(name); err != nil {
				t.Fatal(err)
			}
		}
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = fmt.Sprint(info.Mode(), info.ModTime().UnixNano(), " ", string(text))
		if e.IsDir() {
			all[e.Name()] = "a folder"
		}
	}
	return all
}

func same(a, b takeover.Message) bool {
	return a.Published == b.Published && a.Attempts == b.Attempts && a.ID == b.ID && slices.Equal(a.Body, b.Body)
}

// wantMessages compares messages, and names those that differ.
func wantMessages(t testing.TB, got, want []takeover.Message) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d messages, not %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if !same(got[i], want[i]) {
			t.Errorf("message %d is %s with a body of %d bytes, not %s with %d", i, got[i].ID, len(got[i].Body), want[i].ID, len(want[i].Body))
			return
		}
	}
}

func wantNote(t testing.TB, notes []string, want ...string) {
	t.Helper()
	if len(notes) != len(want) {
		t.Fatalf("notes %q, not of %q", notes, want)
	}
	for i := range want {
		if !strings.Contains(notes[i], want[i]) {
			t.Errorf("note %q is not about %q", notes[i], want[i])
		}
	}
}
