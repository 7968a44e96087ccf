package queue

import "math"

// This file is consumers that want a part of the messages only. What of their
// share they are not given is finished for the channel.

// sampling chooses rate of each hundred messages, spread evenly.
type sampling struct {
	rate  int32 // 0 is all
	phase int32 // of 100: rises by rate with each message, and takes one when it is full
}

// takes reports whether the next message is one that the consumer is given.
func (s *sampling) takes() bool {
	if s.phase += s.rate; s.phase < 100 {
		return false
	}
	s.phase -= 100
	return true
}

// SetSampleRate makes the consumer get, of each hundred messages that are its
// share, percent ones, from 1 to 99; 0 is all of them. The others are skipped:
// nobody gets them, as if they had been finished. What was delivered before, to
// whomever, is never skipped.
func (k *Consumer) SetSampleRate(percent int32) { k.sampling = sampling{rate: percent} }

// Sampled is the number of messages that were skipped for the consumer.
func (k *Consumer) Sampled() uint64 { return k.skipped }

func (c *Channel) skipped(k *Consumer) {
	c.counts.Sampled++
	k.skipped++
}

// takeSome is takeFirst for a consumer that samples: of n messages at hand it
// takes its part, as many as credit and maxBytes allow, and steps over the
// others. What it takes is one run, though it does not lie in one piece.
func (c *Channel) takeSome(k *Consumer, run *Run, n, credit, maxBytes int, now int64) {
	ch := c.current
	b, first := ch.block, len(ch.leases)
	var l *lease
	for i, size := 0, 0; i < n; i++ {
		if !k.sampling.takes() {
			ch.leases = append(ch.leases, 0)
			c.skipped(k)
			continue
		}
		frame := ch.frame(first + i)
		if run.N == credit || size+len(frame) > maxBytes && run.N > 0 {
			k.sampling.phase += 100 - k.sampling.rate // it is the next one's turn again
			break
		}
		if l == nil {
			l = c.leases.grant(k, now, now+k.timeout, 0)
			l.chunk, l.from = ch, first+i
		}
		ch.leases = append(ch.leases, l.slot)
		l.to = first + i + 1
		l.open++
		size += len(frame)
		run.N++
		run.Again = append(run.Again, Redelivery{frame, 1})
	}
	ch.open += run.N
	// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
	c.cursor += uint64(len(ch.leases) - first)
	if run.N > 0 {
		b.refs++
		run.block = b
	}
	gone := b.sealed && ch.rest() == 0
	if ch.open == 0 {
		c.spendIfDone(ch)
	}
	if c.topic.log != nil && gone {
		c.topic.evict()
	}
}

// buriedAtOnce bounds how long one call takes that finds messages which may not
// be delivered any more: there may be a million of them.
const buriedAtOnce = 1000

// takeParked makes a run of messages that are ready again, or for the first
// time after their delay.
func (c *Channel) takeParked(k *Consumer, run *Run, credit, maxBytes int, turn bool, now int64) {
	share := c.share(k, c.parking.ready.n, c.parking.ready.n, turn)
	before := c.counts.Buried
	for taken, size := 0, 0; taken < share && run.N < credit && c.parking.ready.n > 0 && c.counts.Buried-before < buriedAtOnce; taken++ {
		p := c.parking.ready.front()
		if size += len(p.frame); size > maxBytes && run.N > 0 {
			return
		}
		c.parking.ready.remove(&p.queued)
		if c.spent(p.attempts) {
			c.bury(p, now) // the limit was lowered meanwhile
			taken--
			continue
		}
		if k.sampling.rate > 0 && p.attempts == 0 && !p.resumed && !p.revived && !k.sampling.takes() {
			c.parking.forget(p, c.topic.Store)
			c.note(Change{Entry: p.kept(), Gone: true})
			c.skipped(k)
			size -= len(p.frame)
			continue
		}
		if p.attempts < math.MaxUint16 {
			p.attempts++
		}
		p.lease = c.leases.grant(k, now, now+k.timeout, 1)
		p.lease.parked = p
		c.parking.flying++
		c.note(Change{Entry: p.kept()})
		run.Again = append(run.Again, Redelivery{p.frame, p.attempts})
		run.N++
	}
}
