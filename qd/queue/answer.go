package queue

import "slices"

// This file is what becomes of messages in flight: finished, requeued,
// touched, timed out.

// held is a message in flight: an entry of a chunk, or parked.
type held struct {
	lease *lease
	chunk *chunk
	i     int
}

// hold finds the message with the ID that k must hold.
func (c *Channel) hold(k *Consumer, id uint64) (h held, err error) {
	if ch, i := c.window.find(id); ch != nil {
		h = held{c.leases.at(ch.leases[i]), ch, i}
	}
	if h.lease == nil && c.parking.flying > 0 {
		if p := c.parking.byID[id]; p != nil {
			h = held{lease: p.lease}
		}
	}
	switch {
	case h.lease == nil:
		return h, ErrNotInFlight
	case h.lease.consumer != k:
		return h, ErrNotOwner
	}
	return h, nil
}

// Finish ends the messages with the given IDs, held by k. failed is called
// for each that k does not hold, with its index.
func (c *Channel) Finish(k *Consumer, ids []uint64, now int64, failed func(i int, err error)) {
	m := meter{now: now}
	for i, id := range ids {
		h, err := c.hold(k, id)
		if err != nil {
			failed(i, err)
			continue
		}
		if p := h.lease.parked; p != nil {
			c.count(k, &m)
			m.begin(publishedIn(p.frame), h.lease.delivered)
			c.unpark(p)
			c.note(Change{Entry: p.kept(), Gone: true})
		} else if h.chunk != m.chunk || h.i < m.from || h.i >= m.to {
			c.count(k, &m)
			m.enter(h.chunk, h.i, h.lease.delivered)
		}
		m.n++
		c.settle(h)
		k.finished++
		c.counts.Finished++
	}
	c.count(k, &m)
	c.recheck(k)
	c.rouse() // the parked may have been too many
}

// Requeue makes a message that k holds ready again after delay nanoseconds; 0
// is at once, behind what is already ready again.
func (c *Channel) Requeue(k *Consumer, id uint64, delay, now int64) error {
	h, err := c.hold(k, id)
	if err != nil {
		return err
	}
	k.holding.add(1, now-h.lease.delivered)
	p := c.withdraw(h, Requeued)
	k.requeued++
	c.counts.Requeued++
	c.comeBack(p, now+delay, now)
	c.recheck(k)
	c.rouse()
	return nil
}

// Touch renews a message that k holds: its deadline becomes now plus k's
// timeout, but no later than its delivery plus most nanoseconds.
func (c *Channel) Touch(k *Consumer, id uint64, most, now int64) error {
	h, err := c.hold(k, id)
	if err != nil {
		return err
	}
	old := h.lease
	deadline := min(now+k.timeout, old.delivered+most)
	l := c.leases.grant(k, old.delivered, deadline, 1)
	if l.parked = old.parked; l.parked != nil {
		l.parked.lease = l
	} else {
		l.chunk, l.from, l.to = h.chunk, h.i, h.i+1
		h.chunk.leases[h.i] = l.slot
	}
	k.inFlight++ // settle takes it off again
	c.leases.settle(old)
	return nil
}

// settle takes a message out of flight for good; one that is parked must have
// been unparked or parked anew.
func (c *Channel) settle(h held) {
	c.leases.settle(h.lease)
	if h.chunk != nil {
		h.chunk.leases[h.i] = 0
		h.chunk.open--
		if h.chunk.open == 0 {
			c.spendIfDone(h.chunk)
		}
	}
}

// unpark forgets a parked message that is in flight.
func (c *Channel) unpark(p *parked) {
	c.parking.flying--
	c.parking.forget(p, c.topic.Store)
}

// withdraw takes a message out of flight, to be parked.
func (c *Channel) withdraw(h held, why Reason) *parked {
	p := h.lease.parked
	if p == nil {
		frame := slices.Clone(h.chunk.frame(h.i))
		// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
		p = &parked{id: idOf(frame), frame: frame, lies: h.chunk.pos + uint64(h.i), attempts: attemptsOf(frame), heapAt: -1}
	} else {
		c.parking.flying--
	}
	c.settle(h)
	p.lease = nil
	p.reason = why
	return p
}

// comeBack parks a message that a consumer has had, or buries it.
func (c *Channel) comeBack(p *parked, due, now int64) {
	if c.spent(p.attempts) {
		c.parking.add(p, c.topic.Store)
		c.bury(p, now)
		return
	}
	c.park(p, due, now)
}

// park puts a message that is not in flight out of line until due. If the topic
// has a log, its body is in memory only when it is needed soon.
func (c *Channel) park(p *parked, due, now int64) {
	p.due = due
	p.resumed = false
	g := &c.parking
	if c.topic.log == nil {
		g.add(p, c.topic.Store)
		g.wait(p, now)
		return
	}
	e := entry{due: due, id: p.id, place: p.lies, attempts: p.attempts, reason: p.reason, revived: p.revived}
	if due <= now {
		e.due = 0
	}
	c.note(Change{Entry: e.kept()})
	if due > now || g.shelf.ready() > 0 || p.frame == nil || g.bytes > c.topic.Store.ParkedLimit()/2 {
		if g.byID[p.id] == p {
			g.forget(p, c.topic.Store)
		}
		c.shelve(e, now)
		return
	}
	g.add(p, c.topic.Store)
	g.wait(p, now)
}

// revoke ends a lease and hands each of its messages to f.
func (c *Channel) revoke(l *lease, why Reason, f func(p *parked)) {
	if l.parked != nil {
		f(c.withdraw(held{lease: l}, why))
		return
	}
	slot, ch := l.slot, l.chunk
	for i, to := l.from, l.to; i < to && l.open > 0 && l.slot == slot && l.chunk == ch; i++ {
		if ch.leases[i] == slot {
			f(c.withdraw(held{l, ch, i}, why))
		}
	}
}

// evacuate parks the messages of a chunk that are in flight, where they stay
// in flight, so that the chunk's block can go.
func (c *Channel) evacuate(ch *chunk) {
	for i := 0; ch.open > 0; i++ {
		if ch.leases[i] == 0 {
			continue
		}
		old := c.leases.bySlot[ch.leases[i]]
		k, delivered, deadline := old.consumer, old.delivered, old.deadline
		p := c.withdraw(held{old, ch, i}, Fresh)
		p.lease = c.leases.grant(k, delivered, deadline, 1)
		p.lease.parked = p
		k.inFlight++
		c.parking.add(p, c.topic.Store)
		c.parking.flying++
		c.note(Change{Entry: p.kept()})
	}
}

// Expire ends the leases whose deadline has come and makes ready the parked
// messages that are due.
func (c *Channel) Expire(now int64) {
	for l := c.leases.heap.first(); l != nil && l.deadline <= now; l = c.leases.heap.first() {
		k := l.consumer
		c.revoke(l, TimedOut, func(p *parked) {
			c.counts.TimedOut++
			k.timedOut++
			c.comeBack(p, now, now)
		})
		c.recheck(k)
	}
	c.parking.wake(now)
	c.rouse()
}

// Earliest is when Expire is next needed for the channel; ok is false when it is
// not.
func (c *Channel) Earliest() (when int64, ok bool) {
	if l := c.leases.heap.first(); l != nil {
		when, ok = l.deadline, true
	}
	if p := c.parking.waiting.first(); p != nil && (!ok || p.due < when) {
		when, ok = p.due, true
	}
	if e, some := c.parking.shelf.later.first(); some && (!ok || e.due < when) {
		when, ok = e.due, true
	}
	return when, ok
}
