package disktest

import (
	"bytes"
	"io"
	"io/fs"
	"syscall"
)

// file is a handle. It goes on working when the file is renamed or removed.
type file struct {
	disk   *Disk
	node   *node
	path   string // under which it was opened
	closed bool
}

// begin takes the disk's lock. With an error it is not held.
func (f *file) begin(op string, fault func(op, path string) error) error {
	f.disk.mu.Lock()
	err := f.usable(op)
	if err == nil {
		err = fault(op, f.path)
	}
	if err != nil {
		f.disk.mu.Unlock()
	}
	return err
}

// usable is fs.ErrClosed for a closed file, which the disk does not see: it
// counts no operation.
func (f *file) usable(op string) error {
	if f.closed {
		return &fs.PathError{Op: op, Path: f.path, Err: fs.ErrClosed}
	}
	return nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.begin("read", f.disk.faults.read); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	switch {
	case off < 0:
		return 0, &fs.PathError{Op: "read", Path: f.path, Err: syscall.EINVAL}
	case off >= int64(len(f.node.data)) && len(p) > 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(off int64, buffers ...[]byte) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable("write"); err != nil {
		return err
	}
	if off < 0 {
		return &fs.PathError{Op: "write", Path: f.path, Err: syscall.EINVAL}
	}
	b := bytes.Join(buffers, nil)
	if err := f.disk.faults.write("write", f.path); err != nil {
		if rng := f.disk.tear; rng != nil {
			f.write(off, b[:rng.IntN(len(b)+1)])
		}
		return err
	}
	if !f.write(off, b) {
		return &fs.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
	}
	return nil
}

// write writes what there is room for and reports whether that was all.
func (f *file) write(off int64, b []byte) bool {
	size := int64(len(f.node.data))
	fits := max(0, size+f.disk.room()-off)
	whole := int64(len(b)) <= fits
	if !whole {
		b = b[:fits]
	}
	if len(b) > 0 {
		f.change(edit{off: off, data: b})
	}
	return whole
}

// change edits the file and counts the space that it takes or gives back.
func (f *file) change(e edit) {
	before := len(f.node.data)
	f.node.change(e)
	f.disk.used += int64(len(f.node.data) - before)
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable("sync"); err != nil {
		return err
	}
	err := f.disk.faults.write("sync", f.path)
	f.node.sync(err == nil)
	return err
}

func (f *file) Truncate(size int64) error {
	if err := f.begin("truncate", f.disk.faults.write); err != nil {
		return err
	}
	defer f.disk.mu.Unlock()
	switch {
	case size < 0:
		return &fs.PathError{Op: "truncate", Path: f.path, Err: syscall.EINVAL}
	case size-int64(len(f.node.data)) > f.disk.room():
		return &fs.PathError{Op: "truncate", Path: f.path, Err: syscall.ENOSPC}
	}
	f.change(edit{off: size, cut: true})
	return nil
}

func (f *file) Size() (int64, error) {
	if err := f.begin("stat", f.disk.faults.read); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	return int64(len(f.node.data)), nil
}

// Close never fails and is no operation of the disk.
func (f *file) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable("close"); err != nil {
		return err
	}
	f.closed = true
	f.node.handles--
	f.disk.handles--
	f.disk.release(f.node)
	return nil
}
