package disktest

import (
	"math/rand/v2"
	"slices"
)

// Mode is what becomes at a crash of what was not synced.
type Mode uint8

const (
	None Mode = iota // nothing of it is there
	All              // all is there, except what a failed Sync has dropped
	Some             // any part is there, dropped bytes too
)

func (m Mode) String() string { return [...]string{"none", "all", "some"}[m] }

// Crash returns the disk as it is after a power cut now, with all that is left
// durable. The disk itself goes on. No fault is planned for the new one. rng
// decides in mode Some; in the others it may be nil.
func (d *Disk) Crash(mode Mode, rng *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := d.surviving(func(*nameOp) bool { return mode == All || mode == Some && rng.IntN(2) == 0 })
	after := New()
	after.capacity = d.capacity
	var copyDir func(from, to *node)
	copyDir = func(from, to *node) {
		table := names(from)
		for _, name := range sortedNames(table) { // in order, so that a seed always does the same
			old, n := table[name], newDir()
			if old.dir {
				copyDir(old, n)
			} else {
				n = &node{data: old.survivors(mode, rng)}
				n.settle()
				after.used += int64(len(n.data))
			}
			n.named = true
			to.entries[name], to.durable[name] = n, n
		}
	}
	copyDir(d.root, after.root)
	return after
}

// Kill returns the disk as the next process finds it after this one was
// killed: everything is there that was done. What was not durable still is not.
// The disk itself goes on, apart from the new one, for which no fault is
// planned.
func (d *Disk) Kill() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := New()
	after.capacity = d.capacity
	twins := map[*node]*node{}
	after.root = twin(d.root, twins)
	for _, o := range d.pending {
		o.from.dir, o.to.dir, o.node = twin(o.from.dir, twins), twin(o.to.dir, twins), twin(o.node, twins)
		after.pending = append(after.pending, o)
	}
	for _, n := range twins {
		if n.named {
			after.used += int64(len(n.data))
		}
	}
	return after
}

// twin is a copy of a node and of all that it leads to.
func twin(n *node, twins map[*node]*node) *node {
	if n == nil || twins[n] != nil {
		return twins[n]
	}
	t := &node{dir: n.dir, named: n.named, data: slices.Clone(n.data), safe: slices.Clone(n.safe), edits: slices.Clone(n.edits)}
	twins[n] = t
	if n.dir {
		t.entries, t.durable = map[string]*node{}, map[string]*node{}
	}
	for name, e := range n.entries {
		t.entries[name] = twin(e, twins)
	}
	for name, e := range n.durable {
		t.durable[name] = twin(e, twins)
	}
	return t
}
