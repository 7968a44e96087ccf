package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// longest is the longest source line that is used, in bytes. Go has one of
// half a megabyte, longer than qd's blocks, and one that qd would refuse.
const longest = 1_000_000

// realText writes a real text of n lines to a file and returns its name: the
// Go sources of this machine the way grep -n prints them, file, line number
// and text, from the beginning again (marked as such) when they are at their
// end. Left out are blank source lines, and the few that are longer than qd
// takes a message by default. Every line is unlike every other, so
// that a line that is missing and one that came twice can be told apart.
func realText(t *testing.T, n int) string {
	t.Helper()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("asking for GOROOT: %v", err)
	}
	name := filepath.Join(t.TempDir(), "input")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := &lineWriter{Writer: bufio.NewWriterSize(f, 1<<20), left: n}
	for pass := 1; w.left > 0; pass++ {
		before := w.left
		if err := w.sources(strings.TrimSpace(string(goroot)), pass); err != nil {
			t.Fatal(err)
		}
		if w.left == before {
			t.Fatalf("no Go sources in %s", goroot)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return name
}

type lineWriter struct {
	*bufio.Writer
	left int // lines still to write
}

func (w *lineWriter) sources(goroot string, pass int) error {
	root := os.DirFS(filepath.Join(goroot, "src"))
	return fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case w.left == 0:
			return fs.SkipAll
		case !d.Type().IsRegular() || filepath.Ext(name) != ".go":
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		number := 0
		for line := range bytes.Lines(text) {
			number++
			if line = bytes.TrimRight(line, "\n"); len(bytes.TrimSpace(line)) == 0 || len(line) > longest {
				continue
			}
			if w.left == 0 {
				return fs.SkipAll
			}
			if _, err := fmt.Fprintf(w, "%d:%s:%d:%s\n", pass, name, number, line); err != nil {
				return err
			}
			w.left--
		}
		return nil
	})
}
