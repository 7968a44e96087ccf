// Package drain empties a daemon that is to go: once a drain has begun, no
// message is taken any more, and it is over when consumers have finished all
// that there is, or its time is up. What it means to end is its owner's affair.
package drain

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/qd/broker"
)

// Forever is the time for a drain that ends when nothing is left, and not before.
const Forever = time.Duration(math.MaxInt64)

// The broker is asked whether it is empty: it is not told by each FIN, which
// would cost everybody who never drains. With ten thousand topics an answer takes
// a millisecond or two.
const (
	firstLook = 5 * time.Millisecond
	lastLook  = 200 * time.Millisecond // each waits twice as long as the one before, up to this
)

// Drain is the one drain of a broker's life. It cannot be taken back: clients
// have been told to go elsewhere.
type Drain struct {
	broker *broker.Broker
	log    *slog.Logger
	begun  chan struct{} // closed when it begins
	moved  chan struct{} // signalled when the deadline has moved

	mu       sync.Mutex // guards what follows
	since    int64      // when it began, in the broker's time; 0 is not yet
	deadline int64      // noDeadline if there is none
}

const noDeadline = math.MaxInt64

// New returns a drain of b that has not begun.
func New(b *broker.Broker, log *slog.Logger) *Drain {
	return &Drain{broker: b, log: log, begun: make(chan struct{}), moved: make(chan struct{}, 1)}
}

// Begin begins the drain, which may take so long: Forever is any time, nothing
// or less than that is none. If one is under way it must end within that time,
// and is never given more. first tells that none was.
func (d *Drain) Begin(within time.Duration) (first bool) {
	return d.set(func(was int64) int64 { return min(was, d.after(within)) })
}

// Set is Begin for somebody who decides: a drain that is under way is given as
// much time from now on, be it less or more than it had.
func (d *Drain) Set(within time.Duration) (first bool) {
	return d.set(func(int64) int64 { return d.after(within) })
}

// after is the broker's time so much later.
func (d *Drain) after(within time.Duration) int64 {
	now := d.broker.Now()
	if int64(within) >= noDeadline-now {
		return noDeadline
	}
	return now + max(int64(within), 0)
}

// set begins the drain, if need be, and moves its deadline.
func (d *Drain) set(deadline func(was int64) int64) (first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if first = d.since == 0; first {
		d.since, d.deadline = d.broker.Now(), noDeadline
		d.broker.Drain()
		close(d.begun)
	}
	d.deadline = deadline(d.deadline)
	select {
	case d.moved <- struct{}{}:
	default:
	}
	return first
}

// Begun is closed when the drain begins. Publishes are refused by then.
func (d *Drain) Begun() <-chan struct{} { return d.begun }

// Progress is how far a drain is. Times are the broker's: nanoseconds since the
// Unix epoch.
type Progress struct {
	Since    int64 // 0 if it has not begun
	Deadline int64 // 0 if there is none
	broker.Left
}

// Progress tells how far the drain is or, if it has not begun, what one without
// a deadline would wait for.
func (d *Drain) Progress() Progress {
	since, deadline := d.times()
	p := Progress{Since: since, Left: d.broker.Left(deadline)}
	if deadline != noDeadline {
		p.Deadline = deadline
	}
	return p
}

func (d *Drain) times() (since, deadline int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since == 0 {
		return 0, noDeadline
	}
	return d.since, d.deadline
}

// Deadline is when a drain that has begun is over at the latest, by the system's clock; a
// hundred years hence if it may take as long as it takes.
func (d *Drain) Deadline() (by time.Time, begun bool) {
	since, deadline := d.times()
	if since == 0 {
		return time.Time{}, false
	}
	const longest = 100 * 365 * 24 * time.Hour
	return time.Now().Add(min(time.Duration(deadline-d.broker.Now()), longest)), true
}

// Run waits for the drain to begin and to be over, and then returns true; or
// false once ctx has ended.
func (d *Drain) Run(ctx context.Context) (over bool) {
	select {
	case <-ctx.Done():
		return false
	case <-d.begun:
	}
	d.tell("draining: publishes are refused from now on")
	look := time.NewTimer(0)
	defer look.Stop()
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		_, deadline := d.times()
		if d.broker.Empty(deadline) {
			d.tell("drained")
			return true
		}
		left := time.Duration(deadline - d.broker.Now())
		if left <= 0 {
			d.tell("the time for the drain is up: what is left stays on disk")
			return true
		}
		look.Reset(min(wait, left))
		select {
		case <-ctx.Done():
			d.tell("the drain is broken off by a stop: what is left stays on disk")
			return false
		case <-d.moved:
		case <-look.C:
		}
	}
}

// tell logs how far the drain is.
func (d *Drain) tell(what string) {
	p := d.Progress()
	attributes := []any{"messages", p.Messages(), "topics", p.Topics, "consumers", p.Consumers}
	if left := time.Duration(p.Deadline - d.broker.Now()); left > 0 {
		attributes = append(attributes, "remaining", left.Round(time.Millisecond))
	}
	if p.Later > 0 {
		attributes = append(attributes, "deferred", p.Later)
	}
	d.log.Info(what, attributes...)
}
