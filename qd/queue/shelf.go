package queue

import "math"

// This file is the parked messages of a topic with a log: their bodies stay
// there, and what is in memory is an entry of 32 bytes without pointers, so that
// ten million of them are nothing to a garbage collector.

// Side is the bit that a place has if it is a position in the side log, which
// holds deferred publishes and what was moved out of the way of the log's
// oldest segment. Without it, it is one in the topic's own log.
const Side = 1 << 63

// State is where a parked message stands.
type State uint8

// The states of parked messages.
const (
	Waiting State = iota // for its due time, or in line
	Dead                 // until somebody revives or deletes it
)

// Reason is why a message came back.
type Reason uint8

// The reasons.
const (
	Fresh Reason = iota // it did not: a deferred publish
	TimedOut
	Requeued
	Disconnected
	Stopped // it was in flight, or in line, at a stop or crash
)

var reasons = [...]string{"", "timed out", "requeued", "disconnected", "daemon stopped"}

// String is the reason in words.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return "unknown"
}

// Entry is a parked message as it is kept on disk, without its body.
type Entry struct {
	ID       uint64
	Place    uint64
	Due      int64 // when it becomes ready, 0 if it was in line; for a dead one, when it died
	Attempts uint16
	State    State
	Reason   Reason
}

// Change is an entry added or replaced, or one that is gone.
type Change struct {
	Entry
	Gone bool
}

// entry is an Entry in memory.
type entry struct {
	due      int64
	id       uint64
	place    uint64
	attempts uint16
	reason   Reason
	resumed  bool // was in line before a restart
	revived  bool // was dead
}

func (e Entry) compact() entry {
	return entry{due: e.Due, id: e.ID, place: e.Place, attempts: e.Attempts, reason: e.Reason}
}

func (e entry) kept() Entry {
	return Entry{ID: e.id, Place: e.place, Due: e.due, Attempts: e.attempts, Reason: e.reason}
}

func (e entry) before(o entry) bool { return e.due < o.due || e.due == o.due && e.id < o.id }

// shelf holds the entries of a channel whose bodies are not in memory.
type shelf struct {
	later    calendar    // those that are not due
	line     fifo[entry] // ready, in the order in which they became so
	fetching []entry     // of the line, on their way into memory
	resumed  int         // of line and fetching
}

// wakeAtOnce is how many entries one look makes ready, so that a million that
// are due at the same time do not hold the topic up.
const wakeAtOnce = 4096

// wake puts in line what is due.
func (s *shelf) wake(now int64) {
	for range wakeAtOnce {
		e, ok := s.later.first()
		if !ok || e.due > now {
			return
		}
		s.later.pop()
		s.line.push(e)
	}
}

// ready is the number of entries that could be delivered but for their bodies.
func (s *shelf) ready() int { return s.line.len() + len(s.fetching) }

func (s *shelf) count() int { return s.later.n + s.ready() }

// each calls f for all entries, to look at them or change their place.
func (s *shelf) each(f func(e *entry)) {
	s.later.each(f)
	s.eachInLine(f)
}

func (s *shelf) eachInLine(f func(e *entry)) {
	for i := s.line.head; i < len(s.line.items); i++ {
		f(&s.line.items[i])
	}
	for i := range s.fetching {
		f(&s.fetching[i])
	}
}

const (
	// fetchAtOnce is how many bodies are asked for at a time, when no more than
	// fetchBelow messages are ready in memory.
	fetchAtOnce = 512
	fetchBelow  = 256
)

// wantsBodies reports whether there are bodies to be fetched.
func (c *Channel) wantsBodies() bool {
	g := &c.parking
	return g.shelf.line.len() > 0 && len(g.shelf.fetching) == 0 && len(c.consumers) > 0 && !c.paused &&
		(g.ready.n == 0 || g.ready.n < fetchBelow && g.bytes < c.topic.Store.ParkedLimit()/2)
}

// beginFetch takes the next entries off the line and returns where they lie.
func (c *Channel) beginFetch() (places []uint64) {
	s := &c.parking.shelf
	for len(s.fetching) < fetchAtOnce && s.line.len() > 0 {
		e := s.line.pop()
		s.fetching = append(s.fetching, e)
		places = append(places, e.place)
	}
	return places
}

// Places are where the bodies lay, when the work was begun, that a Fetch is to
// bring, in order.
func (w Work) Places() []uint64 { return w.places }

