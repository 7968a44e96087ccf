// #nosec G115 -- numbers that the bench itself has drawn or counted, never negative.

package load

import (
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"
)

// lead is what passes between the making of a Latency and its first due time,
// for the goroutines to be in place.
const lead = 100 * time.Millisecond

// Latency publishes single messages at times fixed in advance and collects how
// long after its due time each was received. What the broker, or the load
// itself, delays counts in full: a publisher that was held up does not make
// the messages behind it look fast (there is no coordinated omission).
//
// Deliveries go to one consumer's goroutine alone.
type Latency struct {
	base   time.Time
	rate   int64
	count  int64
	warmup time.Duration

	// Owned by the consumer.
	now     time.Duration // when the read returned that is being walked
	samples []time.Duration
}

// NewLatency returns a Latency of rate messages a second over warmup and then
// duration. Messages due in the warm-up are not among the samples. The clock
// starts at once: publish soon.
func NewLatency(rate int, warmup, duration time.Duration) *Latency {
	l := &Latency{base: time.Now(), rate: int64(rate), warmup: lead + warmup}
	l.count = int64((warmup + duration).Seconds() * float64(rate))
	l.samples = make([]time.Duration, 0, l.count)
	return l
}

// due is when message i is to be published, after the base.
func (l *Latency) due(i int64) time.Duration {
	return lead + time.Duration(i/l.rate)*time.Second + time.Duration(i%l.rate)*time.Second/time.Duration(l.rate)
}

func (l *Latency) arrive() { l.now = time.Since(l.base) }

func (l *Latency) record(due uint64) {
	if d := time.Duration(due); d >= l.warmup {
		l.samples = append(l.samples, l.now-d)
	}
}

// Sorted returns the samples, smallest first. It may be called when the
// consumer has ended.
func (l *Latency) Sorted() []time.Duration {
	slices.Sort(l.samples)
	return l.samples
}

// Publish publishes every message when it is due and returns how many there
// were once all are answered. Of s it takes the topic, the size and the layers.
func (l *Latency) Publish(ctx context.Context, addr string, s Stream, progress *Progress) (int64, error) {
	c, err := dial(ctx, addr, s.Layers)
	if err != nil {
		return 0, err
	}
	p := &producer{conn: c, frames: newFrames(c, 64<<10), ring: newRing(s.Topic, 1, s.Size, 1)}
	var answered atomic.Int64
	err = Together(ctx,
		func(context.Context) error { l.send(p); return nil },
		func(ctx context.Context) error {
			defer c.during(ctx)()
			for answered.Load() < l.count {
				n, err := p.answers()
				if err != nil {
					return because(ctx, err, "publishing at a fixed rate")
				}
				answered.Add(n)
				progress.Add(n)
			}
			return nil
		})
	return answered.Load(), err
}

// send writes a message at each due time, and at once what is overdue. It ends
// early with the connection; why is for the reader of the answers to say, who
// may have an error frame to show for it.
func (l *Latency) send(p *producer) {
	pace := NewPacer()
	defer pace.Done()
	for i := range l.count {
		due := l.due(i)
		pace.Sleep(due - time.Since(l.base))
		run := p.ring.stamp(0, 1, tag(0, uint64(i)))
		binary.BigEndian.PutUint64(run[p.ring.first+dueOffset:], uint64(due))
		if _, err := p.conn.Write(run); err != nil {
			return
		}
	}
}
