// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative.

package queue

import (
	"cmp"
	"math"
	"slices"
)

// This file is looking at a channel's messages without taking them.

// LookState is where a message of a channel stands for somebody who looks.
type LookState uint8

// The states that Look tells apart.
const (
	Ready        LookState = iota // in line, or never delivered
	InFlight                      // a consumer has it
	Deferred                      // waits for its due time
	DeadMessages                  // delivered as often as it may be
)

var lookStates = [...]string{"ready", "in flight", "deferred", "dead"}

// String is the state in words.
func (s LookState) String() string {
	if int(s) < len(lookStates) {
		return lookStates[s]
	}
	return "unknown"
}

// Seen is a message as somebody sees it who only looks.
type Seen struct {
	ID       uint64
	State    LookState
	Attempts uint16 // deliveries so far
	Reason   Reason // why it came back the last time
	Due      int64  // when it is due, when its consumer's time is up, or when it died; 0 if it is ready
	Owner    any    // that of the consumer that has it
	Place    uint64 // where its body lies, if the topic has a log: a position, with Side in the side log
	Frame    []byte // a copy, as its first delivery had it; nil if it is not in memory
}

// Look returns messages of the channel that are in a state, in the order of
// their IDs: at most limit, beginning above the ID after. It changes nothing.
//
// Of those never delivered, which are Ready, it lists what is in memory. If the
// topic has a log, it lists none of them and returns the positions that they
// have instead, from unreadFrom up to but not including unreadTo, for the caller
// to read and to ask Unread about each.
//
// It takes time in proportion to the parked messages, and memory to the limit.
func (c *Channel) Look(state LookState, after uint64, limit int) (seen []Seen, unreadFrom, unreadTo uint64) {
	return c.LookWithin(state, after, limit, math.MaxInt)
}

// LookWithin is Look with a bound for what it copies: once the frames of what it has
// seen have so many bytes together, it ends early. It returns one message at least,
// if there is one.
func (c *Channel) LookWithin(state LookState, after uint64, limit, bytes int) (seen []Seen, unreadFrom, unreadTo uint64) {
	p := page{after: after, limit: limit, bytes: bytes}
	if limit > 0 {
		c.lookParked(&p, state)
	}
	switch {
	case state == InFlight && limit > 0:
		c.lookWindow(&p)
	case state == Ready && c.topic.log != nil:
		if to := c.topic.limit(); c.cursor < to {
			unreadFrom, unreadTo = c.cursor, to
		}
	case state == Ready && limit > 0:
		c.lookUnread(&p)
	}
	return p.seen(), unreadFrom, unreadTo
}

// Find says where a message stands in the channel. ok is false if it is not in
// flight, parked nor dead: then it was never delivered, or is finished, or never
// was the channel's; Unread tells. It looks at all parked messages whose bodies
// are not in memory.
func (c *Channel) Find(id uint64) (seen Seen, ok bool) {
	var f found
	if ch, i := c.window.find(id); ch != nil && ch.leases[i] != 0 {
		f, ok = c.seeHeld(ch, i), true
	} else if p := c.parking.byID[id]; p != nil {
		f, ok = c.seeParked(p), true
	} else if p := c.parking.dead[id]; p != nil {
		f, ok = c.seeParked(p), true
	} else {
		f, ok = c.parking.shelf.find(id)
	}
	f.Frame = slices.Clone(f.frame)
	return f.Seen, ok
}

// Unread reports whether the message at a position of the topic's log is the
// channel's and was never delivered, or is to be again after a Seek.
func (c *Channel) Unread(pos uint64) bool {
	if pos < c.cursor || pos >= c.topic.limit() {
		return false
	}
	h, ok := c.topic.log.hole(pos)
	return !ok || pos < h.From
}

// found is a message that was seen, and its frame before it is copied.
type found struct {
	Seen
	frame []byte
}

// page keeps the messages with the smallest IDs above after.
type page struct {
	after, bound uint64 // bound is the highest ID that is kept, once there are enough
	limit        int
	bytes        int     // of frames: no more are returned once there are so many
	kept         []found // up to twice the limit
}

// wants reports whether a message would be kept as far as is known.
func (p *page) wants(id uint64) bool { return id > p.after && (p.bound == 0 || id < p.bound) }

func (p *page) add(f found) {
	if p.kept = append(p.kept, f); len(p.kept) >= 2*p.limit {
		p.cut()
	}
}

func (p *page) cut() {
	slices.SortFunc(p.kept, func(a, b found) int { return cmp.Compare(a.ID, b.ID) })
	if len(p.kept) >= p.limit && p.limit > 0 {
		clear(p.kept[p.limit:])
		p.kept = p.kept[:p.limit]
		p.bound = p.kept[p.limit-1].ID
	}
}

// seen returns the page, with copies of the frames.
func (p *page) seen() (all []Seen) {
	p.cut()
	size := 0
	for _, f := range p.kept {
		if size >= p.bytes {
			break
		}
		size += len(f.frame)
		f.Frame = slices.Clone(f.frame)
		all = append(all, f.Seen)
	}
	return all
}

// lookParked adds the parked messages that are in a state.
func (c *Channel) lookParked(p *page, state LookState) {
	g := &c.parking
	if state == DeadMessages {
		for id, q := range g.dead {
			if p.wants(id) {
				p.add(c.seeParked(q))
			}
		}
		return
	}
	for id, q := range g.byID {
		if p.wants(id) && q.state() == state {
			p.add(c.seeParked(q))
		}
	}
	for _, entries := range g.shelf.in(state) {
		for i := range entries {
			if p.wants(entries[i].id) {
				p.add(seeEntry(entries[i], state))
			}
		}
	}
}

