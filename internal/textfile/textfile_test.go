package textfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/textfile"
)

func write(t *testing.T, path, text string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestChanged(t *testing.T) {
	long := time.Now().Add(-time.Hour)
	path := filepath.Join(t.TempDir(), "rules")
	f := textfile.New("rules-file", path)
	for _, step := range []struct {
		what string
		do   func()
		want bool
	}{
		{"it is not there", func() {}, false},
		{"it comes", func() { write(t, path, "a", long) }, true},
		{"nothing happens", func() {}, false},
		{"another time", func() { write(t, path, "b", long.Add(time.Second)) }, true},
		{"another size", func() { write(t, path, "bb", long.Add(time.Second)) }, true},
		{"another file in its place", func() {
			write(t, path+".new", "cc", long.Add(time.Second))
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"it is to be read again", f.Recheck, true},
		{"nothing happens again", func() {}, false},
		{"just now", func() { write(t, path, "dd", time.Now()) }, true},
		{"it may have changed within the same tick", func() {}, true},
		{"it goes", func() { _ = os.Remove(path) }, true},
		{"it is away", func() {}, false},
	} {
		step.do()
		if got := f.Changed(); got != step.want {
			t.Errorf("%s: %v", step.what, got)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rules")
	f := textfile.New("rules-file", path)
	wrong := func(f *textfile.File, want string) {
		t.Helper()
		if text, err := f.Read(); err == nil || text != nil || !strings.HasPrefix(err.Error(), "rules-file ") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%d bytes, %v; want %q", len(text), err, want)
		}
	}
	wrong(f, "there is no such file")
	wrong(textfile.New("rules-file", dir), "is no file")
	wrong(textfile.New("rules-file", "/dev/zero"), "is no file")
	write(t, path, strings.Repeat("x", 4<<20), time.Now())
	if text, err := f.Read(); err != nil || len(text) != 4<<20 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	write(t, path, strings.Repeat("x", 4<<20+1), time.Now())
	wrong(f, "must not have more than 4194304 bytes")
}
