package archivetest

import (
	"io"
	"io/fs"
)

// file is an open file or a lock.
type file struct {
	disk   *Disk
	path   string
	node   *inode
	closed bool
	shared bool // how it has locked the node
	alone  bool
}

func (f *file) begin(op string) error {
	if err := f.disk.begin(op, f.path); err != nil {
		return err
	}
	if f.closed {
		f.disk.mu.Unlock()
		return &fs.PathError{Op: op, Path: f.path, Err: fs.ErrClosed}
	}
	return nil
}

func (f *file) Write(p []byte) (int, error) {
	err := f.begin("write")
	if err != nil {
		f.disk.mu.Lock()
		p = half(p, err)
	}
	defer f.disk.mu.Unlock()
	f.node.data = append(f.node.data, p...)
	return len(p), err
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	err := f.begin("write")
	if err != nil {
		f.disk.mu.Lock()
		p = half(p, err)
	}
	defer f.disk.mu.Unlock()
	if short := int(at) + len(p) - len(f.node.data); short > 0 {
		f.node.data = append(f.node.data, make([]byte, short)...)
	}
	copy(f.node.data[at:], p)
	return len(p), err
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.begin("read"); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	if off < 0 || off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Size() (int64, error) {
	if err := f.begin("size"); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	return int64(len(f.node.data)), nil
}

func (f *file) Truncate(size int64) error {
	if err := f.begin("truncate"); err != nil {
		return err
	}
	defer f.disk.mu.Unlock()
	f.node.data = f.node.data[:size]
	return nil
}

// Lock implements archive.File. Where it would wait, it panics: a test has one
// goroutine.
func (f *file) Lock(alone bool) (bool, error) {
	if err := f.begin("flock"); err != nil {
		return false, err
	}
	defer f.disk.mu.Unlock()
	f.unlock()
	switch n := f.node; {
	case alone && (n.alone || n.shared > 0):
		return false, nil
	case alone:
		f.alone, n.alone = true, true
	case n.alone:
		panic("waits for ever for " + f.path)
	default:
		f.shared = true
		n.shared++
	}
	return true, nil
}

func (f *file) unlock() {
	if f.alone {
		f.node.alone = false
	}
	if f.shared {
		f.node.shared--
	}
	f.alone, f.shared = false, false
}

func (f *file) Sync() error {
	if err := f.begin("sync"); err != nil {
		return err
	}
	defer f.disk.mu.Unlock()
	f.node.device = append(f.node.device[:0], f.node.data...)
	return nil
}

// Named implements archive.File.
func (f *file) Named() (bool, error) {
	if err := f.begin("size"); err != nil {
		return false, err
	}
	defer f.disk.mu.Unlock()
	for _, n := range f.disk.live {
		if n == f.node {
			return true, nil
		}
	}
	return false, nil
}

func (f *file) Close() error {
	// Like the system's close, it gives the file back even when it fails.
	err := f.disk.begin("close", f.path)
	if err != nil {
		f.disk.mu.Lock()
	}
	defer f.disk.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	f.unlock()
	f.disk.open--
	return err
}
