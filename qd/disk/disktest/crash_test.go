package disktest_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

// TestCrash is what is left of files after each kind of end. In some all that
// may be left is listed, and all of it must come about.
func TestCrash(t *testing.T) {
	tests := []struct {
		name                   string
		do                     func(w *world)
		killed, none, all, may string // may: the outcomes of Some, split at |
	}{
		{"synced bytes", func(w *world) {
			f := w.durable("a", "")
			w.must(f.WriteAt(0, []byte("1")))
			w.must(f.Sync())
		}, "a=1", "a=1", "a=1", "a=1"},
		{"written, not synced", func(w *world) {
			w.must(w.durable("a", "1").WriteAt(0, []byte("2")))
		}, "a=2", "a=1", "a=2", "a=1|a=2"},
		{"written behind the end", func(w *world) {
			w.must(w.durable("a", "1").WriteAt(1, []byte("23")))
		}, "a=123", "a=1", "a=123", "a=1|a=12|a=123|a=1\x00|a=1\x00\x00"},
		{"synced through another handle", func(w *world) {
			f := w.durable("a", "1")
			w.must(f.WriteAt(0, []byte("2")))
			w.must(w.open("a").Sync())
		}, "a=2", "a=2", "a=2", "a=2"},
		{"a later write before an earlier", func(w *world) {
			f := w.durable("a", "12")
			w.must(f.WriteAt(0, []byte("3")))
			w.must(f.WriteAt(1, []byte("4")))
		}, "a=34", "a=12", "a=34", "a=12|a=14|a=32|a=34"},
		{"cut", func(w *world) {
			w.must(w.durable("a", "12").Truncate(1))
		}, "a=1", "a=12", "a=1", "a=1|a=12"},
		{"cut and synced", func(w *world) {
			f := w.durable("a", "12")
			w.must(f.Truncate(1))
			w.must(f.Sync())
		}, "a=1", "a=1", "a=1", "a=1"},
		{"cut, and grown again", func(w *world) {
			f := w.durable("a", "12")
			w.must(f.Truncate(0))
			w.must(f.Truncate(2))
			w.must(f.Sync())
		}, "a=\x00\x00", "a=\x00\x00", "a=\x00\x00", "a=\x00\x00"},
		{"a sync that failed", func(w *world) {
			f := w.durable("a", "1")
			w.must(f.WriteAt(0, []byte("2")))
			w.FailAt(0, nil)
			f.Sync()
		}, "a=2", "a=1", "a=1", "a=1|a=2"},
		{"a sync after one that failed", func(w *world) {
			f := w.durable("a", "12")
			w.must(f.WriteAt(0, []byte("3")))
			w.FailAt(0, nil)
			f.Sync()
			w.must(f.WriteAt(1, []byte("4")))
			w.must(f.Sync())
		}, "a=34", "a=14", "a=14", "a=14|a=34"},
		{"written again after a sync that failed", func(w *world) {
			f := w.durable("a", "1")
			w.must(f.WriteAt(0, []byte("2")))
			w.FailAt(0, nil)
			f.Sync()
			w.must(f.WriteAt(0, []byte("3")))
			w.must(f.Sync())
		}, "a=3", "a=3", "a=3", "a=3"},

		{"created", func(w *world) {
			f := w.create("a")
			w.must(f.WriteAt(0, []byte("1")))
			w.must(f.Sync())
		}, "a=1", "", "a=1", "|a=1"},
		{"created, directory synced, bytes not", func(w *world) {
			f := w.create("a")
			w.must(f.WriteAt(0, []byte("1")))
			w.must(w.SyncDir("/"))
		}, "a=1", "a=", "a=1", "a=|a=1|a=\x00"},
		{"created, all synced", func(w *world) {
			f := w.create("a")
			w.must(f.WriteAt(0, []byte("1")))
			w.must(f.Sync())
			w.must(w.SyncDir("/"))
		}, "a=1", "a=1", "a=1", "a=1"},
		{"a directory's sync that failed, then one that did not", func(w *world) {
			w.create("a")
			w.FailAt(0, nil)
			w.SyncDir("/")
			w.create("b")
			w.must(w.SyncDir("/"))
		}, "a= b=", "a= b=", "a= b=", "a= b="},
		{"a directory's sync that failed", func(w *world) {
			w.create("a")
			w.FailAt(0, nil)
			w.SyncDir("/")
		}, "a=", "", "a=", "|a="},
		{"removed", func(w *world) {
			w.durable("a", "1")
			w.must(w.Remove("a"))
		}, "", "a=1", "", "|a=1"},
		{"removed, directory synced", func(w *world) {
			w.durable("a", "1")
			w.must(w.Remove("a"))
			w.must(w.SyncDir("/"))
		}, "", "", "", ""},
		{"renamed", func(w *world) {
			w.durable("a", "1")
			w.must(w.Rename("a", "b"))
		}, "b=1", "a=1", "b=1", "a=1|b=1"},
		{"renamed, directory synced", func(w *world) {
			w.durable("a", "1")
			w.must(w.Rename("a", "b"))
			w.must(w.SyncDir("/"))
		}, "b=1", "b=1", "b=1", "b=1"},
		{"renamed in place of another", func(w *world) {
			w.durable("a", "1")
			w.durable("b", "2")
			w.must(w.Rename("a", "b"))
		}, "b=1", "a=1 b=2", "b=1", "a=1 b=2|b=1"},
		{"renamed, and a new file of the old name", func(w *world) {
			w.durable("a", "1")
			w.must(w.Rename("a", "b"))
			w.create("a")
		}, "a= b=1", "a=1", "a= b=1", "a=1|b=1|a= b=1"},
		{"two names on their own", func(w *world) {
			w.create("a")
			w.create("b")
		}, "a= b=", "", "a= b=", "|a=|b=|a= b="},
		{"a new file that is renamed", func(w *world) {
			f := w.create("tmp")
			w.must(f.WriteAt(0, []byte("2")))
			w.must(w.Rename("tmp", "a"))
			w.must(w.SyncDir("/"))
		}, "a=2", "a=", "a=2", "a=|a=2|a=\x00"},
		{"renamed to another directory", func(w *world) {
			w.durable("x/a", "1")
			w.durable("y/b", "2")
			w.must(w.Rename("x/a", "y/a"))
		}, "y/a=1 y/b=2", "x/a=1 y/b=2", "y/a=1 y/b=2", "x/a=1 y/b=2|y/a=1 y/b=2"},
		{"renamed to another directory, one synced", func(w *world) {
			w.durable("x/a", "1")
			w.durable("y/b", "2")
			w.must(w.Rename("x/a", "y/a"))
			w.must(w.SyncDir("x"))
		}, "y/a=1 y/b=2", "x/a=1 y/b=2", "y/a=1 y/b=2", "x/a=1 y/b=2|y/a=1 y/b=2"},
		{"renamed to another directory, both synced", func(w *world) {
			w.durable("x/a", "1")
			w.durable("y/b", "2")
			w.must(w.Rename("x/a", "y/a"))
			w.must(w.SyncDir("y"))
			w.must(w.SyncDir("x"))
		}, "y/a=1 y/b=2", "y/a=1 y/b=2", "y/a=1 y/b=2", "y/a=1 y/b=2"},
		{"renamed to another directory, the old name new and durable", func(w *world) {
			w.durable("x/a", "1")
			w.durable("y/b", "2")
			w.must(w.Rename("x/a", "y/a"))
			w.create("x/a")
			w.must(w.SyncDir("x"))
		}, "x/a= y/a=1 y/b=2", "x/a= y/a=1 y/b=2", "x/a= y/a=1 y/b=2", "x/a= y/a=1 y/b=2"},
		{"a directory whose parent was not synced", func(w *world) {
			w.durable("x/a", "1")
			w.must(w.MkdirAll("x/y/z"))
			w.create("x/y/z/b")
			w.must(w.SyncDir("x/y/z"))
			w.must(w.SyncDir("x/y"))
		}, "x/a=1 x/y/z/b=", "x/a=1", "x/a=1 x/y/z/b=", "x/a=1|x/a=1 x/y/z/b="},
		{"a directory whose parents were synced", func(w *world) {
			w.must(w.MkdirAll("x/y"))
			w.create("x/y/a")
			for _, dir := range []string{"x/y", "x", "/"} {
				w.must(w.SyncDir(dir))
			}
		}, "x/y/a=", "x/y/a=", "x/y/a=", "x/y/a="},
		{"removed while open", func(w *world) {
			f := w.durable("a", "1")
			w.must(w.Remove("a"))
			w.must(f.WriteAt(0, []byte("2")))
			w.must(f.Sync())
		}, "", "a=2", "", "|a=2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.do(w)
			for _, end := range []struct {
				how       string
				got, want string
			}{
				{"killed", content(w.Kill()), tt.killed},
				{"none", content(w.Crash(disktest.None, nil)), tt.none},
				{"all", content(w.Crash(disktest.All, nil)), tt.all},
				{"killed, then none", content(w.Kill().Crash(disktest.None, nil)), tt.none},
				{"killed, then all", content(w.Kill().Crash(disktest.All, nil)), tt.all},
				{"none, then all", content(w.Crash(disktest.None, nil).Crash(disktest.All, nil)), tt.none},
				{"all, then none", content(w.Crash(disktest.All, nil).Crash(disktest.None, nil)), tt.all},
			} {
				if end.got != end.want {
					t.Errorf("%s leaves %q, want %q", end.how, end.got, end.want)
				}
			}
			want := slices.Sorted(slices.Values(strings.Split(tt.may, "|")))
			for how, d := range map[string]*disktest.Disk{"some": w.Disk, "killed, then some": w.Kill()} {
				if got := slices.Sorted(maps.Keys(outcomes(d))); !slices.Equal(got, want) {
					t.Errorf("%s leaves %q, want %q", how, got, want)
				}
			}
		})
	}
}

