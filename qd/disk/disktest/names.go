package disktest

import "maps"

// place is a name in a directory. There is a file or directory of that name,
// or not.
type place struct {
	dir  *node
	name string
}

// nameOp is one change of names: a new one has only to, a removed one only
// from, a renamed one both.
type nameOp struct {
	from, to place
	node     *node
	// Which of the two directories were synced since. A rename from one directory
	// to another is certain once both were.
	fromSynced, toSynced bool
}

func (o *nameOp) settled() bool {
	return (o.from.dir == nil || o.fromSynced) && (o.to.dir == nil || o.toSynced)
}

// apply does the change, in the tables of names that table returns.
func (o *nameOp) apply(table func(dir *node) map[string]*node) {
	if o.from.dir != nil {
		delete(table(o.from.dir), o.from.name)
	}
	if o.to.dir != nil {
		table(o.to.dir)[o.to.name] = o.node
	}
}

// change makes a change that is seen at once and not durable yet.
func (d *Disk) change(o nameOp) {
	var old *node // loses its name
	if o.to.dir != nil {
		old = o.to.dir.entries[o.to.name]
	} else {
		old = o.node
	}
	o.apply(func(dir *node) map[string]*node { return dir.entries })
	o.node.named = o.to.dir != nil
	if old != nil {
		old.named = false
		d.release(old)
	}
	d.pending = append(d.pending, o)
}

// release gives back the space of a file that is neither named nor open.
func (d *Disk) release(n *node) {
	if !n.named && n.handles == 0 {
		d.used -= int64(len(n.data))
	}
}

// settle makes the names of a directory durable.
func (d *Disk) settle(dir *node) {
	for i := range d.pending {
		o := &d.pending[i]
		o.fromSynced = o.fromSynced || o.from.dir == dir
		o.toSynced = o.toSynced || o.to.dir == dir
	}
	done := lasting(d.pending, func(o *nameOp) bool { return o.settled() })
	var left []nameOp
	for i, o := range d.pending {
		if done[i] {
			o.apply(func(dir *node) map[string]*node { return dir.durable })
		} else {
			left = append(left, o)
		}
	}
	d.pending = left
}

// lasting says of each change whether it lasts, given which are to. The changes
// of one name are made in order, so that with one last all before it. Without
// this, "rename a to b, make a new a" could leave the new a and no b, and the
// renamed file would have neither name.
func lasting(ops []nameOp, keep func(*nameOp) bool) []bool {
	lasts := make([]bool, len(ops))
	needed := map[place]bool{}
	for i := len(ops) - 1; i >= 0; i-- {
		o := &ops[i]
		lasts[i] = keep(o) || o.from.dir != nil && needed[o.from] || o.to.dir != nil && needed[o.to]
		if lasts[i] {
			needed[o.from], needed[o.to] = true, true
		}
	}
	return lasts
}

// surviving returns the names of every directory after a crash.
func (d *Disk) surviving(keep func(*nameOp) bool) func(dir *node) map[string]*node {
	tables := map[*node]map[string]*node{}
	table := func(dir *node) map[string]*node {
		if tables[dir] == nil {
			tables[dir] = maps.Clone(dir.durable)
		}
		return tables[dir]
	}
	for i, lasts := range lasting(d.pending, keep) {
		if lasts {
			d.pending[i].apply(table)
		}
	}
	return table
}