// in returns the entries that are in a state.
func (s *shelf) in(state LookState) [][]entry {
	switch state {
	case Deferred:
		parts := [][]entry{s.later.near}
		for _, bucket := range s.later.far {
			parts = append(parts, bucket)
		}
		return parts
	case Ready:
		return [][]entry{s.fetching, s.line.items[s.line.head:]}
	}
	return nil
}

func (s *shelf) find(id uint64) (f found, ok bool) {
	for _, state := range []LookState{Ready, Deferred} {
		for _, entries := range s.in(state) {
			if i := slices.IndexFunc(entries, func(e entry) bool { return e.id == id }); i >= 0 {
				return seeEntry(entries[i], state), true
			}
		}
	}
	return f, false
}

// lookWindow adds what is in flight for the first time. IDs rise in the window.
func (c *Channel) lookWindow(p *page) {
	n := 0
	for i := range c.window.chunks.len() {
		ch := c.window.chunks.at(i)
		if ch.block == nil || ch.open == 0 {
			continue
		}
		for j, slot := range ch.leases {
			if slot == 0 || !p.wants(ch.first+uint64(j)) {
				continue
			}
			p.add(c.seeHeld(ch, j))
			if n++; n == p.limit {
				return
			}
		}
	}
}

// lookUnread adds what was never delivered, of a topic without a log, as far as
// it is in memory.
func (c *Channel) lookUnread(p *page) {
	n := p.limit
	if ch := c.current; ch != nil {
		n = p.addSpan(span{ch.block, ch.at + len(ch.leases)}, n)
	}
	for _, spans := range []*fifo[span]{&c.backlog.head, &c.backlog.tail} {
		for i := range spans.len() {
			n = p.addSpan(spans.at(i), n)
		}
	}
	c.topic.eachUnfanned(func(pos uint64, s span) {
		if pos < c.cursor {
			s.from += int(min(c.cursor-pos, uint64(s.messages())))
		}
		n = p.addSpan(s, n)
	})
}

// eachUnfanned calls f for the topic's own blocks in memory that are for the
// channels, with their positions. What lies behind a part on disk is left out if
// it is not known where it begins.
func (t *Topic) eachUnfanned(f func(pos uint64, s span)) {
	pos, cuts := t.fanned, t.cuts
	left := 0 // to be discarded, of the first cut
	if len(cuts) > 0 {
		left = cuts[0].n
	}
	each := func(s span) {
		if len(cuts) > 0 && pos >= cuts[0].at {
			if left -= s.messages(); left <= 0 {
				if cuts = cuts[1:]; len(cuts) > 0 {
					left = cuts[0].n
				}
			}
			return
		}
		if pos < t.limit() {
			f(pos, s)
		}
		pos += uint64(s.messages())
	}
	b := &t.backlog
	for i := range b.head.len() {
		each(b.head.at(i))
	}
	if b.disk.Messages > 0 && len(t.cuts) > 0 {
		return
	}
	pos += uint64(b.disk.Messages)
	for i := range b.tail.len() {
		each(b.tail.at(i))
	}
	if t.open != nil && !t.openFanned {
		each(span{t.open, 0})
	}
}

// addSpan adds up to n messages of a span, and returns how many may still be
// added. Spans come in the order of their IDs.
func (p *page) addSpan(s span, n int) int {
	b, i := s.block, s.from
	if first := b.first + uint64(i); p.after >= first {
		i += int(min(p.after-first+1, uint64(b.Len()-i)))
	}
	for ; i < b.Len() && n > 0 && p.wants(b.first+uint64(i)); i++ {
		p.add(found{Seen: Seen{ID: b.first + uint64(i), State: Ready}, frame: b.span(i, i+1)})
		n--
	}
	return n
}

// state is where a parked message stands that is in memory.
func (p *parked) state() LookState {
	switch {
	case p.dead:
		return DeadMessages
	case p.lease != nil:
		return InFlight
	case p.heapAt >= 0:
		return Deferred
	}
	return Ready
}

func (c *Channel) seeParked(p *parked) found {
	f := found{Seen{ID: p.id, State: p.state(), Attempts: p.attempts, Reason: p.reason}, p.frame}
	if c.topic.log != nil {
		f.Place = p.lies
	}
	switch f.State {
	case InFlight:
		f.Due, f.Owner = p.lease.deadline, p.lease.consumer.Owner
	case Deferred, DeadMessages:
		f.Due = p.due
	}
	return f
}

// seeHeld is entry i of a chunk, which is in flight.
func (c *Channel) seeHeld(ch *chunk, i int) found {
	l := c.leases.at(ch.leases[i])
	f := found{Seen{ID: ch.first + uint64(i), State: InFlight, Attempts: 1, Due: l.deadline, Owner: l.consumer.Owner}, ch.frame(i)}
	if c.topic.log != nil {
		f.Place = ch.pos + uint64(i)
	}
	return f
}

func seeEntry(e entry, state LookState) found {
	f := found{Seen: Seen{ID: e.id, State: state, Attempts: e.attempts, Reason: e.reason, Place: e.place}}
	if state == Deferred {
		f.Due = e.due
	}
	return f
}
