package queue

import (
	"slices"
	"time"
)

// This file is consumers that are nearer than others: they are served first.
//
// A consumer is ready while it has credit and waits, or has its turn, or is
// writing its last run and has been for no more than patience. It is not while it
// yields, which is when its connection does not take something else. One that
// is farther gets messages while none that is nearer is ready, so it gets what
// the nearer ones cannot take, and nobody waits for one that is stuck.

// Nearness is how near a consumer is to the daemon.
type Nearness uint8

// The kinds of nearness, each nearer than those before it.
const (
	Elsewhere Nearness = iota
	Region             // in the same region
	Zone               // in the same zone of the same region

	nearnesses = iota
)

// patience is how long those who are farther wait for a nearer consumer that has
// credit to come back for more: the write of a run takes far less, unless the
// connection is full.
const patience = int64(20 * time.Millisecond)

// line is the consumers of one nearness.
type line struct {
	waiting list[Consumer] // asleep and with credit, longest first
	turns   int            // how many were woken and have not come yet
	members int
}

// busy reports whether others wait, or have their turn.
func (l *line) busy() bool { return l.waiting.n+l.turns > 0 }

// SetNearness says how near the consumer is. It comes before all other calls;
// without it, the consumer is Elsewhere.
func (k *Consumer) SetNearness(n Nearness) {
	c := k.channel
	c.lines[k.near].members--
	k.near = n
	c.lines[n].members++
	if n != Elsewhere {
		c.nearer = append(c.nearer, k)
	}
}

// leaveLine forgets a consumer that has gone.
func (c *Channel) leaveLine(k *Consumer) {
	c.unwait(k)
	c.endTurn(k)
	c.lines[k.near].members--
	if k.near != Elsewhere {
		c.nearer = slices.DeleteFunc(c.nearer, func(o *Consumer) bool { return o == k })
	}
}

// first is the nearest line in which somebody waits, of which there is one.
func (c *Channel) first() *line {
	if len(c.nearer) > 0 {
		for i := nearnesses - 1; i > 0; i-- {
			if c.lines[i].waiting.n > 0 {
				return &c.lines[i]
			}
		}
	}
	return &c.lines[Elsewhere]
}

// outdone reports whether somebody who is nearer than that is ready. If it is
// one that may be stuck, Expire will see to it.
func (c *Channel) outdone(near Nearness) (yes bool) {
	for _, k := range c.nearer {
		if k.near <= near || k.absent || k.credit() == 0 {
			continue
		}
		yes = true
		if k.asleep || k.turn {
			return true
		}
		if until := k.took + patience; c.topic.lookAt == 0 || until < c.topic.lookAt {
			c.topic.lookAt = until
		}
	}
	return yes
}

// NextLook is when Expire is to see whether a consumer is stuck that others
// wait for; ok is false while none may be. Any call on the topic can bring it
// forward, a publish too.
func (t *Topic) NextLook() (when int64, ok bool) { return t.lookAt, t.lookAt != 0 }

// lookForStuck takes those who have not come back for too long for not ready.
func (t *Topic) lookForStuck(now int64) {
	if t.lookAt == 0 || t.lookAt > now {
		return
	}
	t.lookAt = 0
	for _, c := range t.channels {
		for _, k := range c.nearer {
			if !k.asleep && !k.turn && k.took+patience <= now {
				k.absent = true
			}
		}
	}
}
