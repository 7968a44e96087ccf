package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ millrace.Spool = (*Spool)(nil)

// openIn opens a spool with generations of about roll bytes, which the test closes.
func openIn(t *testing.T, c Config, roll int64) *Spool {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	s.roll = roll
	t.Cleanup(func() {
		if err := s.Close(); err != nil && err != ErrClosed {
			t.Error(err)
		}
	})
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drain takes everything.
func drain(t *testing.T, s *Spool) (all []string) {
	t.Helper()
	for {
		record, err := s.Peek()
		check(t, err)
		if record == nil {
			if s.Len() != 0 || s.Bytes() != 0 {
				t.Fatalf("empty, it has %d records of %d bytes", s.Len(), s.Bytes())
			}
			return all
		}
		all = append(all, string(record))
		check(t, s.Drop())
	}
}

// crash returns a copy of the directory as it is: what a process that was killed
// leaves.
func crash(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	check(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

func numbered(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("record %d", i))
	}
	return all
}

func putAll(t *testing.T, s *Spool, records []string) {
	t.Helper()
	for _, r := range records {
		check(t, s.Put([]byte(r)))
	}
}

// TestAnyHistory does whatever a Writer may do, in any order, closes and crashes in
// between, and compares what there is with a list.
func TestAnyHistory(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 0))
		dir, n := t.TempDir(), 0
		s := openIn(t, Config{Dir: dir}, 100)
		var wanted []string
		var did []string
		for range 200 {
			what := []string{"put", "put", "put", "peek", "drop", "drop", "reopen", "crash"}[r.IntN(8)]
			did = append(did, what)
			switch what {
			case "put":
				record := strings.Repeat(fmt.Sprint(n, " "), r.IntN(20))
				n++
				check(t, s.Put([]byte(record)))
				wanted = append(wanted, record)
			case "reopen":
				check(t, s.Close())
				s = openIn(t, Config{Dir: dir}, 100)
			case "crash":
				dir = crash(t, dir)
				check(t, s.Close())
				s = openIn(t, Config{Dir: dir}, 100)
			default:
				got, err := s.Peek()
				check(t, err)
				if (got == nil) != (len(wanted) == 0) || got != nil && string(got) != wanted[0] {
					t.Fatalf("seed %d: %q is first, want %.1q\n%v", seed, got, wanted, did)
				}
				if what == "drop" && got != nil {
					check(t, s.Drop())
					wanted = wanted[1:]
				}
			}
			if s.Len() != len(wanted) {
				t.Fatalf("seed %d: %d records, want %d\n%v", seed, s.Len(), len(wanted), did)
			}
		}
		if got := drain(t, s); !slices.Equal(got, wanted) {
			t.Fatalf("seed %d: %q, want %q", seed, got, wanted)
		}
		check(t, s.Close())
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("seed %d: empty, it leaves %v", seed, left)
		}
	}
}

func TestTwoWriters(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, Config{Dir: dir}, 1)
	_, err := Open(Config{Dir: dir})
	want := "opening the spool in " + dir + ": it is in use by another Writer: each needs a directory of its own"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	check(t, s.Close())
	check(t, openIn(t, Config{Dir: dir}, 1).Close())
}

func TestFull(t *testing.T) {
	s := openIn(t, Config{Dir: t.TempDir(), MaxBytes: 3 * (overhead + 10)}, 1<<20)
	ten := []byte("0123456789")
	for range 3 {
		check(t, s.Put(ten))
	}
	if err := s.Put(ten); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	_, err := s.Peek()
	check(t, err)
	check(t, s.Drop())
	check(t, s.Put(ten))
	if err := s.Put(nil); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	if got := drain(t, s); len(got) != 3 {
		t.Errorf("%q", got)
	}
}

// TestAPutThatFails is not there, neither now nor after a crash, and those before
// and after it are.
func TestAPutThatFails(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, Config{Dir: dir}, 1<<20)
	putAll(t, s, numbered(0, 3))
	// Where the data file's name leads elsewhere, it cannot be synced.
	path := onlyData(t, dir)
	check(t, os.Rename(path, path+".away"))
	if err := s.Put([]byte("lost")); err == nil {
		t.Fatal("it was put")
	}
	check(t, os.Rename(path+".away", path))
	if s.Len() != 3 {
		t.Errorf("%d records", s.Len())
	}
	s.gens[0].end = 3 * int64(overhead+len("record 0"))
	check(t, os.Truncate(path, s.gens[0].end)) // which had failed as well
	putAll(t, s, numbered(3, 5))
	killed := openIn(t, Config{Dir: crash(t, dir)}, 1<<20)
	for _, s := range []*Spool{s, killed} {
		if got := drain(t, s); !slices.Equal(got, numbered(0, 5)) {
			t.Errorf("%q", got)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, dir := range []string{"", "a%b"} {
		if _, err := Open(Config{Dir: dir}); err == nil {
			t.Errorf("%q was opened", dir)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	if _, err := Open(Config{Dir: file}); err == nil {
		t.Error("a file was opened")
	}
	s := openIn(t, Config{Dir: t.TempDir()}, 1)
	if err := s.Drop(); err == nil {
		t.Error("nothing was dropped")
	}
	if err := s.Put(make([]byte, MaxRecord+1)); err == nil {
		t.Error("a huge record was put")
	}
	check(t, s.Close())
	_, err := s.Peek()
	for _, err := range []error{err, s.Put(nil), s.Drop(), s.Close()} {
		if err != ErrClosed {
			t.Errorf("%v", err)
		}
	}
}

// TestOtherFiles of the directory are left alone.
func TestOtherFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"README", "spool-1", "spool-1.txt", "spool-x.diskqueue.000000.dat", "other.tmp"} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	s := openIn(t, Config{Dir: dir}, 1)
	putAll(t, s, numbered(0, 2))
	drain(t, s)
	check(t, s.Close())
	if left, _ := os.ReadDir(dir); len(left) != 5 {
		t.Errorf("%v", left)
	}
}

func BenchmarkPutDrop(b *testing.B) {
	s, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	record := make([]byte, 40<<10) // 200 messages of 200 bytes
	b.SetBytes(int64(len(record)))
	for b.Loop() {
		if err := s.Put(record); err != nil {
			b.Fatal(err)
		}
	}
	for s.Len() > 0 {
		if _, err := s.Peek(); err != nil {
			b.Fatal(err)
		}
		if err := s.Drop(); err != nil {
			b.Fatal(err)
		}
	}
	_ = s.Close()
}
