// Package archivetest is a disk in memory for tests of what writes archives:
// any of its operations can be made to fail, it can be full, its processes can
// be killed, and its power can be cut, after which only what was synced is left.
package archivetest

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/millrace-mq/millrace/apps/to_file/archive"
)

// Disk is an archive.FS in memory. It starts with the directories "/" and ".".
type Disk struct {
	// Fail, if set, is asked before every operation; what it returns is the
	// operation's error. A write that fails has written half of its bytes, unless
	// it fails with ErrKilled. Fail runs with the disk locked and must not use it.
	// Set it before use.
	Fail func(op, path string) error

	// NoLinks makes Link fail as on FAT. OtherDevice, if set, is a directory on
	// a file system of its own.
	NoLinks     bool
	OtherDevice string

	mu      sync.Mutex
	live    map[string]*inode // as a running process sees it
	durable map[string]*inode // directory entries that would survive a power cut
	open    int
}

// ErrKilled is for Fail to return for all that comes after the moment at which
// a process is to be killed: the process does not notice, and does nothing.
var ErrKilled = errors.New("killed")

// half is what a failed write has written.
func half(p []byte, err error) []byte {
	if errors.Is(err, ErrKilled) {
		return nil
	}
	return p[:len(p)/2]
}

type inode struct {
	dir    bool
	data   []byte
	device []byte // what would survive a power cut
	shared int    // how many have locked it with others
	alone  bool   // whether one has locked it alone

	renamed string // the name that it was given last by Rename
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
	d.live[path] = &inode{data: []byte(content), device: []byte(content)}
	d.durable[path] = d.live[path]
}

// Files returns the content of every file, by path, but for those that are
// hidden, or in a hidden directory.
func (d *Disk) Files() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return contents(d.live, func(n *inode) []byte { return n.data })
}

// AfterCrash returns what Files would if the machine lost its power now.
func (d *Disk) AfterCrash() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return contents(d.kept(), func(n *inode) []byte { return n.device })
}

// kept returns the entries that would survive a power cut.
func (d *Disk) kept() map[string]*inode {
	kept := map[string]*inode{}
	for path, n := range d.durable {
		if d.reachable(path) {
			kept[path] = n
		}
	}
	return kept
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

func contents(entries map[string]*inode, data func(*inode) []byte) map[string]string {
	files := map[string]string{}
	for path, n := range entries {
		if !n.dir && !hidden(path) {
			files[path] = string(data(n))
		}
	}
	return files
}

// Killed returns the disk as the next process finds it if all of this one's
// were killed now; what was not synced is still not safe from a power cut. This one
// may be used on, as if that had not happened.
func (d *Disk) Killed() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.killed()
}

func (d *Disk) killed() *Disk {
	next := &Disk{NoLinks: d.NoLinks, OtherDevice: d.OtherDevice, live: map[string]*inode{}, durable: map[string]*inode{}}
	copies := map[*inode]*inode{} // names of one file stay names of one file
	copied := func(to, from map[string]*inode) {
		for path, n := range from {
			if copies[n] == nil {
				copies[n] = &inode{dir: n.dir, renamed: n.renamed, data: slices.Clone(n.data), device: slices.Clone(n.device)}
			}
			to[path] = copies[n]
		}
	}
	copied(next.live, d.live)
	copied(next.durable, d.durable)
	return next
}

// PowerCut returns the disk as the next process finds it if the machine lost
// its power now, with what was synced and nothing else.
func (d *Disk) PowerCut() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	killed := d.killed()
	killed.live = killed.kept()
	for _, n := range killed.live {
		n.data = slices.Clone(n.device)
	}
	killed.durable = maps.Clone(killed.live)
	return killed
}

// Hidden returns the paths of hidden files and of those in hidden directories.
func (d *Disk) Hidden() (paths []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, n := range d.live {
		if !n.dir && hidden(path) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

func hidden(path string) bool { return strings.Contains(path, "/.") }

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
		return &fs.PathError{Op: op, Path: path, Err: syscall.EEXIST}
	}
	if d.live[filepath.Dir(path)] == nil {
		return &fs.PathError{Op: op, Path: path, Err: syscall.ENOENT}
	}
	d.live[path] = n
	return nil
}

