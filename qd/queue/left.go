package queue

// This file is what a drain asks: what is there still to be delivered by a time?

// Left is what a topic, its channels included, has left. Each channel's copy of
// a message counts.
type Left struct {
	Ready    int // for a channel or, if there is none, in the topic
	InFlight int
	Due      int // deferred, and due in time
	Later    int // deferred for longer
	Dead     int
}

// Messages is how many of them there are to be waited for: all but those that
// nobody will get in time.
func (l Left) Messages() int { return l.Ready + l.InFlight + l.Due }

// Left counts what is left. Deferred messages are in time if they are due at
// until or before; only those are gone through, and up to one span of the
// calendar.
func (t *Topic) Left(until int64) Left {
	l := Left{Ready: t.waiting()}
	due, all := t.unclaimed(until), len(t.deferred)
	if t.log != nil {
		all += len(t.log.deferred)
	}
	l.Due, l.Later = due, all-due
	for _, c := range t.channels {
		due, all := waitingBy(c.parking.waiting.items, until)+c.parking.shelf.later.dueBy(until), c.Deferred()
		l.Ready += c.Depth()
		l.InFlight += c.InFlight()
		l.Due += due
		l.Later += all - due
		l.Dead += c.Dead()
	}
	return l
}

// HasLeft reports whether Left would count any Messages, and is quick about it.
func (t *Topic) HasLeft(until int64) bool {
	for _, c := range t.channels {
		if c.Depth() > 0 || c.InFlight() > 0 || c.parking.shelf.later.hasBy(until) {
			return true
		}
		if p := c.parking.waiting.first(); p != nil && p.due <= until {
			return true
		}
	}
	return t.waiting() > 0 || t.unclaimed(until) > 0
}

// unclaimed is how many of the deferred publishes that no channel has yet are
// due by until.
func (t *Topic) unclaimed(until int64) (n int) {
	for _, p := range t.deferred {
		if p.due <= until {
			n++
		}
	}
	if t.log == nil {
		return n
	}
	for i := range t.log.deferred {
		if t.log.deferred[i].due <= until {
			n++
		}
	}
	return n
}

// waitingBy is how many messages of a heap are due at until or before.
func waitingBy(items []*parked, until int64) int {
	return countDue(len(items), func(i int) bool { return items[i].due <= until })
}

// dueBy is how many entries are due at until or before.
func (c *calendar) dueBy(until int64) int {
	n := len(c.near)
	if until < c.horizon {
		n = countDue(n, func(i int) bool { return c.near[i].due <= until })
	}
	for _, key := range c.keys {
		switch last := until >> spanBits; {
		case key < last:
			n += len(c.far[key])
		case key == last:
			for i := range c.far[key] {
				if c.far[key][i].due <= until {
					n++
				}
			}
		default:
			return n
		}
	}
	return n
}

// hasBy reports whether any entry is due at until or before.
func (c *calendar) hasBy(until int64) bool {
	if len(c.near) > 0 {
		return c.near[0].due <= until
	}
	if len(c.keys) == 0 || c.keys[0] > until>>spanBits {
		return false
	}
	return c.keys[0] < until>>spanBits || c.dueBy(until) > 0
}

// countDue counts the members of a heap of n that are due. Below one that is
// not, none is, so no more are looked at than twice as many as are counted.
func countDue(n int, due func(i int) bool) (count int) {
	var from func(i int)
	from = func(i int) {
		if i >= n || !due(i) {
			return
		}
		count++
		from(2*i + 1)
		from(2*i + 2)
	}
	from(0)
	return count
}
