package disktest_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

func TestFile(t *testing.T) {
	w := newWorld(t)
	f := w.create("/a")
	w.must(f.WriteAt(2, []byte("cd"), nil, []byte("ef")))
	w.must(f.WriteAt(1, []byte("b")))
	if got := string(w.Bytes("a")); got != "\x00bcdef" {
		t.Fatalf("a holds %q", got)
	}
	b := make([]byte, 4)
	for _, tt := range []struct {
		off  int64
		want string
		err  error
	}{{1, "bcde", nil}, {2, "cdef", nil}, {4, "ef", io.EOF}, {6, "", io.EOF}, {9, "", io.EOF}} {
		if n, err := f.ReadAt(b, tt.off); string(b[:n]) != tt.want || err != tt.err {
			t.Errorf("at %d: %q, %v, want %q, %v", tt.off, b[:n], err, tt.want, tt.err)
		}
	}
	w.must(f.Truncate(3))
	if size, err := f.Size(); size != 3 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
}

// An open file stays what it is under another name, under none, and when
// another file takes its name.
func TestOpenFileOutlivesItsName(t *testing.T) {
	w := newWorld(t)
	renamed, removed, replaced := w.durable("a", "1"), w.durable("b", "2"), w.durable("c", "3")
	w.must(w.Rename("a", "c"))
	w.must(w.Remove("b"))
	for f, want := range map[disk.File]string{renamed: "1+", removed: "2+", replaced: "3+"} {
		w.must(f.WriteAt(1, []byte("+")))
		b := make([]byte, 2)
		if _, err := f.ReadAt(b, 0); err != nil || string(b) != want {
			t.Errorf("read %q, %v, want %q", b, err, want)
		}
	}
	if got := content(w.Disk); got != "c=1+" {
		t.Errorf("files %q", got)
	}
}

func TestClosed(t *testing.T) {
	w := newWorld(t)
	f, g := w.durable("a", "1"), w.open("a")
	if n := w.Handles(); n != 2 {
		t.Errorf("%d handles, want 2", n)
	}
	w.must(f.Close())
	if n := w.Handles(); n != 1 {
		t.Errorf("%d handles, want 1", n)
	}
	writes, reads := w.Operations(), w.Reads()
	_, readErr := f.ReadAt(make([]byte, 1), 0)
	_, sizeErr := f.Size()
	for what, err := range map[string]error{
		"read": readErr, "size": sizeErr, "write": f.WriteAt(0, nil), "sync": f.Sync(), "truncate": f.Truncate(0), "close": f.Close(),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: %v, want fs.ErrClosed", what, err)
		}
	}
	if w.Operations() != writes || w.Reads() != reads {
		t.Error("the disk has seen operations of a closed file")
	}
	w.must(g.Sync())
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.durable("dir/a", "1")
	w.durable("file", "2")
	w.must(w.MkdirAll("empty"))
	before := content(w.Disk)
	err := func(_ any, err error) error { return err }
	tests := []struct {
		what      string
		err, want error
	}{
		{"create what is there", err(w.Create("file")), fs.ErrExist},
		{"create the root", err(w.Create("/")), fs.ErrExist},
		{"create in nothing", err(w.Create("x/y")), fs.ErrNotExist},
		{"create in a file", err(w.Create("file/y")), syscall.ENOTDIR},
		{"open nothing", err(w.Open("x")), fs.ErrNotExist},
		{"open a directory", err(w.Open("dir")), syscall.EISDIR},
		{"mkdir in a file", w.MkdirAll("file/x"), syscall.ENOTDIR},
		{"list nothing", err(w.List("x")), fs.ErrNotExist},
		{"list a file", err(w.List("file")), syscall.ENOTDIR},
		{"sync no directory", w.SyncDir("x"), fs.ErrNotExist},
		{"sync a file as a directory", w.SyncDir("file"), syscall.ENOTDIR},
		{"free of nothing", func() error { _, _, err := w.Space("x"); return err }(), fs.ErrNotExist},
		{"remove nothing", w.Remove("x"), fs.ErrNotExist},
		{"remove a full directory", w.Remove("dir"), syscall.ENOTEMPTY},
		{"remove the root", w.Remove("/"), syscall.EBUSY},
		{"rename nothing", w.Rename("x", "y"), fs.ErrNotExist},
		{"rename to nowhere", w.Rename("file", "x/y"), fs.ErrNotExist},
		{"rename to a directory", w.Rename("file", "empty"), fs.ErrExist},
		{"rename a directory to a file", w.Rename("dir", "file"), syscall.ENOTDIR},
		{"rename a directory into itself", w.Rename("dir", "dir/x"), syscall.EINVAL},
		{"rename the root", w.Rename("/", "x"), syscall.EINVAL},
		{"rename to the same", w.Rename("file", "./file"), nil},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, tt.err, tt.want)
		}
	}
	if got := content(w.Disk); got != before {
		t.Errorf("files %q, want %q", got, before)
	}
}

