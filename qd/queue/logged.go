package queue

import (
	"fmt"
	"slices"
	"sort"

	"github.com/millrace-mq/millrace/protocol"
)

// This file is a topic whose messages lie in a log. The owner writes what is
// staged to the log and then commits it; channels read blocks that are still in
// memory, or have them loaded. Positions are those of the log, so they outlive
// the process, and a channel's backlog is nothing but the distance from its
// cursor to the topic's limit.

// logged is what a topic with a log has in place of a backlog.
type logged struct {
	first  uint64       // position of the oldest message that is kept
	base   uint64       // where the first channel will begin, while there is none
	side   uint64       // position behind the newest message of the side log
	recent fifo[*Block] // sealed blocks that are in memory, in order
	kept   int          // messages in them
	holes  []Hole       // ascending; positions without a message

	fill      *Block   // the block that is staged to; the open one at first
	staged    []*Block // those with staged messages
	next      uint64   // position of the next message to be staged
	before    [2]uint64
	bytes     uint64  // of the bodies staged
	deferred  []entry // deferred publishes that no channel has yet
	settled   uint64  // messages that have left channels which are gone
	sideLimit uint64  // while paused: deferred publishes from here on wait
}

// LogState is what is to be kept of a topic with a log, besides the log.
type LogState struct {
	Paused     bool   `json:"paused,omitempty"`
	PausedAt   uint64 `json:"paused_at,omitempty"`   // position that the channels may not pass
	PausedSide uint64 `json:"paused_side,omitempty"` // the same in the side log
	Pause      Pause  `json:"pause,omitzero"`        // why, while it is paused
	Base       uint64 `json:"base,omitempty"`        // where the first channel begins
	BaseSide   uint64 `json:"base_side,omitempty"`
	Holes      []Hole `json:"holes,omitempty"`
}

// NewLoggedTopic returns a topic whose log has messages from position first up
// to end, and whose side log goes up to side. waiting are the deferred publishes
// of the side log that no channel has.
func NewLoggedTopic(c Config, s LogState, first, end, side uint64, waiting []Entry) *Topic {
	t := NewTopic(c)
	t.end, t.fanned = end, end
	t.paused, t.pausedAt = s.Paused, min(s.PausedAt, end)
	l := &logged{first: first, base: max(s.Base, first), side: side, next: end, holes: slices.Clone(s.Holes), sideLimit: s.PausedSide}
	for _, e := range waiting {
		l.deferred = append(l.deferred, e.compact())
	}
	t.log = l
	if t.paused {
		t.pause = s.Pause
		t.pausedAt = max(t.pausedAt, first)
	}
	t.forgetHoles()
	return t
}

// LogState returns what is to be kept of the topic.
func (t *Topic) LogState() LogState {
	l := t.log
	s := LogState{Paused: t.paused, Pause: t.pause, Base: l.base, BaseSide: l.untaken(), Holes: slices.Clone(l.holes)}
	if t.paused {
		s.PausedAt, s.PausedSide = t.pausedAt, l.sideLimit
	}
	return s
}

// untaken is the position in the side log from which on no channel has taken in
// the deferred publishes.
func (l *logged) untaken() uint64 {
	if len(l.deferred) > 0 {
		return l.deferred[0].place &^ Side
	}
	return l.side
}

// End is the position behind the newest message that was committed.
func (t *Topic) End() uint64 { return t.end }

// Stage appends messages where no channel sees them yet. The bodies are copied.
// IDs and positions are consecutive within the call.
func (t *Topic) Stage(bodies [][]byte, now int64) {
	l := t.log
	if len(l.staged) == 0 {
		l.before = [2]uint64{t.nextID, t.lastID}
	}
	if t.lastID-t.nextID < uint64(len(bodies)) {
		t.nextID = t.Extent()
		t.lastID = t.nextID + IDExtent
		l.fill = nil
	}
	for len(bodies) > 0 {
		if l.fill == nil || l.fill.room() < protocol.MessageOverhead+len(bodies[0]) {
			l.fill = t.newBlock(bodies)
			l.staged = append(l.staged, l.fill)
		} else if n := len(l.staged); n == 0 || l.staged[n-1] != l.fill {
			l.staged = append(l.staged, l.fill)
		}
		n := 0
		for _, body := range bodies {
			if l.fill.room() < protocol.MessageOverhead+len(body) {
				break
			}
			l.fill.append(now, body)
			l.bytes += uint64(len(body))
			n++
		}
		l.fill.stamp(now)
		t.nextID += uint64(n)
		l.next += uint64(n)
		bodies = bodies[n:]
	}
}

