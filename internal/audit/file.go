package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// File is lines that are appended to. It is opened anew when it was moved away, as
// logrotate does it. Its methods are for one goroutine, but for Hurry.
type File struct {
	path string
	f    atomic.Pointer[os.File] // nil while it is closed

	part []byte // of a line, which the disk has taken before it was full
	torn bool   // the file has a line without its end, as a crash leaves it

	end atomic.Int64 // when writes are to be given up, ns since the Unix epoch; 0: never
}

// OpenFile opens a file, which is made with mode 0600 if it is not there. The error
// names the setting.
func OpenFile(path string) (*File, error) {
	f := &File{path: path}
	return f, f.open()
}

// open opens it, or opens it anew. A pipe that nobody reads must not hold up a start.
func (f *File) open() error {
	was := f.f.Load()
	opened, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("audit-file %s: cannot be opened for writing: %w", f.path, err)
	}
	if was == nil || !same(was, opened) {
		f.part, f.torn = nil, !endsWell(f.path)
	}
	f.f.Store(opened)
	if was != nil {
		_ = was.Close()
	}
	f.hurry()
	return nil
}

func same(a, b *os.File) bool {
	x, err := a.Stat()
	y, err2 := b.Stat()
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// endsWell reports whether a file is empty or ends with a newline.
func endsWell(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return true
	}
	// #nosec G304 -- the operator's file
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var end [1]byte
	_, err = f.ReadAt(end[:], info.Size()-1)
	return err == nil && end[0] == '\n'
}

// Append appends whole lines, with one call of the system, so that those of several
// processes do not mix. It returns how many bytes of them are in the file as whole lines.
// All others are to be given again, if they still matter: of the first of them a part may
// be in the file, which is gone on with.
func (f *File) Append(lines []byte) (taken int, err error) {
	if f.moved() {
		_ = f.Close()
	}
	if f.f.Load() == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	if f.torn || !bytes.HasPrefix(lines, f.part) {
		f.torn = true // until that line has an end
		if _, err := f.f.Load().Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		f.torn, f.part = false, nil
	}
	n, err := f.f.Load().Write(lines[len(f.part):])
	n += len(f.part)
	if err == nil {
		f.part = nil
		return n, nil
	}
	whole := bytes.LastIndexByte(lines[:n], '\n') + 1
	f.part = bytes.Clone(lines[whole:n])
	return whole, err // an os.PathError, which names the file
}

// Reopen closes the file and opens what has its name now. If that fails, the old one
// stays in use.
func (f *File) Reopen() error { return f.open() }

// moved reports whether the file is no more where it was opened, as after a rotation
// of logs.
func (f *File) moved() bool {
	opened := f.f.Load()
	if opened == nil {
		return false
	}
	there, err := os.Stat(f.path)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	ours, err := opened.Stat()
	return err != nil || !os.SameFile(there, ours)
}

// Hurry has writes given up that take longer than until end: a pipe may have nobody
// who reads it. It may be called by any goroutine.
func (f *File) Hurry(end time.Time) {
	f.end.Store(end.UnixNano())
	f.hurry()
}

func (f *File) hurry() {
	opened, end := f.f.Load(), f.end.Load()
	if opened != nil && end != 0 {
		_ = opened.SetWriteDeadline(time.Unix(0, end)) // files on a disk have none
	}
}

// Close closes the file. What is appended later opens it anew.
func (f *File) Close() error {
	opened := f.f.Swap(nil)
	if opened == nil {
		return nil
	}
	return opened.Close()
}