// List implements archive.FS.
func (d *Disk) List(dir string) (files, dirs []string, err error) {
	if err := d.begin("list", dir); err != nil {
		return nil, nil, err
	}
	defer d.mu.Unlock()
	for path, n := range d.live {
		switch {
		case path == dir || filepath.Dir(path) != dir:
		case n.dir:
			dirs = append(dirs, filepath.Base(path))
		default:
			files = append(files, filepath.Base(path))
		}
	}
	return files, dirs, nil
}

// Open implements archive.FS.
func (d *Disk) Open(path string, mode archive.Mode) (archive.File, error) {
	if err := d.begin("open", path); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	n := d.live[path]
	if n == nil && mode == archive.Existing {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOENT}
	}
	if n == nil || mode == archive.Create {
		n = &inode{}
		if err := d.enter("open", path, n); err != nil {
			return nil, err
		}
	}
	d.open++
	return &file{disk: d, path: path, node: n}, nil
}

// Lock implements archive.FS.
func (d *Disk) Lock(path string) (archive.LockFile, error) {
	if err := d.begin("lock", path); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	n := d.live[path]
	if n == nil {
		n = &inode{}
		if err := d.enter("lock", path, n); err != nil {
			return nil, err
		}
	}
	if n.alone {
		return nil, &fs.PathError{Op: "lock", Path: path, Err: archive.ErrLocked}
	}
	n.alone = true
	d.open++
	return &file{disk: d, path: path, node: n, alone: true}, nil
}

// Link implements archive.FS.
func (d *Disk) Link(from, to string) error {
	if err := d.begin("link", from); err != nil {
		return err
	}
	defer d.mu.Unlock()
	switch {
	case d.live[from] == nil:
		return &fs.PathError{Op: "link", Path: from, Err: syscall.ENOENT}
	case d.onOther(from) != d.onOther(to):
		return &fs.PathError{Op: "link", Path: from, Err: syscall.EXDEV}
	case d.NoLinks:
		return &fs.PathError{Op: "link", Path: from, Err: syscall.EPERM}
	}
	return d.enter("link", to, d.live[from])
}

// Rename implements archive.FS. A power cut finds old and new name each as it
// was synced, but never neither.
func (d *Disk) Rename(from, to string) error {
	if err := d.begin("rename", from); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if d.onOther(from) != d.onOther(to) {
		return &fs.PathError{Op: "rename", Path: from, Err: syscall.EXDEV}
	}
	n := d.live[from]
	if n == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: syscall.ENOENT}
	}
	if err := d.enter("rename", to, n); err != nil {
		return err
	}
	delete(d.live, from)
	n.renamed = to
	return nil
}

func (d *Disk) onOther(path string) bool {
	return d.OtherDevice != "" && strings.HasPrefix(path, d.OtherDevice+"/")
}

// Same implements archive.FS.
func (d *Disk) Same(a, b string) (bool, error) {
	if err := d.begin("stat", a); err != nil {
		return false, err
	}
	defer d.mu.Unlock()
	if d.live[a] == nil || d.live[b] == nil {
		return false, &fs.PathError{Op: "stat", Path: a, Err: syscall.ENOENT}
	}
	return d.live[a] == d.live[b], nil
}

// Remove implements archive.FS.
func (d *Disk) Remove(path string) error {
	if err := d.begin("remove", path); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if d.live[path] == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: syscall.ENOENT}
	}
	delete(d.live, path)
	return nil
}

// RemoveDir implements archive.FS.
func (d *Disk) RemoveDir(dir string) error {
	if err := d.begin("rmdir", dir); err != nil {
		return err
	}
	defer d.mu.Unlock()
	for path := range d.live {
		if filepath.Dir(path) == dir {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: syscall.ENOTEMPTY}
		}
	}
	delete(d.live, dir)
	return nil
}

// SyncDir implements archive.FS.
func (d *Disk) SyncDir(dir string) error {
	if err := d.begin("syncdir", dir); err != nil {
		return err
	}
	defer d.mu.Unlock()
	renamed := map[string]*inode{}
	maps.DeleteFunc(d.durable, func(path string, n *inode) bool {
		gone := path != dir && filepath.Dir(path) == dir && d.live[path] == nil
		if gone && n.renamed != "" && d.live[n.renamed] == n {
			renamed[n.renamed] = n // old name or new, never neither
		}
		return gone
	})
	maps.Copy(d.durable, renamed)
	for path, n := range d.live {
		if filepath.Dir(path) == dir {
			d.durable[path] = n
		}
	}
	return nil
}
