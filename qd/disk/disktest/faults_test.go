package disktest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"testing"

	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

// step is one operation on a disk that has the files "a", of one byte, and "b".
type step struct {
	name string
	do   func(w *world) error
}

var writes = []step{
	{"create", func(w *world) error { _, err := w.Create("new"); return err }},
	{"mkdir", func(w *world) error { return w.MkdirAll("x/y") }},
	{"rename", func(w *world) error { return w.Rename("b", "c") }},
	{"remove", func(w *world) error { return w.Remove("b") }},
	{"sync of a directory", func(w *world) error { return w.SyncDir("/") }},
	{"write", func(w *world) error { return w.file.WriteAt(1, []byte("2"), []byte("3")) }},
	{"sync", func(w *world) error { return w.file.Sync() }},
	{"truncate", func(w *world) error { return w.file.Truncate(0) }},
}

var reads = []step{
	{"open", func(w *world) error { _, err := w.Open("a"); return err }},
	{"list", func(w *world) error { _, err := w.List("/"); return err }},
	{"space", func(w *world) error { _, _, err := w.Space("/"); return err }},
	{"read", func(w *world) error { _, err := w.file.ReadAt(make([]byte, 1), 0); return err }},
	{"size", func(w *world) error { _, err := w.file.Size(); return err }},
}

// Each operation counts once, on its side, and fails when it is its turn, with
// the error that was planned and without an effect.
func TestFailAt(t *testing.T) {
	planned := errors.New("planned")
	sides := []struct {
		name         string
		steps        []step
		plan         func(w *world, n int, err error)
		count, other func(w *world) int
	}{
		{"writes", writes, func(w *world, n int, err error) { w.FailAt(n, err) }, func(w *world) int { return w.Operations() }, func(w *world) int { return w.Reads() }},
		{"reads", reads, func(w *world, n int, err error) { w.FailReadAt(n, err) }, func(w *world) int { return w.Reads() }, func(w *world) int { return w.Operations() }},
	}
	for _, side := range sides {
		for _, s := range side.steps {
			t.Run(s.name, func(t *testing.T) {
				w := newFaulty(t)
				count, other, before := side.count(w), side.other(w), content(w.Disk)
				side.plan(w, 1, planned)
				w.must(w.SyncDir("/")) // does not count as a read, and is the first write
				if side.name == "reads" {
					other++
					_, err := w.List("/")
					w.must(err)
				}
				if w.Failed() {
					t.Error("Failed before the fault")
				}
				err := s.do(w)
				if pe, ok := errors.AsType[*fs.PathError](err); !ok || pe.Err != planned {
					t.Fatalf("error %v, want the planned one in an *fs.PathError", err)
				}
				if !w.Failed() {
					t.Error("not Failed after the fault")
				}
				if got := content(w.Disk); got != before {
					t.Errorf("files %q, want %q", got, before)
				}
				w.must(s.do(w)) // only once
				if got := side.count(w) - count; got != 3 {
					t.Errorf("%d operations counted, want 3", got)
				}
				if got := side.other(w); got != other {
					t.Errorf("the other side counts %d operations, want %d", got, other)
				}
			})
		}
	}
}

func newFaulty(t *testing.T) *world {
	w := newWorld(t)
	w.SetBytes("b", nil)
	w.file = w.durable("a", "1")
	return w
}

// After the disk has died all fails, reads too.
func TestFailAlways(t *testing.T) {
	for _, s := range slices.Concat(writes, reads) {
		w := newFaulty(t)
		w.FailAlways(1)
		w.must(w.SyncDir("/"))
		_, err := w.List("/")
		w.must(err)
		if err := w.SyncDir("/"); !errors.Is(err, syscall.EIO) || !w.Failed() {
			t.Fatalf("the disk lives: %v", err)
		}
		for range 2 {
			if err := s.do(w); !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: %v, want EIO", s.name, err)
			}
		}
		if err := w.file.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		w.Heal()
		w.must(w.SyncDir("/"))
	}
}

// Faults are not inherited by what a crash or a kill leaves.
func TestFaultsEndWithTheProcess(t *testing.T) {
	w := newFaulty(t)
	w.FailAlways(0)
	for _, d := range []*disktest.Disk{w.Kill(), w.Crash(disktest.None, nil)} {
		if err := d.SyncDir("/"); err != nil || d.Failed() || d.Operations() != 1 {
			t.Errorf("%v, failed %v, %d operations", err, d.Failed(), d.Operations())
		}
	}
}

// A torn write has written a part of its bytes, of any length, from the
// beginning on, across buffers; without Tear none.
func TestTear(t *testing.T) {
	seen := map[string]bool{}
	for seed := range 200 {
		w := newFaulty(t)
		w.Tear(seeded(seed))
		w.FailAt(0, nil)
		if err := w.file.WriteAt(1, []byte("ab"), nil, []byte("cd")); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		w.must(w.file.WriteAt(9, []byte("z")))
		seen[string(w.Bytes("a")[:5])] = true
	}
	want := []string{"1\x00\x00\x00\x00", "1a\x00\x00\x00", "1ab\x00\x00", "1abc\x00", "1abcd"}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
		t.Errorf("left were %q, want %q", got, want)
	}
}

// ExampleDisk_FailAt sweeps over all operations of something that writes.
func ExampleDisk_FailAt() {
	for n := 0; ; n++ {
		d := disktest.New()
		d.FailAt(n, nil)
		f, err := d.Create("f")
		if err == nil {
			err = f.WriteAt(0, []byte("1"))
		}
		fmt.Println(n, err)
		if !d.Failed() {
			return
		}
	}
	// Output:
	// 0 create f: input/output error
	// 1 write f: input/output error
	// 2 <nil>
}
