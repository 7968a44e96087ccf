// Package archivetest is a disk in memory for tests of what writes archives:
// any of its operations can be made to fail, and it can be crashed, after
// which only what was synced is left.
package archivetest

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"sync"

	"github.com/millrace-mq/millrace/apps/to_file/archive"
)

// Disk is an archive.FS in memory. It starts with the directories "/" and ".".
type Disk struct {
	// Fail, if set, is asked before every operation; what it returns is the
	// operation's error. A write that fails has written half of its bytes.
	// It runs with the disk locked and must not use it. Set it before use.
	Fail func(op, path string) error

	mu      sync.Mutex
	live    map[string]*inode // as a running process sees it
	durable map[string]*inode // directory entries that would survive a crash
	open    int
}

type inode struct {
	dir    bool
	data   []byte
	synced int // how much of data would survive a crash
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	d := &Disk{live: map[string]*inode{"/": {dir: true}, ".": {dir: true}}}
	d.durable = maps.Clone(d.live)
	return d
}

// Put creates a file as another process would have, safely, with the
// directory that it is in.
func (d *Disk) Put(path, content string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range []map[string]*inode{d.live, d.durable} {
		m[filepath.Dir(path)] = &inode{dir: true}
	}
	d.live[path] = &inode{data: []byte(content), synced: len(content)}
	d.durable[path] = d.live[path]
}

// Files returns the content of every file, by path.
func (d *Disk) Files() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return contents(d.live, func(n *inode) int { return len(n.data) })
}

// AfterCrash returns what Files would if the machine lost its power now.
func (d *Disk) AfterCrash() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := map[string]*inode{}
	for path, n := range d.durable {
		if d.reachable(path) {
			kept[path] = n
		}
	}
	return contents(kept, func(n *inode) int { return n.synced })
}

// reachable reports whether every directory above path is durable.
func (d *Disk) reachable(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if d.durable[dir] == nil {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

func contents(entries map[string]*inode, length func(*inode) int) map[string]string {
	files := map[string]string{}
	for path, n := range entries {
		if !n.dir {
			files[path] = string(n.data[:length(n)])
		}
	}
	return files
}

// OpenFiles returns the number of files that are open.
func (d *Disk) OpenFiles() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// begin locks the disk for an operation, unless that is to fail.
func (d *Disk) begin(op, path string) error {
	d.mu.Lock()
	if d.Fail == nil {
		return nil
	}
	if err := d.Fail(op, path); err != nil {
		d.mu.Unlock()
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

// Exists implements archive.FS.
func (d *Disk) Exists(path string) (bool, error) {
	if err := d.begin("stat", path); err != nil {
		return false, err
	}
	defer d.mu.Unlock()
	return d.live[path] != nil, nil
}

// Mkdir implements archive.FS.
func (d *Disk) Mkdir(path string) error {
	if err := d.begin("mkdir", path); err != nil {
		return err
	}
	defer d.mu.Unlock()
	return d.enter("mkdir", path, &inode{dir: true})
}

func (d *Disk) enter(op, path string, n *inode) error {
	if d.live[path] != nil {
		return &fs.PathError{Op: op, Path: path, Err: fs.ErrExist}
	}
	if d.live[filepath.Dir(path)] == nil {
		return &fs.PathError{Op: op, Path: path, Err: fs.ErrNotExist}
	}
	d.live[path] = n
	return nil
}

// Open implements archive.FS.
func (d *Disk) Open(path string, exclusive bool) (archive.File, error) {
	if err := d.begin("open", path); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	n := d.live[path]
	if n == nil || exclusive {
		n = &inode{}
		if err := d.enter("open", path, n); err != nil {
			return nil, err
		}
	}
	d.open++
	return &file{disk: d, path: path, node: n}, nil
}

// Link implements archive.FS.
func (d *Disk) Link(from, to string) error {
	if err := d.begin("link", from); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if d.live[from] == nil {
		return &fs.PathError{Op: "link", Path: from, Err: fs.ErrNotExist}
	}
	return d.enter("link", to, d.live[from])
}

// Remove implements archive.FS.
func (d *Disk) Remove(path string) error {
	if err := d.begin("remove", path); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if d.live[path] == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	delete(d.live, path)
	return nil
}

// SyncDir implements archive.FS.
func (d *Disk) SyncDir(dir string) error {
	if err := d.begin("syncdir", dir); err != nil {
		return err
	}
	defer d.mu.Unlock()
	maps.DeleteFunc(d.durable, func(path string, _ *inode) bool {
		return path != dir && filepath.Dir(path) == dir && d.live[path] == nil
	})
	for path, n := range d.live {
		if filepath.Dir(path) == dir {
			d.durable[path] = n
		}
	}
	return nil
}

type file struct {
	disk   *Disk
	path   string
	node   *inode
	closed bool
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
	if err := f.begin("write"); err != nil {
		f.disk.mu.Lock()
		defer f.disk.mu.Unlock()
		f.node.data = append(f.node.data, p[:len(p)/2]...)
		return len(p) / 2, err
	}
	defer f.disk.mu.Unlock()
	f.node.data = append(f.node.data, p...)
	return len(p), nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.begin("read"); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	if off < 0 || off >= int64(len(f.node.data)) {
		return 0, fmt.Errorf("read %s at %d: %w", f.path, off, io.EOF)
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

func (f *file) Sync() error {
	if err := f.begin("sync"); err != nil {
		return err
	}
	defer f.disk.mu.Unlock()
	f.node.synced = len(f.node.data)
	return nil
}

func (f *file) Close() error {
	// Like the system's close, it gives the file back even when it fails.
	err := f.begin("close")
	if err != nil {
		f.disk.mu.Lock()
	}
	defer f.disk.mu.Unlock()
	if !f.closed {
		f.closed = true
		f.disk.open--
	}
	return err
}
