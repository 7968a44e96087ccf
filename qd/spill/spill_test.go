package spill

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(t *testing.T, fileBytes int64) Config {
	return Config{Dir: t.TempDir(), FileBytes: fileBytes, SyncEvery: 1000, SyncTimeout: time.Hour}
}

func open(t *testing.T, cfg Config) *Queue {
	t.Helper()
	q, err := Open(cfg, "t:c")
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func add(t *testing.T, q *Queue, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := q.Append(fmt.Appendf(nil, "%0200d", i), 1); err != nil {
			t.Fatal(err)
		}
	}
}

func want(t *testing.T, q *Queue, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		payload, count, ok, err := q.Next()
		if !ok || err != nil || count != 1 || string(payload) != fmt.Sprintf("%0200d", i) {
			t.Fatalf("record %d: %s %v %v", i, payload, ok, err)
		}
	}
}

func files(t *testing.T, cfg Config) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(cfg.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func noBadFiles(t *testing.T, cfg Config) {
	t.Helper()
	for _, f := range files(t, cfg) {
		if strings.HasSuffix(f, ".bad") {
			t.Errorf("%s was set aside though nothing was damaged", f)
		}
	}
}

// TestRotation follows the writer with a reader that is 0 to 3 records behind
// at every change of files: the case that makes go-diskqueue 1.1.0 set
// healthy files aside when it is left to change them itself.
func TestRotation(t *testing.T) {
	for lag := range 4 {
		t.Run(fmt.Sprint("lag ", lag), func(t *testing.T) {
			cfg := config(t, 1000)
			q := open(t, cfg)
			for i := range 200 {
				add(t, q, i, i+1)
				if i >= lag {
					want(t, q, i-lag, i-lag+1)
				}
			}
			want(t, q, 200-lag, 200)
			noBadFiles(t, cfg)
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			if left := files(t, cfg); len(left) > 0 {
				t.Errorf("an empty queue leaves %v", left)
			}
		})
	}
}

func TestReopen(t *testing.T) {
	cfg := config(t, 1000)
	for round := range 3 {
		q := open(t, cfg)
		if n := q.Records(); n != round*20 {
			t.Fatalf("%d records after %d rounds", n, round)
		}
		front := q.Prepend()
		add(t, front, 100-10*(round+1), 100-10*round)
		if err := front.Close(); err != nil {
			t.Fatal(err)
		}
		add(t, q, 100+10*round, 110+10*round)
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	q := open(t, cfg)
	want(t, q, 70, 130)
	if _, _, ok, err := q.Next(); ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, cfg); len(left) > 0 {
		t.Errorf("an empty queue leaves %v", left)
	}
}

func TestPurge(t *testing.T) {
	cfg := config(t, 1000)
	q := open(t, cfg)
	add(t, q, 0, 50)
	want(t, q, 0, 3)
	if err := q.Purge(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, cfg); len(left) > 0 || q.Records() != 0 {
		t.Errorf("a purged queue has %v", left)
	}
	add(t, q, 50, 60)
	want(t, q, 50, 60)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamage changes one byte in the middle of a queue. That record is
// reported; go-diskqueue may lose others of the same file, but every one of
// the other files comes, and nothing that was not written.
func TestDamage(t *testing.T) {
	cfg := config(t, 1000)
	q := open(t, cfg)
	add(t, q, 0, 50)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(cfg.Dir, fmt.Sprintf("t:c~%09d.diskqueue.000000.dat", firstGeneration+2))
	b, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(data, b, 0o600); err != nil {
		t.Fatal(err)
	}
	q = open(t, cfg)
	got, damaged := 0, 0
	for {
		_, _, ok, err := q.Next()
		if errors.Is(err, ErrDamaged) {
			damaged++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		got++
	}
	if got != 49 || damaged != 1 {
		t.Errorf("%d records whole and %d damaged of 50", got, damaged)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTruncated cuts a file short: the queue must end, not wait for ever.
func TestTruncated(t *testing.T) {
	cfg := config(t, 1000)
	q := open(t, cfg)
	add(t, q, 0, 10)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(cfg.Dir, fmt.Sprintf("t:c~%09d.diskqueue.000000.dat", firstGeneration))
	if err := os.Truncate(data, 300); err != nil {
		t.Fatal(err)
	}
	q = open(t, cfg)
	want(t, q, 0, 1)
	want(t, q, 5, 10) // the next generation
	if _, _, ok, _ := q.Next(); ok {
		t.Error("something comes out of nothing")
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSaved(t *testing.T) {
	cfg := config(t, 1<<20)
	q := open(t, cfg)
	var in []queue.Saved
	for i := range 5000 {
		in = append(in, queue.Saved{Due: int64(i), Frame: protocol.AppendMessage(nil, 7, 3, uint64(i), make([]byte, 100))})
	}
	if err := q.AppendSaved(in); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = open(t, cfg)
	out, damaged, err := q.TakeSaved()
	if err != nil || damaged != 0 || len(out) != len(in) {
		t.Fatal(len(out), damaged, err)
	}
	for i, s := range out {
		if s.Due != in[i].Due || string(s.Frame) != string(in[i].Frame) {
			t.Fatalf("message %d is not what it was", i)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(appendRecord(nil, []byte("frames"), 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, count, err := parseRecord(b)
		if err != nil {
			return
		}
		if got := appendRecord(nil, payload, count); string(got) != string(b) {
			t.Fatalf("%x re-encodes as %x", b, got)
		}
	})
}
