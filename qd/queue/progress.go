package queue

import "github.com/millrace-mq/millrace/protocol"

// This file is what of a channel of a topic with a log is written down behind
// its back, so that a restart, after a stop or a crash, finds it where it was.

// Range is positions From ≤ p < To.
type Range struct{ From, To uint64 }

// Progress is what a channel has done with its messages: everything before
// Cursor is finished but for what is Open or parked.
type Progress struct {
	Reset    bool     // Changes are not what changed, but all there is
	Cursor   uint64   // position of the next first delivery
	Deferred uint64   // position in the side log up to which deferred publishes were taken in
	Open     []Range  // delivered and not answered
	Changes  []Change // to the parked messages, in order
}

// note has a change to a parked message written down.
func (c *Channel) note(change Change) {
	if c.topic.log != nil && !c.reset && !protocol.Ephemeral(c.name) {
		c.changes = append(c.changes, change)
	}
}

// Progress fills p with how far the channel has come, and what has changed since
// the last call.
func (c *Channel) Progress(p *Progress) {
	if c.reset {
		c.Snapshot(p)
		return
	}
	p.Reset = false
	c.positions(p)
	p.Changes = append(p.Changes[:0], c.changes...)
	if cap(c.changes) > 4096 {
		c.changes = nil
	}
	c.changes = c.changes[:0]
}

// Snapshot fills p with everything.
func (c *Channel) Snapshot(p *Progress) {
	c.positions(p)
	p.Reset = true
	p.Changes = p.Changes[:0]
	g := &c.parking
	g.shelf.each(func(e *entry) {
		kept := e.kept()
		if e.resumed {
			kept.Due = 0
		}
		p.Changes = append(p.Changes, Change{Entry: kept})
	})
	for _, q := range g.byID {
		p.Changes = append(p.Changes, Change{Entry: q.kept()})
	}
	for _, q := range g.dead {
		p.Changes = append(p.Changes, Change{Entry: q.kept()})
	}
	c.reset = false
	c.changes = nil
}

func (c *Channel) positions(p *Progress) {
	p.Cursor, p.Deferred = c.cursor, c.topic.log.untaken()
	p.Open = p.Open[:0]
	for i := range c.window.chunks.len() {
		ch := c.window.chunks.at(i)
		if ch.block == nil || ch.open == 0 {
			continue
		}
		for j, slot := range ch.leases {
			if slot == 0 {
				continue
			}
			pos := ch.pos + uint64(j)
			if n := len(p.Open); n > 0 && p.Open[n-1].To == pos {
				p.Open[n-1].To++
			} else {
				p.Open = append(p.Open, Range{pos, pos + 1})
			}
		}
	}
}

// ResumeChannel opens a channel of a topic with a log where it was. entries are
// its parked messages, those that were in flight among them, in the order of
// their IDs; what has no due time was in line, and comes before everything else.
func (t *Topic) ResumeChannel(name string, paused bool, cursor uint64, entries []Entry, now int64) *Channel {
	c := t.join(name)
	c.paused = paused
	c.cursor = min(max(cursor, t.log.first), t.end)
	s := &c.parking.shelf
	for _, e := range entries {
		switch in := e.compact(); {
		case e.State == Dead:
			c.inter(&parked{id: e.ID, lies: e.Place, attempts: e.Attempts, reason: e.Reason, due: e.Due, dead: true, heapAt: -1})
		case e.Due == 0:
			in.resumed = true
			if in.reason == Fresh {
				in.reason = Stopped
			}
			s.line.push(in)
			s.resumed++
			// One that was in flight is no entry yet in what is kept.
			c.note(Change{Entry: in.kept()})
		default:
			s.later = append(s.later, in)
		}
	}
	s.heapify()
	c.counts.Resumed = uint64(len(entries))
	c.from = c.cursor
	return c
}

// TakeIn gives the channel a deferred publish that it had not yet at a crash.
func (c *Channel) TakeIn(e Entry) {
	c.counts.Deferred++
	c.note(Change{Entry: e})
	c.parking.shelf.push(e.compact()) // also if it is due: so they come in the order of their times
}

