package millrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// turnLength is how long a line keeps credit when there is not enough for all.
const turnLength = 20 * time.Millisecond

// Reader consumes one channel of one topic from every daemon that has it.
type Reader struct {
	config  ReaderConfig
	dialer  dialer
	lookups *lookups
	ran     atomic.Bool
	queue   *queue
	lines   sync.WaitGroup // everything but the workers
	changed chan struct{}  // holds a token when credit is to be spread anew

	mu        sync.Mutex // guards below; never held across I/O; a line's may be taken in it
	daemons   map[string]bool
	connected []*line // in the order of their coming
	past      counts  // of lines that are gone
}

// Stats is what a Reader has done so far.
type Stats struct {
	Connections int    // subscribed daemons
	InFlight    int    // messages delivered on them and not yet answered
	Received    uint64 // messages
	Finished    uint64 // answers sent, or to be sent
	Requeued    uint64 // the same
	Expired     uint64 // messages that waited for a handler until the daemon took them back
}

// NewReader returns a Reader, which does nothing before Run. It fails only if
// the configuration cannot be right.
func NewReader(config ReaderConfig) (*Reader, error) {
	err := config.complete()
	config.Log = config.Log.With("topic", config.Topic, "channel", config.Channel)
	lookups, errLookups := newLookups(config.Lookupds, &config.Connection, whoHas(config.Topic))
	if err := errors.Join(err, errLookups); err != nil {
		return nil, fmt.Errorf("reader configuration: %w", err)
	}
	return &Reader{
		config: config, dialer: config.dialer(), lookups: lookups,
		queue: newQueue(config.OnIdle), changed: make(chan struct{}, 1), daemons: map[string]bool{},
	}, nil
}

// Run consumes until ctx ends, connecting again whenever a daemon comes back.
// Then it asks daemons for nothing more, gives back the messages that no handler
// has begun, waits for handlers and kept messages as ShutdownTimeout allows, and
// returns nil when no goroutine of the Reader's is left. A handler that ignores
// the end of its context is waited for even so. A Reader runs once.
func (r *Reader) Run(ctx context.Context) error {
	if !r.ran.CompareAndSwap(false, true) {
		return errors.New("a reader runs only once")
	}
	work, endWork := context.WithCancel(context.WithoutCancel(ctx))
	defer endWork()
	var workers sync.WaitGroup
	for range r.config.Concurrency {
		workers.Go(func() { r.work(work) })
	}
	r.lines.Go(func() { r.spread(ctx) })
	r.lines.Go(func() { r.discover(ctx, work) })
	<-ctx.Done()
	patience := time.AfterFunc(r.config.ShutdownTimeout, endWork)
	defer patience.Stop()
	// CLS goes first: what is given back before it would be delivered to us again.
	for _, l := range r.current() {
		l.close()
	}
	for _, b := range r.queue.close() {
		b.giveBack()
	}
	workers.Wait()
	if r.config.OnIdle != nil {
		r.config.OnIdle()
	}
	r.lines.Wait()
	return nil
}

// Stats returns what was done so far.
func (r *Reader) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Connections: len(r.connected)}
	sum := r.past
	for _, l := range r.connected {
		l.mu.Lock()
		s.InFlight += l.inFlight
		sum.add(l.counts)
		l.mu.Unlock()
	}
	s.Received, s.Finished, s.Requeued, s.Expired = sum.received, sum.finished, sum.requeued, sum.expired
	return s
}

// Starved reports whether some daemon can send nothing more until messages of
// its are answered. A program that answers many together should do so then.
func (r *Reader) Starved() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.connected, func(l *line) bool {
		c := l.credit()
		return c.inFlight > 0 && c.inFlight >= c.ready
	})
}

func (c *counts) add(d counts) {
	c.received += d.received
	c.finished += d.finished
	c.requeued += d.requeued
	c.expired += d.expired
}

// work handles messages until the queue is closed.
func (r *Reader) work(ctx context.Context) {
	for b := r.queue.next(false); b != nil; b = r.queue.next(true) {
		for m := b.claim(); m != nil; m = b.claim() {
			if !time.Now().Before(b.deadline) {
				b.line.expired(1)
				continue
			}
			r.handle(ctx, m)
		}
		b.line.flush()
	}
}

