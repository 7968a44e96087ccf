package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millrace-mq/millrace/qd/disk"
)

func create(t *testing.T, path string) disk.File {
	t.Helper()
	f, err := disk.OS.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestWriteAt(t *testing.T) {
	many := make([][]byte, 2500) // beyond what one pwritev takes
	for i := range many {
		many[i] = fmt.Appendf(nil, "%d,", i)
		if i%7 == 0 {
			many[i] = nil
		}
	}
	tests := []struct {
		name    string
		off     int64
		buffers [][]byte
	}{
		{"none", 0, nil},
		{"one", 0, [][]byte{[]byte("abc")}},
		{"one behind the end", 5000, [][]byte{[]byte("abc")}},
		{"two", 3, [][]byte{[]byte("abc"), []byte("defg")}},
		{"empty ones", 3, [][]byte{nil, []byte("abc"), {}, []byte("d"), nil}},
		{"only empty ones", 3, [][]byte{nil, {}}},
		{"many", 1, many},
		{"large", 10, [][]byte{bytes.Repeat([]byte{1}, 3<<20), bytes.Repeat([]byte{2}, 5<<20)}},
		{"beyond 4 GiB", 5 << 30, [][]byte{[]byte("abc"), []byte("defg")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := create(t, filepath.Join(t.TempDir(), "f"))
			if err := f.WriteAt(tt.off, tt.buffers...); err != nil {
				t.Fatal(err)
			}
			want := bytes.Join(tt.buffers, nil)
			size, err := f.Size()
			if end := tt.off + int64(len(want)); err != nil || len(want) > 0 && size != end || len(want) == 0 && size != 0 {
				t.Fatalf("size %d (%v), want %d", size, err, end)
			}
			got := make([]byte, len(want))
			if _, err := f.ReadAt(got, tt.off); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("read something else than was written (%v)", err)
			}
		})
	}
}

// A failed write of several buffers names the file, as every error does.
func TestWriteFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f := create(t, path)
	err := f.WriteAt(-1, []byte("a"), []byte("b"))
	if pe, ok := errors.AsType[*fs.PathError](err); !ok || pe.Path != path {
		t.Fatalf("error %v, want one that names %s", err, path)
	}
}

// WriteAt's list of buffers is used again.
func TestWriteAtAllocates(t *testing.T) {
	f := create(t, filepath.Join(t.TempDir(), "f"))
	buffers := [][]byte{[]byte("abc"), []byte("def")}
	got := testing.AllocsPerRun(100, func() {
		if err := f.WriteAt(0, buffers...); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations a write, want none", got)
	}
}

func TestFile(t *testing.T) {
	f := create(t, filepath.Join(t.TempDir(), "f"))
	if err := f.WriteAt(0, []byte("hello"), []byte(" world")); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(4); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	if n, err := f.ReadAt(b, 0); n != 4 || err != io.EOF || string(b[:4]) != "hell" {
		t.Fatalf("read %q, %v", b[:n], err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, sizeErr := f.Size()
	_, readErr := f.ReadAt(b, 0)
	for what, err := range map[string]error{
		"write of one": f.WriteAt(0, b), "write of two": f.WriteAt(0, b, b), "sync": f.Sync(),
		"truncate": f.Truncate(0), "size": sizeErr, "read": readErr, "close": f.Close(),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s of a closed file: %v, want fs.ErrClosed", what, err)
		}
	}
}

func TestNames(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b")
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(disk.OS.MkdirAll(dir))
	must(disk.OS.MkdirAll(dir))
	for _, name := range []string{"c", "a", "b"} {
		must(create(t, at(name)).WriteAt(0, []byte(name)))
	}
	must(disk.OS.Rename(at("c"), at("b")))
	must(disk.OS.Remove(at("a")))
	must(disk.OS.SyncDir(dir))
	if names, err := disk.OS.List(dir); err != nil || !slices.Equal(names, []string{"b"}) {
		t.Errorf("list %q, %v", names, err)
	}
	f, err := disk.OS.Open(at("b"))
	must(err)
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "c" {
		t.Errorf("b holds %q, %v", b, err)
	}
	must(f.WriteAt(0, []byte("x"))) // Open is for writing too
	must(f.Close())
	for path, mode := range map[string]fs.FileMode{dir: 0o700, filepath.Join(root, "a"): 0o700, at("b"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v (%v), want %v", path, info.Mode(), err, mode)
		}
	}
	if free, size, err := disk.OS.Space(dir); err != nil || free == 0 || size < free {
		t.Errorf("%d of %d bytes free, %v", free, size, err)
	}
}

func TestReasons(t *testing.T) {
	dir := t.TempDir()
	there, missing := filepath.Join(dir, "there"), filepath.Join(dir, "missing")
	create(t, there)
	_, again := disk.OS.Create(there)
	_, open := disk.OS.Open(missing)
	_, list := disk.OS.List(missing)
	_, _, space := disk.OS.Space(missing)
	tests := []struct {
		what      string
		err, want error
	}{
		{"create again", again, fs.ErrExist},
		{"open", open, fs.ErrNotExist},
		{"list", list, fs.ErrNotExist},
		{"space", space, fs.ErrNotExist},
		{"rename", disk.OS.Rename(missing, there), fs.ErrNotExist},
		{"remove", disk.OS.Remove(missing), fs.ErrNotExist},
		{"sync of a directory", disk.OS.SyncDir(missing), fs.ErrNotExist},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, tt.err, tt.want)
		}
	}
}
