package queue

import (
	"errors"
	"slices"
)

// This file is messages that are not delivered any more, because they were too
// often. They are kept until somebody decides.

// ErrNotDead is returned for IDs that are not those of dead messages.
var ErrNotDead = errors.New("no dead message has this ID")

// SetMaxAttempts sets how often a message is delivered before it is dead; 0 is
// for ever.
func (c *Channel) SetMaxAttempts(n int) { c.maxAttempts = n }

// MaxAttempts is what was set.
func (c *Channel) MaxAttempts() int { return c.maxAttempts }

// spent reports whether a message was delivered as often as it may be.
func (c *Channel) spent(attempts uint16) bool {
	return c.maxAttempts > 0 && int(attempts) >= c.maxAttempts
}

// bury makes a message dead that is not in flight and not in line.
func (c *Channel) bury(p *parked, now int64) {
	c.parking.forget(p, c.topic.Store)
	if c.topic.log != nil {
		p.frame = nil // it is in the log
	}
	p.due, p.dead, p.resumed = now, true, false
	c.inter(p)
	c.counts.Buried++
	c.note(Change{Entry: p.kept()})
}

// inter puts a message among the dead.
func (c *Channel) inter(p *parked) {
	if c.parking.dead == nil {
		c.parking.dead = make(map[uint64]*parked)
	}
	c.parking.dead[p.id] = p
	c.topic.Store.Charge(p.cost())
}

// Dead is the number of dead messages.
func (c *Channel) Dead() int { return len(c.parking.dead) }

// Revive puts a dead message in line again, as if it had never been delivered.
func (c *Channel) Revive(id uint64, now int64) error {
	p, err := c.exhume(id)
	if err != nil {
		return err
	}
	c.counts.Revived++
	p.attempts, p.reason, p.revived = 0, Fresh, true
	c.park(p, now, now)
	c.rouse()
	return nil
}

// Delete drops a dead message.
func (c *Channel) Delete(id uint64) error {
	p, err := c.exhume(id)
	if err != nil {
		return err
	}
	c.counts.Deleted++
	c.note(Change{Entry: p.kept(), Gone: true})
	return nil
}

func (c *Channel) exhume(id uint64) (*parked, error) {
	p := c.parking.dead[id]
	if p == nil {
		return nil, ErrNotDead
	}
	delete(c.parking.dead, id)
	c.topic.Store.Charge(-p.cost())
	p.dead = false
	return p, nil
}

// DeadIDs returns the IDs of the dead messages, in order.
func (c *Channel) DeadIDs() []uint64 {
	ids := make([]uint64, 0, len(c.parking.dead))
	for id := range c.parking.dead {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