// A write is torn between sectors, in any way, but not within one.
func TestCrashTearsSectors(t *testing.T) {
	w := newWorld(t)
	before := sectors("aaaa")
	f := w.durable("a", string(before))
	w.must(f.WriteAt(100, sectors("bbb")[:3*512-200])) // all of the first three but 100 bytes at either end
	seen := map[string]bool{}
	for seed := range 500 {
		b := w.Crash(disktest.Some, seeded(seed)).Bytes("a")
		for i, want := range before {
			inside := i >= 100 && i < 3*512-100
			if c := b[i]; c != want && (c != 'b' || !inside) || inside && c != b[max(i/512*512, 100)] {
				t.Fatalf("seed %d: byte %d is %c", seed, i, c)
			}
		}
		seen[pattern(b[100:])] = true
	}
	if len(seen) != 8 {
		t.Errorf("of the 8 ways to tear three sectors there were %v", slices.Sorted(maps.Keys(seen)))
	}
}

// The length survives or not apart from the bytes, and bytes beyond it are lost.
func TestCrashTearsLength(t *testing.T) {
	w := newWorld(t)
	f := w.durable("a", string(sectors("a")))
	w.must(f.WriteAt(512, sectors("bcd")))
	written := sectors("abcd")
	lengths, zeroes := map[int]bool{}, 0
	for seed := range 500 {
		b := w.Crash(disktest.Some, seeded(seed)).Bytes("a")
		lengths[len(b)] = true
		for i, c := range b {
			if c != 0 && c != written[i] {
				t.Fatalf("seed %d: byte %d is %c", seed, i, c)
			}
		}
		if strings.Contains(pattern(b), "0") {
			zeroes++
		}
	}
	if !lengths[512] || !lengths[2048] || len(lengths) < 20 || zeroes < 50 {
		t.Errorf("%d lengths, %d with zeroes, among 500 crashes", len(lengths), zeroes)
	}
}

