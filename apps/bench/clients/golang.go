package clients

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/broker"
	"github.com/millrace-mq/millrace/apps/bench/load"
	millrace "github.com/millrace-mq/millrace/clients/go"
)

// outcomes are those of asynchronous publishes.
type outcomes struct {
	progress load.Progress
	mu       sync.Mutex
	err      error // the first
}

// told is the callback for n messages.
func (o *outcomes) told(n int64) func(error) {
	return func(err error) {
		o.progress.Add(n)
		if err != nil {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.err = errors.Join(o.err, err)
		}
	}
}

func (o *outcomes) first() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// publisher publishes up to Messages for at most Seconds, and returns how many.
type publisher func(ctx context.Context, w *millrace.Writer, topic string, o *outcomes) (int64, error)

// singles publishes messages one by one.
func (b *Bench) singles(ctx context.Context, w *millrace.Writer, topic string, o *outcomes) (n int64, err error) {
	body, done := make([]byte, b.Size), o.told(1)
	end := time.Now().Add(b.duration())
	for ; n < b.Messages && (n%1024 != 0 || time.Now().Before(end)); n++ {
		binary.BigEndian.PutUint64(body, uint64(n))
		if err := w.PublishAsync(ctx, topic, body, done); err != nil {
			return n, err
		}
	}
	return n, nil
}

// batches publishes MPUBs.
func (b *Bench) batches(ctx context.Context, w *millrace.Writer, topic string, o *outcomes) (n int64, err error) {
	bodies, done := make([][]byte, b.Batch), o.told(int64(b.Batch))
	for i := range bodies {
		bodies[i] = make([]byte, b.Size)
	}
	for end := time.Now().Add(b.duration()); n+int64(b.Batch) <= b.Messages && time.Now().Before(end); n += int64(b.Batch) {
		for i := range bodies {
			binary.BigEndian.PutUint64(bodies[i], uint64(n)+uint64(i))
		}
		if err := w.PublishManyAsync(ctx, topic, bodies, done); err != nil {
			return n, err
		}
	}
	return n, nil
}

// publish opens a Writer, publishes, and closes it, which waits for every answer.
func (b *Bench) publish(ctx context.Context, t broker.Target, topic string, publish publisher) (n int64, err error) {
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{t.TCP}})
	if err != nil {
		return 0, err
	}
	var o outcomes
	err = o.progress.Watch(ctx, b.Stall, func() string { return "answers to publishes" }, func(ctx context.Context) (err error) {
		if n, err = publish(ctx, w, topic, &o); err != nil {
			return err
		}
		return w.Flush(ctx)
	})
	return n, errors.Join(err, w.Close(), o.first())
}

func (b *Bench) publishing(ctx context.Context, t broker.Target, publish publisher) (Row, error) {
	var m meter
	err := b.passes(ctx, t, &m, func(ctx context.Context, topic string) error {
		var published int64
		err := m.time(t, func() (n int64, err error) {
			published, err = b.publish(ctx, t, topic, publish)
			return published, err
		})
		if err != nil {
			return err
		}
		return audit(ctx, t, topic, published, published)
	})
	return m.row(), err
}

func (b *Bench) publishSingles(ctx context.Context, t broker.Target) (Row, error) {
	return b.publishing(ctx, t, b.singles)
}

func (b *Bench) publishBatches(ctx context.Context, t broker.Target) (Row, error) {
	return b.publishing(ctx, t, b.batches)
}

// tally counts messages by their numbers, each of which is to come once.
type tally struct {
	progress load.Progress
	count    atomic.Int64
	expected atomic.Int64 // -1 until it is known
	all      chan struct{}
	once     sync.Once

	mu    sync.Mutex
	seen  []bool
	wrong int64 // came again, or were never published
}

func newTally(most int64) *tally {
	c := &tally{all: make(chan struct{}), seen: make([]bool, most)}
	c.expected.Store(-1)
	return c
}

// see notes messages. Under mu.
func (c *tally) see(body []byte) {
	n := binary.BigEndian.Uint64(body)
	if n >= uint64(len(c.seen)) || c.seen[n] {
		c.wrong++
		return
	}
	c.seen[n] = true
}