func (t *Topic) newBlock(bodies [][]byte) *Block {
	b := t.Store.Block(t.sizeFor(bodies))
	b.first, b.pos, b.refs = t.nextID, t.log.next, 1
	return b
}

// Piece is some staged messages, to be one record of the log.
type Piece struct {
	Position, FirstID uint64
	Messages          int
	Frames            [][]byte // in order, one behind the other
}

// Staged appends what is staged to pieces, all of it in one if IDs allow. The
// frames stay valid and unchanged until Commit or Rollback.
func (t *Topic) Staged(pieces []Piece) []Piece {
	for _, b := range t.log.staged {
		from, to := b.n, len(b.ends)
		// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
		id, pos := b.first+uint64(from), b.pos+uint64(from)
		n := len(pieces)
		// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
		if n == 0 || pieces[n-1].FirstID+uint64(pieces[n-1].Messages) != id {
			if n < cap(pieces) {
				pieces = pieces[:n+1] // its list of frames is used again
			} else {
				pieces = append(pieces, Piece{})
			}
			pieces[n] = Piece{Position: pos, FirstID: id, Frames: pieces[n].Frames[:0]}
			n++
		}
		p := &pieces[n-1]
		p.Messages += to - from
		p.Frames = append(p.Frames, b.span(from, to))
	}
	return pieces
}

// Commit lets the channels have what is staged. It is in the log.
func (t *Topic) Commit() {
	l := t.log
	if len(l.staged) == 0 {
		return
	}
	if t.open != nil && t.open != l.staged[0] {
		t.sealLogged()
	}
	last := len(l.staged) - 1
	for i, b := range l.staged {
		b.show()
		if t.open = b; i < last {
			t.sealLogged()
		}
	}
	clear(l.staged)
	l.staged = l.staged[:0]
	t.published += l.next - t.end
	t.bytes += l.bytes
	l.bytes = 0
	t.end = l.next
	t.evict()
	for _, c := range t.channels {
		c.shed()
		c.rouse()
	}
}

// Rollback forgets what is staged. Its positions and IDs will be used again.
func (t *Topic) Rollback() {
	l := t.log
	if len(l.staged) == 0 {
		return
	}
	for _, b := range l.staged {
		if b == t.open {
			b.unstage()
		} else {
			t.drop(b)
		}
	}
	clear(l.staged)
	l.staged, l.bytes = l.staged[:0], 0
	l.fill, l.next = t.open, t.end
	t.nextID, t.lastID = l.before[0], l.before[1]
}

// sealLogged closes the open block. It is not called while something is staged
// behind it, but by Commit.
func (t *Topic) sealLogged() {
	b, l := t.open, t.log
	b.sealed, t.open = true, nil
	if l.fill == b {
		l.fill = nil
	}
	l.recent.push(b)
	l.kept += b.n
	for _, c := range t.channels {
		if c.current != nil && c.current.block == b {
			c.spendIfDone(c.current)
		}
	}
}

// evict lets go of the oldest blocks in memory that every channel has begun, or
// for which there is no room: they are in the log.
func (t *Topic) evict() {
	l := t.log
	for l.recent.len() > 0 {
		b := l.recent.at(0)
		if l.kept <= t.MemoryMessages && !t.Store.Tight() && !t.passed(b.end()) {
			return
		}
		l.kept -= b.n
		t.drop(l.recent.pop())
	}
}

// passed reports whether no channel, be it the first one to come, needs what
// lies before a position.
func (t *Topic) passed(pos uint64) bool {
	if len(t.channels) == 0 {
		return t.log.base >= pos
	}
	for _, c := range t.channels {
		if c.cursor < pos {
			return false
		}
	}
	return true
}

// block returns the block in memory that has the message at pos, or nil.
func (t *Topic) block(pos uint64) *Block {
	l := t.log
	if t.open != nil && pos >= t.open.pos {
		if pos < t.open.end() {
			return t.open
		}
		return nil
	}
	n := l.recent.len()
	i := sort.Search(n, func(i int) bool { return l.recent.at(i).pos > pos })
	if i == 0 || pos >= l.recent.at(i-1).end() {
		return nil
	}
	return l.recent.at(i - 1)
}

// inMemoryFrom is the first position from which on everything is in memory.
func (t *Topic) inMemoryFrom() uint64 {
	switch l := t.log; {
	case l.recent.len() > 0:
		return l.recent.at(0).pos
	case t.open != nil:
		return t.open.pos
	}
	return t.end
}

