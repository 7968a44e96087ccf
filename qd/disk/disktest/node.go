package disktest

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// sector is how many bytes of a write survive a crash together.
const sector = 512

// node is a file or a directory, whatever it is called.
type node struct {
	dir              bool
	entries, durable map[string]*node // a directory's names: as seen, and as certain

	// A file: what reads see, and what is certain with all changes since, oldest
	// first. A change that a failed Sync has dropped stays among them, since part
	// of it may have reached the device, until the end.
	data, safe []byte
	edits      []edit
	named      bool
	handles    int
}

func newDir() *node {
	return &node{dir: true, entries: map[string]*node{}, durable: map[string]*node{}}
}

func (n *node) names() []string { return slices.Sorted(maps.Keys(n.entries)) }

// contains reports whether m is n or somewhere below it.
func (n *node) contains(m *node) bool {
	if n == m {
		return true
	}
	for _, e := range n.entries {
		if e.contains(m) {
			return true
		}
	}
	return false
}

type fate uint8

const (
	unsynced fate = iota
	synced
	dropped // a Sync failed
)

// edit is a write of data at off, or with cut a new length, off.
type edit struct {
	off  int64
	data []byte // never changed
	cut  bool
	fate fate
}

// change is an edit that reads see at once.
func (n *node) change(e edit) {
	n.data = e.apply(n.data)
	n.edits = append(n.edits, e)
}

// sync makes what was written certain, or with ok false gives it up.
func (n *node) sync(ok bool) {
	kept := false
	for i := range n.edits {
		if e := &n.edits[i]; e.fate == unsynced {
			e.fate = dropped
			if ok {
				e.fate = synced
			}
		}
		kept = kept || n.edits[i].fate == dropped
	}
	if kept {
		return // what came after may be partly above it
	}
	for _, e := range n.edits {
		n.safe = e.apply(n.safe)
	}
	n.edits = nil
}

// settle makes all that is seen certain.
func (n *node) settle() {
	n.safe, n.edits = slices.Clone(n.data), nil
}

// survivors is a file's content after a crash.
func (n *node) survivors(mode Mode, rng *rand.Rand) []byte {
	b := slices.Clone(n.safe)
	for _, e := range n.edits {
		switch {
		case e.fate == synced || e.fate == unsynced && mode == All:
			b = e.apply(b)
		case mode == Some:
			b = e.tear(b, rng)
		}
	}
	return b
}

func (e *edit) apply(b []byte) []byte {
	if e.cut {
		return resize(b, e.off)
	}
	if end := e.off + int64(len(e.data)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[e.off:], e.data)
	return b
}

// tear applies what the rng decides of e.
func (e *edit) tear(b []byte, rng *rand.Rand) []byte {
	if e.cut {
		if rng.IntN(2) == 0 {
			b = e.apply(b)
		}
		return b
	}
	length, end := int64(len(b)), e.off+int64(len(e.data))
	if grow := end - length; grow > 0 {
		switch rng.IntN(3) {
		case 0:
			b = resize(b, end)
		case 1:
			b = resize(b, length+rng.Int64N(grow+1))
		}
	}
	// The extremes come more often than they would by a choice of every sector:
	// they are where most mistakes show.
	style := rng.IntN(4)
	for from := e.off; from < end; {
		to := min(end, from/sector*sector+sector)
		if keep := style == 0 || style > 1 && rng.IntN(2) == 0; keep && from < int64(len(b)) {
			copy(b[from:], e.data[from-e.off:to-e.off])
		}
		from = to
	}
	return b
}

// resize makes b so long; what is new is zero.
func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		clear(b[size:]) // or it would come back when b grows again
		return b[:size]
	}
	if size <= int64(cap(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}
