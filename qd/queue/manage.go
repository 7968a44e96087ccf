// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative.

package queue

import (
	"math"
	"slices"
)

// This file is what operators do to topics and channels.

// Channel returns the channel called name, or nil.
func (t *Topic) Channel(name string) *Channel {
	for _, c := range t.channels {
		if c.name == name {
			return c
		}
	}
	return nil
}

// Channels returns the channels in the order of their creation. The slice must
// not be changed, nor used after the next call on the topic.
func (t *Topic) Channels() []*Channel { return t.channels }

// AddChannel opens a channel. The first one gets everything that waits in the
// topic, later ones what is published from now on.
func (t *Topic) AddChannel(name string, now int64) *Channel {
	c := t.join(name)
	if t.log != nil {
		c.cursor, c.from = t.log.base, t.log.base
		if len(t.channels) > 1 {
			c.cursor, c.from = t.limit(), t.limit()
		}
		t.handOver(now)
		return c
	}
	c.cursor = t.fanned
	if len(t.channels) > 1 {
		c.cursor = t.limit()
		if t.openFanned {
			t.seal() // so that what comes is in a block that the channel gets
		}
	}
	c.from = c.cursor
	t.handOver(now)
	return c
}

func (t *Topic) join(name string) *Channel {
	t.joined++
	c := &Channel{name: name, topic: t, serial: t.joined, lowest: math.MaxUint64, consumers: make(map[*Consumer]struct{})}
	t.channels = append(t.channels, c)
	return c
}

// RemoveChannel deletes a channel and all that is in it. Its consumers are
// gone; they are returned so that their connections can be closed.
func (t *Topic) RemoveChannel(c *Channel) (orphaned []*Consumer) {
	for k := range c.consumers {
		k.gone = true
		c.unwait(k)
		orphaned = append(orphaned, k)
	}
	c.Empty()
	for _, p := range c.parking.dead {
		t.Store.Charge(-p.cost())
	}
	c.parking.dead = nil
	if b := &c.backlog; b.purging || b.writing || b.reading {
		t.orphans = append(t.orphans, c.name)
	}
	clear(c.consumers)
	c.nearer = nil
	if len(t.channels) == 1 {
		t.seal()
	}
	t.channels = slices.DeleteFunc(t.channels, func(o *Channel) bool { return o == c })
	if t.log != nil {
		t.log.settled += c.settled() + uint64(c.Dead())
		if len(t.channels) == 0 {
			t.log.base = t.limit()
		}
		t.evict()
		return orphaned
	}
	if len(t.channels) == 0 {
		// What was for the channels goes with the last of them.
		t.discard(t.fanned, int(t.limit()-t.fanned))
		t.pausedAt = t.fanned
	} else {
		t.trim()
	}
	return orphaned
}

// discard drops n messages that lie in the backlog from position at on, where
// a block begins, up to the end or to what is held back by a pause.
func (t *Topic) discard(at uint64, n int) {
	t.end -= uint64(n)
	if t.end == t.fanned { // of the backlog, nothing is wanted
		t.cuts = nil
		for _, s := range t.backlog.clear() {
			t.drop(s.block)
		}
		return
	}
	last := len(t.cuts) - 1
	for ; last >= 0 && t.cuts[last].at >= at; last-- {
		n += t.cuts[last].n // lay between
	}
	if t.cuts = t.cuts[:last+1]; n > 0 {
		t.cuts = append(t.cuts, cut{at, n})
	}
}

// cutOff drops a span of the backlog if it is to be discarded.
func (t *Topic) cutOff(s span) bool {
	if len(t.cuts) == 0 || t.fanned < t.cuts[0].at {
		return false
	}
	if t.cuts[0].n -= s.messages(); t.cuts[0].n <= 0 {
		t.cuts = t.cuts[1:]
	}
	t.drop(s.block)
	return true
}

// toBeCut is the number of messages in the backlog that are to be discarded.
func (t *Topic) toBeCut() int {
	n := 0
	for _, c := range t.cuts {
		n += c.n
	}
	return n
}

// Empty drops the messages that wait in the topic itself: all of them while it
// has no channel, what came since its pause while it is paused, else none.
func (t *Topic) Empty() {
	if t.log != nil {
		t.emptyLogged()
		return
	}
	t.seal()
	n := t.waiting()
	t.emptied += uint64(n + len(t.deferred))
	t.discard(t.end-uint64(n), n)
	for _, p := range t.deferred {
		t.Store.Charge(-p.cost())
	}
	t.deferred = nil
}

// waiting is the number of messages that are not (yet) for any channel.
func (t *Topic) waiting() int {
	switch l := t.log; {
	case l != nil && len(t.channels) == 0:
		return l.messages(l.base, t.end)
	case l != nil && t.paused:
		return l.messages(t.pausedAt, t.end)

	case len(t.channels) == 0:
		return int(t.end - t.fanned)
	case t.paused:
		return int(t.end - t.pausedAt)
	}
	return 0
}

// Depth is the number of messages that wait in the topic for a channel, or
// for the end of its pause.
func (t *Topic) Depth() int {
	n := t.waiting() + len(t.deferred)
	if t.log != nil {
		n += len(t.log.deferred)
	}
	return n
}

// DiskDepth is how many of them, at most, are on disk and not in memory.
func (t *Topic) DiskDepth() int {
	l := t.log
	if l == nil {
		return min(t.waiting(), t.backlog.disk.Messages)
	}
	from := t.limit()
	if len(t.channels) == 0 {
		from = l.base
	}
	return l.messages(from, t.inMemoryFrom())
}

// Published is the number of messages and the bytes of their bodies since the
// topic was opened.
func (t *Topic) Published() (messages, bytes uint64) { return t.published, t.bytes }

// Empty drops all messages of the channel: those never delivered, those in
// flight and those parked, but not the dead.
func (c *Channel) Empty() {
	t := c.topic
	if t.log != nil {
		c.counts.Emptied += uint64(c.Depth() + c.Deferred() + c.InFlight())
		c.forget(func(entry) bool { return false })
		c.jumped += t.log.gone(c.cursor, max(c.cursor, t.limit()))
		c.cursor = max(c.cursor, t.limit())
		t.evict()
		return
	}
	if t.openFanned {
		t.seal()
	}
	c.counts.Emptied += uint64(c.Depth() + c.Deferred() + c.InFlight())
	for _, s := range c.backlog.clear() {
		t.drop(s.block)
	}
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
	c.window, c.current, c.leases, c.parking = window{}, nil, leases{}, parking{dead: c.parking.dead}
	c.cursor = max(c.cursor, t.limit())
	c.stalled = false
	for k := range c.consumers {
		c.recheck(k)
	}
	t.trim()
}

// trim forgets a backlog that no channel wants.
func (t *Topic) trim() {
	if t.paused {
		return
	}
	for _, c := range t.channels {
		if c.cursor < t.end {
			return
		}
	}
	t.seal()
	for _, s := range t.backlog.clear() {
		t.drop(s.block)
	}
	t.fanned, t.cuts = t.end, nil
}