// Fetched tells that a Fetch was done: frames are those of the first places,
// as many as could be had at once, each nil if it is not there any more or is
// damaged. They are the topic's from now on.
func (t *Topic) Fetched(w Work, frames [][]byte) {
	c := w.channel
	s := &c.parking.shelf
	if c.reading.epoch != w.epoch {
		return // emptied meanwhile
	}
	entries := s.fetching
	s.fetching = nil
	for i := range frames {
		if frames[i] == nil && entries[i].place != w.places[i] {
			frames = frames[:i] // it was moved meanwhile, so it is asked for again
			break
		}
	}
	for i, e := range entries[:len(frames)] {
		if e.resumed {
			s.resumed--
		}
		if frames[i] == nil {
			c.counts.Lost++
			c.note(Change{Entry: e.kept(), Gone: true})
			continue
		}
		p := &parked{id: e.id, frame: frames[i], attempts: e.attempts, due: e.due, lies: e.place, reason: e.reason, resumed: e.resumed, revived: e.revived}
		c.parking.add(p, t.Store)
		c.parking.ready.push(&p.queued, p)
	}
	if rest := entries[len(frames):]; len(rest) > 0 {
		line := append(make([]entry, 0, len(rest)+s.line.len()), rest...)
		s.line = fifo[entry]{items: append(line, s.line.items[s.line.head:]...)}
	}
	c.stalled = false
	c.rouse()
}

// Deferred takes in a deferred publish, which lies in the side log at place.
func (t *Topic) Deferred(id, place uint64, size int, due, now int64) {
	l := t.log
	l.side = max(l.side, place&^Side+1)
	t.published++
	t.deferredIn++
	// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
	t.bytes += uint64(size)
	e := entry{id: id, place: place, due: due}
	if len(t.channels) == 0 || t.paused {
		l.deferred = append(l.deferred, e)
		return
	}
	for _, c := range t.channels {
		c.takeIn(e, now)
	}
}

// takeIn puts a deferred publish on the channel's shelf.
func (c *Channel) takeIn(e entry, now int64) {
	c.counts.Deferred++
	c.note(Change{Entry: e.kept()})
	c.shelve(e, now)
	c.rouse()
}

func (c *Channel) shelve(e entry, now int64) {
	s := &c.parking.shelf
	if e.due > now {
		s.later.push(e)
		return
	}
	s.line.push(e)
	if e.resumed {
		s.resumed++
	}
}

// MovedTo tells that messages lie at other places now, old to new.
func (t *Topic) MovedTo(places map[uint64]uint64) {
	low, high := uint64(math.MaxUint64), uint64(0)
	for p, to := range places {
		low, high = min(low, p), max(high, p)
		t.log.side = max(t.log.side, to&^Side+1)
	}
	for _, c := range t.channels {
		c.parking.shelf.each(func(e *entry) {
			if e.place < low || e.place > high {
				return // most of millions
			}
			if to, moved := places[e.place]; moved {
				e.place = to
				c.note(Change{Entry: e.kept()})
			}
		})
		for _, held := range []map[uint64]*parked{c.parking.byID, c.parking.dead} {
			for _, p := range held {
				if to, moved := places[p.lies]; moved {
					p.lies = to
					c.note(Change{Entry: p.kept()})
				}
			}
		}
	}
}

// Parked calls f with the place of each parked message of each channel, and
// of each deferred publish that no channel has; those cannot be moved.
func (t *Topic) Parked(f func(place uint64, movable bool)) {
	for _, e := range t.log.deferred {
		f(e.place, false)
	}
	for _, c := range t.channels {
		c.eachPlace(func(place uint64) { f(place, true) })
	}
}

// ParkedBefore calls f with the place of each parked message that lies in the
// log before a position. It looks only at channels that can have such.
func (t *Topic) ParkedBefore(pos uint64, f func(place uint64)) {
	for _, c := range t.channels {
		if c.lowest >= pos {
			continue
		}
		c.lowest = math.MaxUint64
		c.eachPlace(func(place uint64) {
			if place&Side == 0 {
				if c.lowest = min(c.lowest, place); place < pos {
					f(place)
				}
			}
		})
	}
}

func (c *Channel) eachPlace(f func(place uint64)) {
	c.parking.shelf.each(func(e *entry) { f(e.place) })
	for _, held := range []map[uint64]*parked{c.parking.byID, c.parking.dead} {
		for _, p := range held {
			f(p.lies)
		}
	}
}
