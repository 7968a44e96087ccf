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
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Reader consumes one channel of one topic from every daemon that has it.
type Reader struct {
	config  ReaderConfig
	dialer  dialer
	lookups *lookups
	queue   *queue
	touches *toucher
	lines   sync.WaitGroup // everything but the workers
	ended   chan struct{}  // closed when nothing of it runs any more

	changed  chan struct{} // holds a token when credit is to be divided anew
	rationed chan struct{} // the same, when it has become more or less

	mu        sync.Mutex // guards below; never held across I/O; a line's may be taken in it
	daemons   map[string]bool
	connected []*line // in the order of their coming
	past      counts  // of lines that are gone
	paused    bool
	pace      pace
	stop      context.CancelFunc // nil before it runs
	closed    bool
	last      *Message // that the loop was left with
}

// Stats is what a Reader has done so far.
type Stats struct {
	Connections int    // subscribed daemons
	InFlight    int    // messages delivered on them and not yet answered
	Backoff     int    // failures that the whole Reader still backs off for; 0 if it does not
	Paused      bool   // by Pause
	Received    uint64 // messages
	Finished    uint64 // answers sent, or to be sent
	Requeued    uint64 // the same
	Touched     uint64 // TOUCHes, likewise
	GivenUp     uint64 // messages delivered more often than MaxAttempts allows
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
	r := &Reader{
		config: config, dialer: config.dialer(), lookups: lookups, touches: newToucher(config.Concurrency),
		changed: make(chan struct{}, 1), rationed: make(chan struct{}, 1), ended: make(chan struct{}),
		daemons: map[string]bool{}, pace: pace{first: config.Backoff, longest: config.MaxBackoff},
	}
	var idle func()
	if config.OnIdle != nil {
		idle = r.onIdle
	}
	r.queue = newQueue(idle, r.usedUp)
	return r, nil
}

// Stats returns what was done so far.
func (r *Reader) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Connections: len(r.connected), Backoff: r.pace.level, Paused: r.paused}
	sum := r.past
	for _, l := range r.connected {
		l.mu.Lock()
		s.InFlight += l.inFlight
		sum.add(l.counts)
		l.mu.Unlock()
	}
	s.Received, s.Finished, s.Requeued = sum.received, sum.finished, sum.requeued
	s.Touched, s.GivenUp, s.Expired = sum.touched, sum.givenUp, sum.expired
	return s
}

// Daemons is how many daemons there are to consume from: those that are named, those that
// lookupds list, and those that are still connected. Stats tells how many are.
func (r *Reader) Daemons() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.daemons)
}

// Starved reports whether some daemon can send nothing more until messages of
// its are answered. A program that answers many together should do so then.
func (r *Reader) Starved() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.connected, func(l *line) bool {
		left, of := l.credit()
		return left <= 0 && left < of
	})
}

// usedUp reports whether the daemons that have sent something can send next to nothing
// more until messages are answered. Others must not make these wait.
func (r *Reader) usedUp() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	left, total := 0, 0
	for _, l := range r.connected {
		if n, of := l.credit(); n < of {
			left += max(n, 0)
			total += of
		}
	}
	return left <= total/8
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
	place := r.place(address, nil)
	for {
		began := time.Now()
		c, err := r.dialer.connectAt(ctx, address, place)
		what := "cannot connect, trying again"
		if err == nil {
			err = r.consume(ctx, work, c, place)
			what, level = "connection lost, trying again", slog.LevelWarn
		}
		if ctx.Err() != nil {
			return
		}
		delay := pause.next(time.Since(began))
		r.config.Log.Log(ctx, level, what, "error", err, "retry_in", delay)
		level = slog.LevelDebug
		if !sleep(ctx, delay) || r.dropUnlisted(address) {
			return
		}
		place = r.place(address, err)
	}
}

// place is where a channel is to begin that the next SUB to a daemon makes, after the
// last attempt, if there was one, has failed with err.
func (r *Reader) place(address string, err error) string {
	if r.config.StartAt == nil {
		return ""
	}
	if refused, ok := errors.AsType[*protocol.Error](err); !ok || refused.Code != protocol.ESubFailed {
		err = nil
	}
	return r.config.StartAt(address, err)
}

// consume receives on c, which is subscribed, until that ends. It returns why.
func (r *Reader) consume(ctx, work context.Context, c *conn, place string) error {
	l := newLine(c, r)
	r.mu.Lock()
	r.connected = append(r.connected, l)
	r.mu.Unlock()
	r.noteChange()
	r.config.Log.Info("subscribed", "node", c.address)
	if (r.config.Start != StartLatest || place != "") && c.extension == nil {
		r.config.Log.Warn("the daemon decides where a new channel starts: it does not know the setting Start", "node", c.address)
	}
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
	// #nosec G404 -- when to try again, or whom: not a secret
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
