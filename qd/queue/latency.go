package queue

import (
	"encoding/binary"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// This file is how long messages take from their publication to their FIN.

// LatencyBounds are the upper bounds of the buckets of Latencies, in
// nanoseconds. What is as long as a bound is in its bucket.
var LatencyBounds = [...]int64{
	int64(100 * time.Microsecond), int64(300 * time.Microsecond),
	int64(time.Millisecond), int64(3 * time.Millisecond), int64(10 * time.Millisecond), int64(30 * time.Millisecond),
	int64(100 * time.Millisecond), int64(300 * time.Millisecond),
	int64(time.Second), int64(3 * time.Second), int64(10 * time.Second), int64(30 * time.Second),
	int64(time.Minute), int64(3 * time.Minute), int64(10 * time.Minute), int64(time.Hour),
}

// Latencies are the times from publication to FIN of the messages that were
// finished since the channel was opened.
type Latencies struct {
	Counts [len(LatencyBounds) + 1]uint64 // per bucket; the last is for what is longer than all bounds
	Sum    float64                        // ns
}

// Latencies returns how long messages took.
func (c *Channel) Latencies() Latencies { return c.latencies }

// WatchLatencies has f called, within Finish, with the time of it, a latency in
// nanoseconds and how many messages in a row had that; nil ends it.
func (c *Channel) WatchLatencies(f func(now, ns int64, messages int)) { c.watcher = f }

// meter takes the latencies of one batch of answers. Neighbours were mostly
// published together, so it looks for the bucket only when it is another one.
type meter struct {
	now       int64
	low, high int64 // what is above low and at most high is in the bucket; nothing at first
	bucket    int
	n         uint64 // messages in it
	sum       uint64 // of at most an hour each, so a batch does not overflow it

	// Messages from up to to of a chunk have the latency ns.
	chunk    *chunk
	from, to int
	ns       int64

	latest int64 // for the watcher
	alike  int   // messages that had it
}

// of is the latency of the message of entry i.
func (m *meter) of(ch *chunk, i int) int64 {
	if ch != m.chunk || i < m.from || i >= m.to {
		at, from, to := ch.block.stampOf(ch.at + i)
		m.chunk, m.from, m.to, m.ns = ch, from-ch.at, to-ch.at, m.now-at
	}
	return m.ns
}

// measure notes a latency that is not in the meter's bucket.
func (c *Channel) measure(m *meter, ns int64) {
	c.reckon(m)
	ns = max(ns, 0) // or else a restart has found the clock set back
	m.find(ns)
	if m.bucket == len(LatencyBounds) {
		c.latencies.Counts[m.bucket]++
		c.latencies.Sum += float64(ns)
		return
	}
	m.n, m.sum = 1, uint64(ns)
}

func (m *meter) find(ns int64) {
	m.bucket, m.low, m.high = len(LatencyBounds), 0, 0
	low := int64(-1)
	for i, bound := range LatencyBounds {
		if ns <= bound {
			m.bucket, m.low, m.high = i, low, bound
			return
		}
		low = bound
	}
}

// reckon adds what was measured to the channel's latencies.
func (c *Channel) reckon(m *meter) {
	c.latencies.Counts[m.bucket] += m.n
	c.latencies.Sum += float64(m.sum)
	m.n, m.sum = 0, 0
}

func (c *Channel) watch(m *meter, ns int64) {
	ns = max(ns, 0)
	if ns != m.latest && m.alike > 0 {
		c.watcher(m.now, m.latest, m.alike)
		m.alike = 0
	}
	m.latest = ns
	m.alike++
}

// measured ends a batch.
func (c *Channel) measured(m *meter) {
	c.reckon(m)
	if m.alike > 0 {
		c.watcher(m.now, m.latest, m.alike)
	}
}

// publishedIn is when the message was published that a frame begins with.
func publishedIn(frame []byte) int64 {
	return int64(binary.BigEndian.Uint64(frame[protocol.TimestampOffset:]))
}
