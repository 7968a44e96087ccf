package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writer is one that runs.
type writer struct {
	*audit.Writer
	t    *testing.T
	path string
	said *logtest.Lines
	stop func()
}

func start(t *testing.T, path string) *writer {
	t.Helper()
	said := new(logtest.Lines)
	w, err := audit.Open(path, "q1:4151", slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	stop := sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return &writer{w, t, path, said, stop}
}

// until waits for something to be so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) { // the writer has a goroutine and a real file
		if time.Now().After(deadline) {
			t.Fatalf("it never came to %s", what)
		}
	}
}

// lines are the entries in a file, each of which must be one line of JSON.
func lines(t *testing.T, path string) (all []audit.Entry) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%q is no line: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

func entry(n int) audit.Entry { return audit.Did("create-topic", fmt.Sprint("t", n), "", "", nil) }

func topics(all []audit.Entry) (names []string) {
	for _, e := range all {
		names = append(names, e.Topic)
	}
	return names
}

// What many put at once is there, each in one line, numbered without gaps.
func TestConcurrently(t *testing.T) {
	w := start(t, filepath.Join(t.TempDir(), "audit.jsonl"))
	var putting sync.WaitGroup
	for i := range 8 {
		putting.Go(func() {
			for n := range 200 {
				w.Put(entry(1000*i + n))
				if n%50 == 0 {
					w.Reopen()
				}
			}
		})
	}
	putting.Wait()
	w.stop()
	all := lines(t, w.path)
	if len(all) != 1600 || w.Counts() != (audit.Counts{Written: 1600}) {
		t.Fatalf("%d lines, %+v", len(all), w.Counts())
	}
	for i, e := range all {
		if e.Number != uint64(i+1) || e.Results[0].Node != "q1:4151" || e.At.IsZero() {
			t.Fatalf("line %d: %+v", i, e)
		}
	}
	if info, err := os.Stat(w.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// A file that logrotate moves away gets no more lines, with a SIGHUP or without.
func TestRotation(t *testing.T) {
	w := start(t, filepath.Join(t.TempDir(), "audit.jsonl"))
	move := func(to string) {
		t.Helper()
		if err := os.Rename(w.path, w.path+to); err != nil {
			t.Fatal(err)
		}
	}
	written := func(n uint64) {
		t.Helper()
		until(t, "be written", func() bool { return w.Counts().Written == n })
	}
	w.Put(entry(1))
	written(1)
	move(".1")
	w.Put(entry(2))
	written(2)
	move(".2")
	w.Reopen()
	until(t, "a new file", func() bool { _, err := os.Stat(w.path); return err == nil })
	w.Put(entry(3))
	w.stop()
	for name, want := range map[string]string{".1": "t1", ".2": "t2", "": "t3"} {
		if got := topics(lines(t, w.path+name)); !slices.Equal(got, []string{want}) {
			t.Errorf("%s has %v, want %s", name, got, want)
		}
	}
}

// A disk that takes nothing holds up nobody. What waits is written once it can be, and
// what was too much is counted, logged and told in the file.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	w := start(t, path)
	w.Put(entry(1))
	until(t, "a failure", func() bool { return w.Counts().Failures > 0 })
	e := entry(2)
	e.Detail = strings.Repeat("x", 4000)
	const many = 2000 // more than may wait
	for range many {
		w.Put(e)
	}
	c := w.Counts()
	if c.Lost == 0 || c.Lost >= many || c.Written != 0 || c.Waiting > 4<<20 {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(w.said.String(), "cannot write the audit file") || !strings.Contains(w.said.String(), "no space left on device") {
		t.Errorf("said: %s", w.said)
	}

	// There is room again.
	real := filepath.Join(dir, "real")
	if err := os.Symlink(real, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	until(t, "be written", func() bool { return w.Counts().Waiting == 0 })
	w.Put(entry(3))
	w.stop()
	all := lines(t, real)
	last, gap := all[len(all)-1], all[len(all)-2]
	if all[0].Topic != "t1" || last.Topic != "t3" || gap.Action != "audit-gap" || gap.Unlogged != c.Lost || !strings.Contains(gap.Detail, "lines are missing, from ") {
		t.Errorf("%+v\n%+v\n%+v", all[0], gap, last)
	}
	if want := uint64(many+2) - c.Lost; uint64(len(all)) != want+1 {
		t.Errorf("%d lines, want %d", len(all), want+1)
	}
	if last.Number != many+2+1 {
		t.Errorf("the last has number %d: what is missing has none", last.Number)
	}
}

// What cannot be written at the end is said to be lost, and the end comes all the same.
func TestFullDiskAtTheEnd(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	w := start(t, "/dev/full")
	w.Put(entry(1))
	w.Put(entry(2))
	w.stop()
	if c := w.Counts(); c.Lost != 2 || c.Waiting != 0 {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(w.said.String(), "before the end") {
		t.Errorf("said: %s", w.said)
	}
	w.Put(entry(3))
	if c := w.Counts(); c.Lost != 3 {
		t.Errorf("after the end: %+v", c)
	}
}

// The folder of the file goes, and comes back.
func TestUnwritable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := start(t, filepath.Join(dir, "audit.jsonl"))
	w.Put(entry(1))
	until(t, "be written", func() bool { return w.Counts().Written == 1 })
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	w.Put(entry(2))
	w.Put(entry(3))
	until(t, "a failure", func() bool { return w.Counts().Failures > 0 })
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	until(t, "be written", func() bool { return w.Counts().Written == 3 })
	w.stop()
	if got := topics(lines(t, w.path)); !slices.Equal(got, []string{"t2", "t3"}) {
		t.Errorf("%v", got)
	}
	if !strings.Contains(w.said.String(), "audit-file "+w.path) {
		t.Errorf("said: %s", w.said)
	}
}

// What cannot be a file is refused at the start, with the setting's name.
func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none", "audit.jsonl")} {
		if _, err := audit.Open(path, "", slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), "audit-file "+path+": ") {
			t.Errorf("%v", err)
		}
	}
	w, err := audit.Open("", "", nil)
	if w != nil || err != nil {
		t.Fatal(w, err)
	}
	w.Put(entry(1)) // none of it fails
	w.Reopen()
	w.Run(t.Context())
	if err := w.Close(); err != nil || w.Counts() != (audit.Counts{}) {
		t.Error(err)
	}
}

