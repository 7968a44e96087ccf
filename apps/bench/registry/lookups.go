// #nosec G115 -- numbers that the bench itself has drawn or counted, never negative.

package registry

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/load"
)

const (
	// lead is for the connections to be in place before the first lookup is due.
	lead = 50 * time.Millisecond
	// maxWarmup precedes the samples, or a tenth of their time.
	maxWarmup = 500 * time.Millisecond
)

// lookups asks GET /lookup at times fixed in advance. A lookup's time begins
// when it was due: if no connection was free, or we were late ourselves, that
// counts in full (there is no coordinated omission). What was not answered when
// we gave up is an error, and counts with the time that it had waited until then.
type lookups struct {
	*cluster
	rate, count, skip int // a second; of all; of the warm-up, not sampled
	giveUp            time.Duration
	disturbed         []bool // daemons that come and go meanwhile
	pick              func() int
	unchecked         bool // it is no lookupd that answers

	base    time.Time
	samples []time.Duration // by lookup; each is written once, by whoever ends it
	errors  atomic.Int64    // answers other than 200, and none
	bytes   atomic.Int64    // of the bodies
}

// line is one of the connections.
type line struct {
	client
	work chan lookup // closed when there is no more
}

// lookup is one that was sent.
type lookup struct{ number, topic int }

func newLookups(c *cluster, s Settings, disturbed []bool) *lookups {
	warmup := min(maxWarmup, s.duration()/10)
	l := &lookups{cluster: c, rate: s.Rate, disturbed: disturbed, giveUp: lead + warmup + s.duration() + s.Stall}
	l.count = max(int((warmup+s.duration()).Seconds()*float64(s.Rate)), 1)
	l.skip = min(int(warmup.Seconds()*float64(s.Rate)), l.count-1)
	l.samples = make([]time.Duration, l.count)
	// The same topics in every run.
	// #nosec G404 -- numbers that are the same each time, to measure the same
	random := rand.New(rand.NewPCG(1, 2))
	if l.pick = func() int { return random.IntN(c.topics) }; s.Zipf > 0 {
		zipf := rand.NewZipf(random, s.Zipf, 1, uint64(c.topics-1))
		// What is popular is not what the large daemon has.
		l.pick = func() int { return int(scatter(zipf.Uint64()) % uint64(c.topics)) }
	}
	return l
}

// run asks on conns connections to addr. An answer that is wrong is an error.
func (l *lookups) run(ctx context.Context, s Settings) error {
	free := make(chan *line, s.Conns)
	var parts []func(context.Context) error
	var lines []*line
	defer func() {
		for _, c := range lines {
			c.close()
		}
	}()
	for i := range s.Conns {
		c := &line{client{addr: s.HTTP, from: s.Daemons + i, stall: s.Stall}, make(chan lookup, 1)}
		lines = append(lines, c)
		if err := c.open(ctx); err != nil {
			return err
		}
		free <- c
		parts = append(parts, func(ctx context.Context) error { return l.listen(ctx, c, free) })
	}
	l.base = time.Now().Add(lead)
	parts = append(parts, func(ctx context.Context) error {
		defer func() {
			for _, c := range lines {
				close(c.work)
			}
		}()
		return l.ask(ctx, free)
	})
	return load.Together(ctx, parts...)
}

// ask sends each lookup when it is due, or as soon as a connection is free.
func (l *lookups) ask(ctx context.Context, free <-chan *line) error {
	enough := time.NewTimer(l.giveUp)
	defer enough.Stop()
	pace := load.NewPacer()
	defer pace.Done()
	path := []byte("/lookup?topic=")
	prefix := len(path)
	for i := range l.count {
		pace.Sleep(l.due(i) - time.Since(l.base))
		select {
		case c := <-free:
			look := lookup{i, l.pick()}
			path = l.appendTopic(path[:prefix], look.topic)
			_ = c.send(path) // its reader hears of a failure
			c.work <- look
		case <-enough.C:
			for ; i < l.count; i++ {
				l.fail(i)
			}
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (l *lookups) due(i int) time.Duration {
	return time.Duration(i/l.rate)*time.Second + time.Duration(i%l.rate)*time.Second/time.Duration(l.rate)
}

// listen reads the answers that come on c.
func (l *lookups) listen(ctx context.Context, c *line, free chan<- *line) error {
	var body []byte
	for look := range c.work {
		err := c.receive()
		if err == nil {
			body, err = c.rest(body[:0])
		}
		switch {
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case err != nil || c.status != 200:
			l.fail(look.number)
		default:
			l.samples[look.number] = time.Since(l.base) - l.due(look.number)
			l.bytes.Add(int64(len(body)))
			if err := l.check(look.topic, body); err != nil {
				return err
			}
		}
		if err != nil || c.last {
			if err := c.open(ctx); err != nil {
				return err
			}
		}
		free <- c
	}
	return nil
}

func (l *lookups) fail(i int) {
	l.samples[i] = max(time.Since(l.base)-l.due(i), 1)
	l.errors.Add(1)
}

var producerKey = []byte(`"broadcast_address"`)

// check looks at an answer just enough to know that it has as many producers as
// it must. Of those that come and go there may be any number: a lookupd may not
// have noticed yet that earlier connections of theirs are gone.
func (l *lookups) check(topic int, body []byte) error {
	if l.unchecked {
		return nil
	}
	var room [16]int
	holders := l.holders(room[:0], topic)
	least := 0
	for _, d := range holders {
		if l.disturbed == nil || !l.disturbed[d] {
			least++
		}
	}
	if n := bytes.Count(body, producerKey); n < least || n > least && least == len(holders) {
		return fmt.Errorf("/lookup of %s has %d producers where %d of %d are always there: %.300s", l.topic(topic), n, least, len(holders), body)
	}
	return nil
}

// sorted returns the samples behind the warm-up, smallest first.
func (l *lookups) sorted() []time.Duration {
	samples := slices.Clone(l.samples[l.skip:])
	slices.Sort(samples)
	return samples
}
