// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative.

package queue

import (
	"cmp"
	"iter"
	"slices"

	"github.com/millrace-mq/millrace/protocol"
)

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
	if !change.Gone && change.Place&Side == 0 {
		c.lowest = min(c.lowest, change.Place)
	}
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

// WantsSnapshot reports whether so much has changed at once that the next
// Progress is a Snapshot.
func (c *Channel) WantsSnapshot() bool { return c.reset }

// Snapshot fills p with everything.
func (c *Channel) Snapshot(p *Progress) {
	var all []Change
	for s := c.BeginSnapshot(); s.Next(p); {
		all = append(all, p.Changes...)
	}
	p.Changes = append(all, p.Changes...)
}

// Snapshot is a channel's state being copied in pieces, so that nobody has to
// wait while millions of parked messages are. Between two pieces the channel
// goes on. What was parked or left meanwhile is in the last piece, which alone
// makes the others true; so none counts without it. There is one at a time, and
// no Progress meanwhile.
type Snapshot struct {
	channel *Channel
	keys    []int64 // of buckets still to be copied
	copied  int     // entries of the first of them that have been
	begun   bool
}

// snapshotPiece is about how many entries are copied at a time.
const snapshotPiece = 1 << 15

// BeginSnapshot begins one.
func (c *Channel) BeginSnapshot() *Snapshot {
	s := &Snapshot{channel: c}
	s.begin()
	return s
}

func (s *Snapshot) begin() {
	c := s.channel
	c.reset, c.changes = false, nil // what has changed so far will be seen
	c.parking.shelf.later.still = 1
	s.keys, s.copied, s.begun = slices.Clone(c.parking.shelf.later.keys), 0, false
}

// Next fills p with the next piece, and reports whether another follows. The
// first piece is a Reset; all but the last say that the channel has done nothing
// yet, so that without the last one everything would be delivered again. A
// channel that is emptied meanwhile makes it begin again, with a Reset.
func (s *Snapshot) Next(p *Progress) (more bool) {
	c := s.channel
	if c.reset {
		s.begin()
	}
	*p = Progress{Reset: !s.begun, Open: p.Open[:0], Changes: p.Changes[:0]}
	s.begun = true
	later := &c.parking.shelf.later
	for len(s.keys) > 0 && len(p.Changes) < snapshotPiece {
		// One that has become the heap, as its time has come, is copied with that.
		bucket := later.far[s.keys[0]]
		n := min(len(bucket), s.copied+snapshotPiece)
		for _, e := range bucket[min(s.copied, n):n] {
			p.Changes = append(p.Changes, Change{Entry: e.kept()})
		}
		if s.copied = n; n == len(bucket) {
			s.keys, s.copied = s.keys[1:], 0
		}
	}
	if len(s.keys) > 0 {
		return true
	}
	later.still = 0
	c.lastPiece(p)
	return false
}

// End gives up a snapshot before its last piece.
func (s *Snapshot) End() { s.channel.parking.shelf.later.still = 0 }

// lastPiece adds what is not in buckets, what has changed since the snapshot
// began, and the positions.
func (c *Channel) lastPiece(p *Progress) {
	c.positions(p)
	g := &c.parking
	add := func(e *entry) {
		kept := e.kept()
		if e.resumed {
			kept.Due = 0
		}
		p.Changes = append(p.Changes, Change{Entry: kept})
	}
	for i := range g.shelf.later.near {
		add(&g.shelf.later.near[i])
	}
	g.shelf.eachInLine(add)
	for _, q := range g.byID {
		p.Changes = append(p.Changes, Change{Entry: q.kept()})
	}
	for _, q := range g.dead {
		p.Changes = append(p.Changes, Change{Entry: q.kept()})
	}
	p.Changes = append(p.Changes, c.changes...)
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
// pause is why it is paused, nil if it is not.
func (t *Topic) ResumeChannel(name string, pause *Pause, cursor uint64, entries iter.Seq[Entry]) *Channel {
	c := t.join(name)
	if pause != nil {
		c.Pause(*pause)
	}
	c.cursor = min(max(cursor, t.log.first), t.end)
	s := &c.parking.shelf
	for e := range entries {
		c.counts.Resumed++
		if e.Place&Side == 0 {
			c.lowest = min(c.lowest, e.Place)
		}
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
			s.later.push(in)
		}
	}
	// Counts begin at 0: what waits in the log came before.
	c.from = max(c.cursor, t.limit())
	c.counts.Resumed += uint64(t.log.messages(c.cursor, c.from))
	c.jumped -= t.log.gone(c.cursor, c.from)
	return c
}

// TakeIn gives the channel a deferred publish that it had not yet at a crash.
func (c *Channel) TakeIn(e Entry) {
	c.counts.Resumed++
	c.note(Change{Entry: e})
	c.parking.shelf.later.push(e.compact()) // also if it is due: so they come in the order of their times
}

// OpenChannelAt opens a channel that begins at a position of the log, or at the
// oldest message that is kept, if that is later. An ephemeral channel gets all that is
// there, and sheds only when it has come so far.
func (t *Topic) OpenChannelAt(name string, pos uint64, now int64) *Channel {
	first := len(t.channels) == 0
	c := t.join(name)
	c.cursor = min(max(pos, t.log.first), t.limit())
	c.from, c.replay = c.cursor, t.limit()
	if first {
		t.handOver(now)
	}
	return c
}

// OpenChannelLate is OpenChannelAt for a channel that should have been there for
// some time: of the deferred publishes, in the order of their places, it gets those
// that other channels were given before. The others it gets with these.
func (t *Topic) OpenChannelLate(name string, pos uint64, deferred []Entry, now int64) *Channel {
	given := t.log.untaken()
	c := t.OpenChannelAt(name, pos, now)
	for _, e := range deferred {
		if e.Place&^Side < given {
			c.takeIn(e.compact(), now)
		}
	}
	return c
}

// Seek moves the channel to a position of the log: what lies behind it will be
// delivered (again), what lies before it will not. What is in flight or was
// requeued is forgotten, unless it is in the side log alone; so deferred publishes
// stay, and so do dead messages that do not come again.
func (c *Channel) Seek(pos uint64, now int64) {
	t := c.topic
	stays := func(e entry) bool { return e.place&Side != 0 } // the log cannot bring it back
	leaving := c.Depth() + c.Deferred() + c.InFlight()
	c.forget(stays)
	c.counts.Emptied += uint64(leaving - c.parking.shelf.count())
	// Everything that Entered counts so far has left, and what is between the new
	// cursor and the limit comes in again.
	c.jumped += t.log.gone(c.cursor, t.limit())
	c.cursor = min(max(pos, t.log.first), t.limit())
	c.replay = t.limit()
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
		inLine(entry{due: p.due, id: p.id, place: p.lies, attempts: p.attempts, reason: p.reason, resumed: p.resumed, revived: p.revived})
	}
	var flying []entry
	for _, p := range g.byID {
		if p.lease != nil {
			flying = append(flying, entry{id: p.id, place: p.lies, attempts: p.attempts, reason: Stopped})
		}
	}
	slices.SortFunc(flying, func(a, b entry) int { return cmp.Compare(a.id, b.id) })
	for _, e := range slices.Concat(flying, g.shelf.fetching) {
		inLine(e)
	}
	for i := range g.shelf.line.len() {
		inLine(g.shelf.line.at(i))
	}
	g.shelf.later.each(func(e *entry) {
		if stays(*e) {
			kept.later.push(*e)
		}
	})
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