// A line that a crash has torn does not spoil the next.
func TestTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte(`{"number":1,"act`), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, path)
	w.Put(entry(1))
	w.stop()
	text, _ := os.ReadFile(path)
	torn, rest, _ := strings.Cut(string(text), "\n")
	if torn != `{"number":1,"act` || !json.Valid([]byte(rest)) || strings.Count(rest, "\n") != 1 {
		t.Errorf("%s", text)
	}
}

// Who does things in vain, as often as he can, does not fill the disk; what changes
// something always has its line.
func TestInVain(t *testing.T) {
	w := start(t, filepath.Join(t.TempDir(), "audit.jsonl"))
	at := time.Unix(1_800_000_000, 0)
	for n := range 1000 {
		e := entry(n)
		e.At = at
		switch n % 4 {
		case 0:
			e.Refused, e.Results = "no", nil
		case 1:
			e.Results = []audit.Result{{Error: "the disk is full", Count: 3}} // three messages are moved
		case 2:
			e.Results = []audit.Result{{Error: "the disk is full"}}
		}
		w.Put(e)
	}
	e := entry(0)
	e.Refused, e.At = "no", at.Add(time.Second)
	w.Put(e)
	w.stop()
	all := lines(t, w.path)
	vain := slices.DeleteFunc(slices.Clone(all), func(e audit.Entry) bool {
		return e.Refused == "" && (e.Results[0].OK || e.Results[0].Count > 0)
	})
	if len(all)-len(vain) != 500 || len(vain) != 21 || vain[20].Unlogged != 480 {
		t.Errorf("%d lines of changes, %d of none, %+v", len(all)-len(vain), len(vain), vain[len(vain)-1])
	}
}

// Whatever is in an entry, it is one line of JSON, of bounded length, with nothing in it
// that a terminal or an editor would take for more.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "orders", "a\nb\r\"\\\x00\x1b[31m", "\u202eevil\u2066\u200b\u2028\u2029\U000e0041", "\xff\xfe\x80", strings.Repeat("é", 5000), "{\"a\":1}\n{"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := audit.Did(s, s, s, s, fmt.Errorf("%s", s)).By(audit.Actor{Who: s, How: s, Through: s, From: s, UserAgent: s, Via: s})
		e.Refused, e.URL, e.Node, e.Role = s, s, s, s
		e = e.Bounded()
		line, err := e.Line()
		if err != nil || bytes.ContainsAny(line, "\n\r\x1b\x7f\u202e\u2066\u200b\u2028\u2029\U000e0041") || len(line) > 200_000 {
			t.Fatalf("%v: %q", err, line)
		}
		var back audit.Entry
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if want := strings.ToValidUTF8(e.Who, "\ufffd"); strings.ReplaceAll(back.Who, "\ufffd", "") != strings.ReplaceAll(want, "\ufffd", "") {
			t.Fatalf("%q is read back as %q", e.Who, back.Who)
		}
	})
}