func (r *Reader) handle(ctx context.Context, m *Message) {
	if limit := r.config.MaxAttempts; limit > 0 && m.Attempts > limit {
		r.config.Log.Warn("message given up", "id", m.ID, "attempts", m.Attempts, "qd", m.Address)
		m.finish(soon)
		return
	}
	switch err := r.config.Handler.Handle(ctx, m); {
	case err == nil:
		m.finish(soon)
	case errors.Is(err, ErrAnswerLater):
	default:
		r.config.Log.Warn("message failed", "id", m.ID, "attempts", m.Attempts, "qd", m.Address, "error", err)
		m.requeue(-1, soon)
	}
}

func (r *Reader) requeueDelay(attempts uint16) time.Duration {
	delay, limit := max(r.config.RequeueDelay, 0), max(r.config.MaxRequeueDelay, 0)
	if delay > limit/time.Duration(max(attempts, 1)) {
		return limit
	}
	return delay * time.Duration(attempts)
}

// keep consumes from one daemon, again and again, until ctx ends or the daemon
// is no longer listed. That the daemon is away is said once, however long it
// stays away.
func (r *Reader) keep(ctx, work context.Context, address string) {
	var pause backoff
	level := slog.LevelWarn
	for {
		began := time.Now()
		c, err := r.dialer.connect(ctx, address)
		what := "cannot connect"
		if err == nil {
			err = r.consume(ctx, work, c)
			what, level = "connection lost", slog.LevelWarn
		}
		if ctx.Err() != nil {
			return
		}
		delay := pause.next(time.Since(began))
		r.config.Log.Log(ctx, level, what+", trying again", "error", err, "retry_in", delay)
		level = slog.LevelDebug
		if !sleep(ctx, delay) || r.dropUnlisted(address) {
			return
		}
	}
}

// consume receives on c, which is subscribed, until that ends. It returns why.
func (r *Reader) consume(ctx, work context.Context, c *conn) error {
	l := newLine(c, r)
	r.mu.Lock()
	r.connected = append(r.connected, l)
	r.mu.Unlock()
	r.noteChange()
	r.config.Log.Info("subscribed", "qd", c.address)
	err := l.run(ctx, work)
	r.mu.Lock()
	r.connected = slices.DeleteFunc(r.connected, func(other *line) bool { return other == l })
	l.mu.Lock()
	r.past.add(l.counts)
	l.mu.Unlock()
	r.mu.Unlock()
	r.noteChange()
	return err
}

// current returns the connected lines.
func (r *Reader) current() []*line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.connected)
}

// noteChange has spread look at the lines again.
func (r *Reader) noteChange() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// spread keeps MaxInFlight divided among the connected lines.
func (r *Reader) spread(ctx context.Context) {
	turn := time.NewTimer(turnLength)
	defer turn.Stop()
	from, turnOver := 0, true
	for {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
			turnOver = true
		case <-r.changed:
		}
		lines := r.current()
		if len(lines) <= r.config.MaxInFlight {
			for i, l := range lines {
				l.setReady(share(r.config.MaxInFlight, len(lines), i))
			}
			continue
		}
		credits := make([]credit, len(lines))
		for i, l := range lines {
			credits[i] = l.credit()
		}
		from = rotate(credits, r.config.MaxInFlight, from, turnOver)
		for i, l := range lines {
			l.setReady(credits[i].ready)
		}
		if turnOver {
			turnOver = false
			turn.Reset(turnLength)
		}
	}
}

// backoff says how long to wait before trying a daemon again.
type backoff struct{ last time.Duration }

// next returns 100 ms, then twice as much each time up to 10 s, varied by a
// quarter so that a daemon's readers do not all come back at once. An attempt
// that lasted makes it start over.
func (b *backoff) next(lasted time.Duration) time.Duration {
	const first, longest = 100 * time.Millisecond, 10 * time.Second
	if b.last == 0 || lasted > longest {
		b.last = first
	} else {
		b.last = min(2*b.last, longest)
	}
	return vary(b.last, 0.25)
}

// vary returns d, up to part of it shorter or longer.
func vary(d time.Duration, part float64) time.Duration {
	v := float64(d) * (1 + part*(2*rand.Float64()-1))
	return time.Duration(min(v, math.MaxInt64/2))
}

// sleep waits for d and reports true, or false once ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
