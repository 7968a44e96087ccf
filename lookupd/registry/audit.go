package registry

import (
	"errors"
	"fmt"
	"slices"
)

// Audit looks at everything from each of its ends, and reports where they do not
// agree. It is for tests.
func (r *Registry) Audit() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	topics, channels, rows, buried := 0, 0, 0, 0
	last := ""
	for t := range r.names.after(&r.topics, "") {
		if t.name <= last {
			complain("topic %q stands behind %q", t.name, last)
		}
		if id, known := r.ids[t.name]; !known || id != t.id || r.topics.at(id) != t {
			complain("topic %q is not found by its name", t.name)
		}
		for i, row := range t.rows {
			if row.buried {
				buried++
			}
			if _, there := r.tombstones[burial{t.id, row.slot}]; there != row.buried {
				complain("topic %q, row %d: buried %v, tombstone %v", t.name, i, row.buried, there)
			}
		}
		for _, err := range t.audit() {
			complain("topic %q: %w", t.name, err)
		}
		last, topics, channels, rows = t.name, topics+1, channels+len(t.channels), rows+len(t.rows)
	}
	if topics != len(r.ids) || topics != r.names.n || topics+len(r.topics.free) != len(r.topics.pages)*pageTopics {
		complain("%d topics in order, %d by name, %d counted, %d free places of %d pages", topics, len(r.ids), r.names.n, len(r.topics.free), len(r.topics.pages))
	}
	if channels != r.channels || buried != len(r.tombstones) {
		complain("%d channels, %d counted; %d buried, %d tombstones", channels, r.channels, buried, len(r.tombstones))
	}
	return errors.Join(append(errs, r.auditPeers(rows)...)...)
}

// auditPeers compares what peers list with the rows that topics have of them.
func (r *Registry) auditPeers(rows int) (errs []error) {
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	connected, away, known, free := 0, 0, 0, 0
	for slot, p := range r.slots {
		if p == nil {
			free++
			continue
		}
		listed, last := 0, ""
		for t := range p.topics.after(&r.topics, "") {
			if _, has := t.find(p.slot); !has || t.name <= last {
				complain("%s lists topic %q, which has it: %v; behind %q", p, t.name, has, last)
			}
			listed, last = listed+1, t.name
		}
		rows -= listed
		_, inOrder := slices.BinarySearchFunc(r.joined, p.number, byNumber)
		if int(p.slot) != slot || listed != p.topics.n || inOrder == p.left || p.left && listed == 0 || p.left && (p.resync || p.superseded) {
			complain("%s in slot %d: lists %d; joined %v; %+v", p, slot, listed, inOrder, p)
		}
		if p.known() != slices.Contains(r.identities[p.identity], p) || slices.Contains(r.away, p) != (p.left && p.known()) {
			complain("%s is known by its identity, and away, against what it says: %+v", p, p)
		}
		if p.known() {
			known++
		}
		if p.left && p.known() {
			away++
		}
		if !p.left {
			connected++
		}
	}
	for _, same := range r.identities {
		known -= len(same)
		if len(same) == 0 || !slices.IsSortedFunc(same, func(p, q *Peer) int { return byNumber(p, q.number) }) {
			complain("the peers of one daemon: %v", same)
		}
	}
	if rows != 0 || known != 0 || connected != len(r.joined) || away != len(r.away) || free != len(r.freeSlots) {
		complain("too much by %d rows, %d known peers; %d connected of %d, %d away of %d, %d slots free of %d",
			rows, known, connected, len(r.joined), away, len(r.away), free, len(r.freeSlots))
	}
	return errs
}

// audit compares rows, channels and columns.
func (t *topic) audit() (errs []error) {
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i := range t.rows[min(1, len(t.rows)):] {
		if t.rows[i].slot >= t.rows[i+1].slot {
			complain("slot %d stands before %d", t.rows[i].slot, t.rows[i+1].slot)
		}
	}
	used := make([]uint64, len(t.columns))
	for i, c := range t.channels {
		if i > 0 && c.name <= t.channels[i-1].name {
			complain("channel %q stands behind %q", c.name, t.channels[i-1].name)
		}
		k, bit := at(c.column)
		if k >= len(used) || used[k]&bit != 0 {
			complain("channel %q shares column %d", c.name, c.column)
			continue
		}
		used[k] |= bit
	}
	for k, c := range t.columns {
		if c.used != used[k] || len(c.has) != len(t.rows) || c.paused != nil && len(c.paused) != len(t.rows) {
			complain("columns %d: used %x for %x, %d and %d words for %d rows", k, c.used, used[k], len(c.has), len(c.paused), len(t.rows))
			continue
		}
		for i := range t.rows {
			if c.has[i]&^c.used != 0 || c.paused != nil && c.paused[i]&^c.has[i] != 0 {
				complain("columns %d, row %d: has %x of %x", k, i, c.has[i], c.used)
			}
		}
	}
	if n := len(t.columns); n > 0 && t.columns[n-1].used == 0 {
		complain("the last columns are unused")
	}
	return errs
}