// The same seed leaves the same.
func TestCrashRepeats(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.must(w.create(fmt.Sprintf("f%d", i)).WriteAt(0, sectors("abcdef")))
	}
	want := content(w.Crash(disktest.Some, seeded(7)))
	for range 5 {
		if content(w.Crash(disktest.Some, seeded(7))) != want {
			t.Fatal("another outcome")
		}
	}
}

// What happens to a disk after the crash or kill does not reach the copy, nor
// the other way round.
func TestCopiesAreApart(t *testing.T) {
	w := newWorld(t)
	f := w.durable("a", "1")
	w.must(f.WriteAt(0, []byte("2")))
	crashed, killed := w.Crash(disktest.None, nil), w.Kill()
	w.must(f.WriteAt(0, []byte("3")))
	w.must(f.Sync())
	w.must(w.Rename("a", "b"))
	w.must(w.SyncDir("/"))
	k, err := killed.Open("a")
	w.must(err)
	w.must(k.WriteAt(1, []byte("4")))
	w.must(k.Sync())
	for _, end := range []struct{ got, want string }{
		{content(crashed), "a=1"},
		{content(killed), "a=24"},
		{content(w.Crash(disktest.None, nil)), "b=3"},
	} {
		if end.got != end.want {
			t.Errorf("got %q, want %q", end.got, end.want)
		}
	}
}