// Trimmed tells that the log has no messages before a position any more. The
// channels that were behind it have missed some.
func (t *Topic) Trimmed(first uint64) {
	l := t.log
	l.first = max(l.first, first)
	l.base = max(l.base, l.first)
	if t.paused {
		t.pausedAt = max(t.pausedAt, min(l.first, t.end))
	}
	for _, c := range t.channels {
		c.dropTo(l.first)
	}
	t.forgetHoles()
	t.evict()
}

// Low is the position before which no channel needs the log any more, but for
// its parked messages.
func (t *Topic) Low() uint64 {
	low := t.end
	if len(t.channels) == 0 {
		low = t.log.base
	}
	for _, c := range t.channels {
		low = min(low, c.low())
	}
	return max(low, t.log.first)
}

// Owed is Low, but for what an ephemeral channel has still to replay: it gets that if it is
// there, and nobody owes it.
func (t *Topic) Owed() uint64 {
	low := t.end
	if len(t.channels) == 0 {
		low = t.log.base
	}
	for _, c := range t.channels {
		if c.Replays() {
			low = min(low, c.flying(t.end))
		} else {
			low = min(low, c.low())
		}
	}
	return max(low, t.log.first)
}

func (c *Channel) low() uint64 { return c.flying(c.cursor) }

// flying is where the first block lies of which something is in flight, if that is before
// pos.
func (c *Channel) flying(pos uint64) uint64 {
	for i := range c.window.chunks.len() {
		if ch := c.window.chunks.at(i); ch.block != nil && ch.open > 0 {
			return min(pos, ch.pos)
		}
	}
	return pos
}

// auditLog is Audit for a topic with a log.
func (t *Topic) auditLog() error {
	l := t.log
	kept := 0
	for i := range l.recent.len() {
		b := l.recent.at(i)
		if kept += b.n; i > 0 && l.recent.at(i-1).end() > b.pos {
			return fmt.Errorf("topic %s: blocks in memory are out of order at %d", t.Name, b.pos)
		}
	}
	if kept != l.kept || t.limit() > t.end || l.next < t.end || len(l.staged) == 0 && l.next != t.end {
		return fmt.Errorf("topic %s: %d messages in memory for %d, limit %d, end %d, next %d", t.Name, kept, l.kept, t.limit(), t.end, l.next)
	}
	for _, c := range t.channels {
		if err := c.audit(); err != nil {
			return fmt.Errorf("topic %s, channel %s: %w", t.Name, c.name, err)
		}
	}
	return nil
}

// DropTo makes all channels miss what they have not begun before pos, but for those that
// replay.
func (t *Topic) DropTo(pos uint64) {
	t.log.base = max(t.log.base, min(pos, t.limit()))
	for _, c := range t.channels {
		if !c.Replays() {
			c.dropTo(pos)
		}
	}
	t.evict()
}

// DropOldest makes each channel that has more than n undelivered messages miss
// the oldest, but for those that replay.
func (t *Topic) DropOldest(n int) {
	if more := t.log.messages(t.log.base, t.end) - n; len(t.channels) == 0 && more > 0 {
		t.dropped += uint64(more)
		t.log.base = t.log.behind(t.log.base, more)
	}
	for _, c := range t.channels {
		if more := c.unread() - n; more > 0 && !c.Replays() {
			c.dropTo(t.log.behind(c.cursor, more))
		}
	}
	t.evict()
}

// SideLow is the position of the side log before which every channel has taken
// in the deferred publishes.
func (t *Topic) SideLow() uint64 { return t.log.untaken() }

// Cursor is the position of the channel's next first delivery.
func (c *Channel) Cursor() uint64 { return c.cursor }

// Parked is the number of messages that the channel has out of line: in flight
// again, waiting, ready or dead.
func (c *Channel) Parked() int {
	return len(c.parking.byID) + len(c.parking.dead) + c.parking.shelf.count()
}

// Settled is how many messages have left the channels, by any way: it tells
// whether anything can have become free since it was last asked for.
func (t *Topic) Settled() uint64 {
	n := t.log.settled
	for _, c := range t.channels {
		n += c.settled()
	}
	return n
}

func (c *Channel) settled() uint64 {
	return c.counts.Finished + c.counts.Sampled + c.counts.Emptied + c.counts.Dropped + c.counts.Lost + c.counts.Deleted
}