func (c *tally) add(n int64) {
	c.progress.Add(n)
	c.check(c.count.Add(n))
}

// expect says how many messages there are.
func (c *tally) expect(n int64) {
	c.expected.Store(n)
	c.check(c.count.Load())
}

func (c *tally) check(count int64) {
	if e := c.expected.Load(); e >= 0 && count >= e {
		c.once.Do(func() { close(c.all) })
	}
}

// Handle is a Handler.
func (c *tally) Handle(_ context.Context, m *millrace.Message) error {
	c.mu.Lock()
	c.see(m.Body)
	c.mu.Unlock()
	c.add(1)
	return nil
}

// HandleBatch is a BatchHandler.
func (c *tally) HandleBatch(_ context.Context, batch []*millrace.Message) error {
	c.mu.Lock()
	for _, m := range batch {
		c.see(m.Body)
	}
	c.mu.Unlock()
	c.add(int64(len(batch)))
	return nil
}

// consume runs a Reader until all that the tally expects has come, and closes it,
// which waits until the broker has taken every answer.
func (b *Bench) consume(ctx context.Context, t broker.Target, topic string, c *tally, inBatches bool) error {
	config := millrace.ReaderConfig{Topic: topic, Channel: channel, Addresses: []string{t.TCP}, MaxInFlight: b.MaxInFlight}
	if inBatches {
		config.BatchHandler = c
	} else {
		config.Handler = c
	}
	r, err := millrace.NewReader(config)
	if err != nil {
		return err
	}
	waiting := func() string { return fmt.Sprintf("messages, of which %d have come", c.count.Load()) }
	return c.progress.Watch(ctx, b.Stall, waiting, func(ctx context.Context) error {
		running, stop := context.WithCancel(ctx)
		defer stop()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			defer stop()
			select {
			case <-c.all:
			case <-running.Done():
			}
		})
		if err := r.Run(running); err != nil {
			return err
		}
		return context.Cause(ctx)
	})
}

// judge wants each message once, at the Reader and at the broker.
func (c *tally) judge(ctx context.Context, t broker.Target, topic string, published int64) error {
	if n := c.count.Load(); n != published || c.wrong > 0 {
		return fmt.Errorf("%d messages came of %d published, %d of them wrongly", n, published, c.wrong)
	}
	return audit(ctx, t, topic, published, 0)
}

// consuming consumes a backlog; only that is timed.
func (b *Bench) consuming(ctx context.Context, t broker.Target, inBatches bool) (Row, error) {
	var m meter
	err := b.passes(ctx, t, &m, func(ctx context.Context, topic string) error {
		published, err := b.publish(ctx, t, topic, b.batches)
		if err != nil {
			return err
		}
		c := newTally(published)
		c.expect(published)
		if err := m.time(t, func() (int64, error) { return published, b.consume(ctx, t, topic, c, inBatches) }); err != nil {
			return err
		}
		return c.judge(ctx, t, topic, published)
	})
	return m.row(), err
}

func (b *Bench) consumeBatches(ctx context.Context, t broker.Target) (Row, error) {
	return b.consuming(ctx, t, true)
}

func (b *Bench) consumeSingles(ctx context.Context, t broker.Target) (Row, error) {
	return b.consuming(ctx, t, false)
}

// both publishes one by one and consumes at once, until all of it was consumed.
func (b *Bench) both(ctx context.Context, t broker.Target) (Row, error) {
	var m meter
	err := b.passes(ctx, t, &m, func(ctx context.Context, topic string) error {
		var published int64
		c := newTally(b.Messages)
		err := m.time(t, func() (int64, error) {
			err := load.Together(ctx, func(ctx context.Context) (err error) {
				if published, err = b.publish(ctx, t, topic, b.singles); err == nil {
					c.expect(published)
				}
				return err
			}, func(ctx context.Context) error { return b.consume(ctx, t, topic, c, true) })
			return published, err
		})
		if err != nil {
			return err
		}
		return c.judge(ctx, t, topic, published)
	})
	return m.row(), err
}
