// Package disktest is a disk in memory, for tests. It fails the n-th operation,
// tears writes, gets full, and at a crash forgets what was not synced, as the
// worst file system does that POSIX allows for:
//
//   - Of each write that Sync has not returned for, any of its 512-byte sectors
//     may be there or not, whatever became of earlier writes. So it is with the
//     length; what lies within the length and was never written reads as zero.
//   - What was written before a Sync that failed is not made durable by a later
//     one that succeeds. Reads still see it.
//   - A name that was made, changed or removed is as before unless SyncDir of
//     its directory came after. A file whose bytes are durable may have no name.
//     A directory without one is gone with all that is in it. Only the changes
//     of one name keep their order: if one is there, so are those before it. A
//     rename is there whole or not at all.
package disktest

import (
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/millrace-mq/millrace/qd/disk"
)

// unlimited is the capacity of a disk that was given none.
const unlimited = int64(1) << 50

// Disk is a disk.FS. All its methods may be called by several goroutines at
// once.
type Disk struct {
	mu       sync.Mutex // guards everything below, all nodes and all handles
	root     *node
	pending  []nameOp // changes of names that are not durable, oldest first
	capacity int64
	used     int64 // bytes of files that have a name or are open
	handles  int
	faults   faults
	tear     *rand.Rand // nil: a write that fails has written nothing
}

var _ disk.FS = (*Disk)(nil)

// New returns an empty disk of unlimited capacity. There is only the directory
// "/"; relative paths begin there too.
func New() *Disk {
	return &Disk{root: newDir(), capacity: unlimited, faults: newFaults()}
}

// Open files, as handles that are not closed.
func (d *Disk) Open(path string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.faults.read("open", path); err != nil {
		return nil, err
	}
	n, err := d.find(path)
	if err == nil && n.dir {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return d.open(n, path), nil
}

// Create makes a file and opens it.
func (d *Disk) Create(path string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.faults.write("create", path); err != nil {
		return nil, err
	}
	p, err := d.place(path)
	if err == nil && p.dir.entries[p.name] != nil {
		err = fs.ErrExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: err}
	}
	n := &node{}
	d.change(nameOp{to: p, node: n})
	return d.open(n, path), nil
}

// MkdirAll makes a directory and those above it. It is one operation however
// many are missing.
func (d *Disk) MkdirAll(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.faults.write("mkdir", dir); err != nil {
		return err
	}
	at := d.root
	for _, name := range split(dir) {
		next := at.entries[name]
		if next == nil {
			next = newDir()
			d.change(nameOp{to: place{at, name}, node: next})
		}
		if !next.dir {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		at = next
	}
	return nil
}

// Rename takes a file's place, but not that of a directory.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.faults.write("rename", from); err != nil {
		return err
	}
	if err := d.rename(from, to); err != nil {
		return &fs.PathError{Op: "rename", Path: from, Err: err}
	}
	return nil
}

func (d *Disk) rename(from, to string) error {
	n, err := d.find(from)
	if err != nil {
		return err
	}
	target, err := d.place(to)
	if err != nil {
		return err
	}
	old := target.dir.entries[target.name]
	switch {
	case n == d.root || n.contains(target.dir):
		return syscall.EINVAL
	case old == n:
		return nil
	case old != nil && old.dir:
		return fs.ErrExist
	case old != nil && n.dir:
		return syscall.ENOTDIR
	}
	source, err := d.place(from)
	if err != nil {
		return err
	}
	d.change(nameOp{from: source, to: target, node: n})
	return nil
}

// Remove deletes a file or an empty directory. An open file stays readable
// through its handles.
func (d *Disk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.faults.write("remove", path); err != nil {
		return err
	}
	n, err := d.find(path)
	switch {
	case err != nil:
	case n == d.root:
		err = syscall.EBUSY
	case len(n.entries) > 0:
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	p, err := d.place(path)
	if err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	d.change(nameOp{from: p, node: n})
	return nil
}

// List returns a directory's names, sorted.
func (d *Disk) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.faults.read("list", dir); err != nil {
		return nil, err
	}
	n, err := d.findDir(dir)
	if err != nil {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: err}
	}
	return n.names(), nil
}

// SyncDir makes the names in a directory durable. After one that failed they
// are as they were: a later one can make them durable.
func (d *Disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.faults.write("sync", dir); err != nil {
		return err
	}
	n, err := d.findDir(dir)
	if err != nil {
		return &fs.PathError{Op: "sync", Path: dir, Err: err}
	}
	d.settle(n)
	return nil
}

// Space is what is left of the capacity, and the capacity, in bytes.
func (d *Disk) Space(dir string) (free, size uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.faults.read("statfs", dir); err != nil {
		return 0, 0, err
	}
	if _, err := d.findDir(dir); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	// #nosec G115 -- room is never negative
	return uint64(d.room()), uint64(d.capacity), nil
}

// Handles is how many files are open: opened and not closed.
func (d *Disk) Handles() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handles
}

func (d *Disk) room() int64 { return max(0, d.capacity-d.used) }

func (d *Disk) open(n *node, path string) *file {
	n.handles++
	d.handles++
	return &file{disk: d, node: n, path: path}
}

// find returns the node that has the path.
func (d *Disk) find(path string) (*node, error) {
	at := d.root
	for _, name := range split(path) {
		if !at.dir {
			return nil, syscall.ENOTDIR
		}
		next := at.entries[name]
		if next == nil {
			return nil, fs.ErrNotExist
		}
		at = next
	}
	return at, nil
}

func (d *Disk) findDir(path string) (*node, error) {
	n, err := d.find(path)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	return n, err
}

// place is where a path's last name belongs; its directory must exist.
func (d *Disk) place(path string) (place, error) {
	names := split(path)
	if len(names) == 0 {
		return place{}, fs.ErrExist // the root
	}
	dir, err := d.findDir(strings.Join(names[:len(names)-1], "/"))
	return place{dir, names[len(names)-1]}, err
}

func split(path string) []string {
	path = filepath.ToSlash(filepath.Clean("/" + path))
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" })
}