func TestDirectories(t *testing.T) {
	w := newWorld(t)
	w.must(w.MkdirAll("x/y/z"))
	w.must(w.MkdirAll("x/y"))
	w.must(w.create("x/y/b").WriteAt(0, []byte("1")))
	w.create("x/y/a")
	w.must(w.Rename("x/y", "w"))
	if names, err := w.List("w"); err != nil || !slices.Equal(names, []string{"a", "b", "z"}) {
		t.Errorf("names %q, %v", names, err)
	}
	w.must(w.Remove("w/z"))
	w.must(w.Remove("x"))
	if names, err := w.List("/"); err != nil || !slices.Equal(names, []string{"w"}) {
		t.Errorf("names %q, %v", names, err)
	}
}

func TestCapacity(t *testing.T) {
	w := newWorld(t)
	w.SetCapacity(10)
	free := func(want uint64) {
		t.Helper()
		if n, _, err := w.Space("/"); n != want || err != nil {
			t.Fatalf("%d bytes free, %v, want %d", n, err, want)
		}
	}
	f := w.create("a")
	w.must(f.WriteAt(0, []byte("12345678")))
	free(2)
	err := f.WriteAt(8, []byte("9"), []byte("abc"))
	if pe, ok := errors.AsType[*fs.PathError](err); !ok || pe.Path != "a" || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write without room: %v", err)
	}
	if got := string(w.Bytes("a")); got != "123456789a" {
		t.Fatalf("a holds %q, want what there was room for", got)
	}
	free(0)
	w.must(f.WriteAt(0, []byte("0000"))) // takes no more room
	for what, err := range map[string]error{"write far behind the end": f.WriteAt(100, []byte("1")), "truncate": f.Truncate(11)} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v, want ENOSPC", what, err)
		}
	}
	w.must(f.Truncate(6))
	free(4)
	g := w.create("b")
	w.must(g.WriteAt(0, []byte("12")))
	w.must(w.Remove("b"))
	free(2) // it is still open
	for _, d := range []*disktest.Disk{w.Kill(), w.Crash(disktest.All, nil)} {
		if n, size, err := d.Space("/"); n != 4 || size != 10 || err != nil {
			t.Errorf("%d of %d bytes free after an end, %v, want 4 of 10", n, size, err)
		}
	}
	w.must(g.Close())
	free(4)
	w.create("c")
	w.must(w.Rename("a", "c"))
	free(4)
	w.must(w.Remove("c"))
	w.must(f.Close())
	free(10)
	w.SetBytes("d", []byte("123"))
	free(7)
	w.SetCapacity(2)
	free(0)
}

func TestDamage(t *testing.T) {
	w := newWorld(t)
	f := w.durable("x/a", "123")
	w.must(f.WriteAt(1, []byte("9")))
	w.Flip("x/a", 0, 0x06)
	w.SetBytes("x/y/b", []byte("new"))
	w.SetBytes("x/y/b", []byte("set"))
	const want = "x/a=793 x/y/b=set"
	for _, d := range []*disktest.Disk{w.Disk, w.Kill(), w.Crash(disktest.None, nil), w.Crash(disktest.Some, seeded(1))} {
		if got := content(d); got != want {
			t.Errorf("files %q, want %q", got, want)
		}
	}
	w.Bytes("x/a")[0] = 'z'
	if got := content(w.Disk); got != want {
		t.Errorf("files %q after Bytes was written to", got)
	}
	for what, f := range map[string]func(){
		"Bytes of nothing": func() { w.Bytes("z") }, "Bytes of a directory": func() { w.Bytes("x") },
		"Flip behind the end": func() { w.Flip("x/a", 3, 1) }, "Flip of nothing": func() { w.Flip("x/a", 0, 0) },
		"SetBytes of a directory": func() { w.SetBytes("x", nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", what)
				}
			}()
			f()
		}()
	}
}

// Several goroutines use a disk, files of their own and one they share.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t)
	shared := w.durable("shared", "0123456789")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			path := fmt.Sprintf("f%d", i)
			f, err := w.Create(path)
			for range 50 {
				_, readErr := shared.ReadAt(make([]byte, 4), 2)
				err = errors.Join(err, readErr, f.WriteAt(0, []byte(path)), f.Sync(), shared.WriteAt(int64(i), []byte{'x'}), shared.Sync(), w.SyncDir("/"))
				w.Crash(disktest.Some, seeded(i))
				w.Kill()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, want := content(w.Crash(disktest.None, nil)), "f0=f0 f1=f1 f2=f2 f3=f3 shared=xxxx456789"; got != want {
		t.Errorf("files %q, want %q", got, want)
	}
}