// OpenChannelAt opens a channel that begins at a position of the log, or at the
// oldest message that is kept, if that is later.
func (t *Topic) OpenChannelAt(name string, pos uint64, now int64) *Channel {
	first := len(t.channels) == 0
	c := t.join(name)
	c.cursor = min(max(pos, t.log.first), t.limit())
	c.from = c.cursor
	if first {
		t.handOver(now)
	}
	return c
}

// Seek moves the channel to a position of the log: what lies behind it will be
// delivered (again), what lies before it will not. What is in flight or was
// requeued is forgotten. Deferred publishes that were never delivered stay, and
// so do dead messages, unless they come again.
func (c *Channel) Seek(pos uint64, now int64) {
	t := c.topic
	stays := func(e entry) bool { return e.attempts == 0 && e.place&Side != 0 }
	leaving := c.Depth() + c.Deferred() + c.InFlight()
	c.forget(stays)
	c.counts.Emptied += uint64(leaving - c.parking.shelf.count())
	// Everything that Entered counts so far has left, and what is between the new
	// cursor and the limit comes in again.
	c.jumped += t.log.gone(c.cursor, t.limit())
	c.cursor = min(max(pos, t.log.first), t.limit())
	again := uint64(t.log.messages(c.cursor, t.limit()))
	c.jumped -= t.log.gone(c.cursor, t.limit())
	c.counts.Resumed += again
	for id, p := range c.parking.dead {
		// A message is in one place: its ID is its name in all of them.
		if p.lies&Side == 0 && p.lies >= c.cursor {
			delete(c.parking.dead, id)
			t.Store.Charge(-p.cost())
			c.counts.Emptied++
		}
	}
	t.evict()
	c.rouse()
}

// forget drops what the channel holds, but for the dead and those on the shelf
// that stay.
func (c *Channel) forget(stays func(e entry) bool) {
	t := c.topic
	c.reading.clear(t)
	for i := range c.window.chunks.len() {
		if b := c.window.chunks.at(i).block; b != nil {
			t.drop(b)
		}
	}
	t.Store.Charge(-c.parking.bytes)
	for k := range c.consumers {
		k.inFlight = 0
		k.leases = list[lease]{}
	}
	kept := c.staying(stays)
	dead := c.parking.dead
	c.window, c.current, c.leases, c.parking = window{}, nil, leases{}, parking{dead: dead, shelf: kept}
	c.stalled = false
	c.reset, c.changes = true, nil
	for k := range c.consumers {
		c.recheck(k)
	}
}

// staying is the shelf with what stays of the parked messages, those that are
// ready in their order.
func (c *Channel) staying(stays func(e entry) bool) (kept shelf) {
	inLine := func(e entry) {
		if stays(e) {
			kept.line.push(e)
			if e.resumed {
				kept.resumed++
			}
		}
	}
	g := &c.parking
	for n := g.ready.root.next; n != nil && n.member != nil; n = n.next {
		p := n.member
		inLine(entry{due: p.due, id: p.id, place: p.lies, attempts: p.attempts, reason: p.reason, resumed: p.resumed})
	}
	for _, e := range g.shelf.fetching {
		inLine(e)
	}
	for i := range g.shelf.line.len() {
		inLine(g.shelf.line.at(i))
	}
	for _, e := range g.shelf.later {
		if stays(e) {
			kept.later = append(kept.later, e)
		}
	}
	kept.heapify()
	return kept
}

// emptyLogged drops what waits in the topic itself.
func (t *Topic) emptyLogged() {
	l := t.log
	t.emptied += uint64(t.waiting() + len(l.deferred))
	switch {
	case len(t.channels) == 0:
		l.base = t.end
		if t.paused {
			t.pausedAt = t.end
		}
		l.deferred = nil
	case t.paused:
		t.addHole(t.pausedAt, t.end)
		l.deferred, l.sideLimit = nil, l.side
	}
	t.evict()
}
