// Package textfile reads files that an operator writes and changes while a daemon runs:
// who may do what, who may sign in. It knows when to read one again.
package textfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// maxBytes is what such a file may have at most.
	maxBytes = 4 << 20
	// settled is how old a file's time of change must be for another change to have
	// another one: file systems count it in milliseconds, some in seconds.
	settled = 2 * time.Second
)

// File is one of them. It is used by one goroutine at a time.
type File struct {
	flag, path string
	seen       os.FileInfo // when it was last looked at; nil if it was not there
	fresh      bool        // it had just changed then, and may again without another time of change
}

// New returns the file at path, which the setting called flag names: errors begin with
// that. Nothing is read yet.
func New(flag, path string) *File { return &File{flag: flag, path: path} }

// Changed reports whether the file may be another than at the last call, or at the
// first. It is called before Read: so what changes in between is read again.
func (f *File) Changed() bool {
	info, err := os.Stat(f.path)
	if err != nil {
		info = nil
	}
	changed := f.fresh || !same(info, f.seen)
	f.seen, f.fresh = info, info != nil && time.Since(info.ModTime()) < settled
	return changed
}

// Recheck has the next Changed say so, whatever it finds.
func (f *File) Recheck() { f.fresh = true }

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// Read returns what is in the file. The error is a line that says which setting and
// file it is about, and what is wrong with it.
func (f *File) Read() ([]byte, error) {
	if info, err := os.Stat(f.path); err == nil && !info.Mode().IsRegular() { // a pipe would have us wait
		return nil, fmt.Errorf("%s %s: is no file", f.flag, f.path)
	}
	file, err := os.Open(f.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s %s: there is no such file", f.flag, f.path)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%s %s: this process may not read it: change its owner or mode", f.flag, f.path)
	case err != nil:
		return nil, fmt.Errorf("%s %s: cannot be read: %w", f.flag, f.path, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: cannot be read: %w", f.flag, f.path, err)
	}
	if len(text) > maxBytes {
		return nil, fmt.Errorf("%s %s: must not have more than %d bytes", f.flag, f.path, maxBytes)
	}
	return text, nil
}
