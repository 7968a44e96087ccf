package queue

import (
	"encoding/binary"
	"slices"
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
// published together, so it counts messages while they are of one stamp, and the
// channel counts latencies when the next one begins.
type meter struct {
	now      int64
	chunk    *chunk // of which the messages from from up to to are of the stamp; nil for a parked one
	from, to int
	ns       int64 // their latency
	held     int64 // how long the consumer has had the first of them
	n        int   // those that were finished
}

// begin is for messages that were published, and the first of them delivered, then.
func (m *meter) begin(at, delivered int64) {
	*m = meter{now: m.now, ns: max(m.now-at, 0), held: m.now - delivered} // below 0 if a restart found the clock set back
}

// enter is for messages that are of one stamp with that of entry i.
func (m *meter) enter(ch *chunk, i int, delivered int64) {
	at, from, to := ch.block.stampOf(ch.at + i)
	m.begin(at, delivered)
	m.chunk, m.from, m.to = ch, from-ch.at, to-ch.at
}

// count adds what the meter has to the channel's latencies, and to those of the
// consumer. To it, neighbours that were published together were delivered together:
// if that is not so, it is wrong by the time between two of its runs.
func (c *Channel) count(k *Consumer, m *meter) {
	if m.n == 0 {
		return
	}
	k.holding.add(int64(m.n), m.held*int64(m.n))
	bucket, _ := slices.BinarySearch(LatencyBounds[:], m.ns)
	// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
	c.latencies.Counts[bucket] += uint64(m.n)
	c.latencies.Sum += float64(m.ns) * float64(m.n)
	if c.watcher != nil {
		c.watcher(m.now, m.ns, m.n)
	}
}

// publishedIn is when the message was published that a frame begins with.
func publishedIn(frame []byte) int64 {
	// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
	return int64(binary.BigEndian.Uint64(frame[protocol.TimestampOffset:]))
}
