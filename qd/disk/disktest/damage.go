package disktest

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// Paths returns the paths of all files, sorted.
func (d *Disk) Paths() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var paths []string
	var walk func(at string, n *node)
	walk = func(at string, n *node) {
		for _, name := range n.names() {
			path, e := filepath.Join(at, name), n.entries[name]
			if e.dir {
				walk(path, e)
			} else {
				paths = append(paths, path)
			}
		}
	}
	walk("/", d.root)
	slices.Sort(paths)
	return paths
}

// Bytes returns a copy of what reads of a file see. It panics if there is no
// such file.
func (d *Disk) Bytes(path string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.mustFind(path).data)
}

// SetBytes makes a file hold b, durably, as are then all names in the
// directories on its way. What is missing is made. It counts as no operation.
func (d *Disk) SetBytes(path string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, names := d.root, split(path)
	for i, name := range names {
		next := at.entries[name]
		if next == nil {
			next = &node{}
			if i < len(names)-1 {
				next = newDir()
			}
			d.change(nameOp{to: place{at, name}, node: next})
		}
		d.settle(at)
		at = next
	}
	if at.dir {
		panic(fmt.Sprintf("disktest: %s is a directory", path))
	}
	d.used += int64(len(b) - len(at.data))
	at.data = slices.Clone(b)
	at.settle()
}

// Flip changes the bits of mask in a file's byte at offset, and makes the
// file's bytes durable as they then are. It panics if there is no such byte or
// the mask is zero: a test would prove nothing.
func (d *Disk) Flip(path string, offset int64, mask byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.mustFind(path)
	if offset < 0 || offset >= int64(len(n.data)) || mask == 0 {
		panic(fmt.Sprintf("disktest: no bits %#x of byte %d to flip in %s, which has %d bytes", mask, offset, path, len(n.data)))
	}
	n.data[offset] ^= mask
	n.settle()
}

func (d *Disk) mustFind(path string) *node {
	n, err := d.find(path)
	if err != nil || n.dir {
		panic(fmt.Sprintf("disktest: %s is no file: %v", path, err))
	}
	return n
}

func sortedNames(m map[string]*node) []string { return slices.Sorted(maps.Keys(m)) }
