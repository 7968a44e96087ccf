package audit_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/millrace-mq/millrace/internal/audit"
)

// mostBytes has files of this process end at so many bytes, as a disk that gets full in
// the middle of a line, until the function that it returns is called.
func mostBytes(t *testing.T, most uint64) (lift func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	set := func(most uint64) {
		// The runtime ignores SIGXFSZ, so that a write beyond fails with EFBIG.
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: most, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	set(most)
	lift = sync.OnceFunc(func() { set(was.Cur) })
	t.Cleanup(lift)
	return lift
}

// A disk that takes a part of a line gets the rest of it, before and without anything
// else happening, and nothing of it twice.
func TestPartOfALine(t *testing.T) {
	e := entry(0)
	line, err := e.Line()
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"}
	for _, c := range []struct{ most, lines int }{
		{len(line) / 2, 8}, {len(line) - 1, 8}, {len(line), 8}, {3 * len(line) / 2, 8}, {len(line) / 2, 1},
	} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		w := start(t, path)
		lift := mostBytes(t, uint64(c.most))
		for n := range c.lines {
			w.Put(entry(n))
		}
		until(t, "a failure", func() bool { return w.Counts().Failures > 0 })
		if n := w.Counts(); n.Written > 1 || n.Waiting == 0 {
			t.Errorf("%+v: %+v", c, n)
		}
		lift()
		until(t, "be written", func() bool { return w.Counts().Waiting == 0 })
		if got := topics(lines(t, path)); !slices.Equal(got, all[:c.lines]) {
			t.Errorf("%+v: %v", c, got)
		}
		if n := w.Counts(); n.Written != uint64(c.lines) || n.Lost != 0 {
			t.Errorf("%+v: %+v", c, n)
		}
		w.stop()
	}
}

// What there is only a part of at the end is lost.
func TestPartAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	w, err := audit.Open(path, "q1:4151", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w.Put(entry(1))
	w.Put(entry(2))
	ctx, end := context.WithCancel(t.Context())
	end()
	mostBytes(t, 250)
	w.Run(ctx)
	text, _ := os.ReadFile(path)
	if c := w.Counts(); len(text) != 250 || c.Lost != 2-uint64(strings.Count(string(text), "\n")) || c.Written+c.Lost != 2 {
		t.Errorf("%+v, %d bytes: %s", c, len(text), text)
	}
}

// A line that is given no more is ended, and spoils no other.
func TestPartIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f, err := audit.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lift := mostBytes(t, 5)
	if n, err := f.Append([]byte("one\ntwo\n")); n != 4 || err == nil {
		t.Errorf("%d taken, %v", n, err)
	}
	if n, err := f.Append([]byte("four\n")); n != 0 || err == nil {
		t.Errorf("%d taken, %v", n, err)
	}
	lift()
	if n, err := f.Append([]byte("two\n")); n != 4 || err != nil {
		t.Errorf("%d taken, %v", n, err)
	}
	if text, _ := os.ReadFile(path); string(text) != "one\nt\ntwo\n" {
		t.Errorf("%q", text)
	}
}
