package main

import (
	"context"
	"errors"
	"time"
)

var errLost = errors.New("the connection is gone")

// A failed daemon is tried again after the first of these, then after twice as
// long each time, up to the second.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
)

// grace is how long daemons have to answer once Ctrl-C has been pressed.
const grace = 5 * time.Second

// lane publishes every batch to one daemon, in order, with several on their
// way at a time. When one fails, those behind it are taken back, and all are
// published again from there: nothing overtakes, nothing is left out.
//
// Its publisher tells outcomes in the order of the publishes and tries nothing again.
// It must not connect a second time by itself, since a publish that is just being
// handed over could then overtake those that failed with the first connection. A
// publish that it would have to connect for again fails with errLost.
type lane struct {
	delivery

	// Owned by run.
	queue   []part          // taken from in and not acknowledged, in order
	bytes   int             // of them
	sent    int             // how many of queue's first are unanswered
	results chan error      // their outcomes, in the same order
	out     publisher       // nil after a failure, and before the first batch
	hurry   <-chan struct{} // closed when answers are not waited for any more
}

// windowBytes bounds what is unanswered, beside the window.
const windowBytes = 8 << 20

func newLane(d delivery) *lane {
	d.in = make(chan *batch)
	return &lane{delivery: d, results: make(chan error, d.window)}
}

// patience is how long a daemon that is there may take for an answer.
func (l *lane) patience() time.Duration { return max(l.retryFor, 30*time.Second) }

// run publishes until in is closed and all is acknowledged, or until it gives
// up, which it does for an error that trying again cannot mend, for a daemon
// that was away for too long, and at the first failure once ctx has ended. It
// calls failed then, and goes on receiving from in, for the record.
func (l *lane) run(ctx context.Context, failed func()) error {
	hurry, stop := graceful(ctx)
	defer stop()
	l.hurry = hurry.Done()
	err := l.publishAll(ctx)
	l.hangUp()
	if err != nil {
		failed()
		for _, p := range l.queue {
			l.lose(p)
		}
		l.forfeit()
	}
	return l.outcome(err)
}

// graceful returns a context that ends grace after ctx, or with stop.
func graceful(ctx context.Context) (late context.Context, stop func()) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		sleep(late, grace)
		cancel()
	})
	return late, func() {
		unhook()
		cancel()
	}
}

func (l *lane) publishAll(ctx context.Context) error {
	in := l.in
	stalled := time.NewTimer(l.patience())
	defer stalled.Stop()
	for in != nil || len(l.queue) > 0 {
		ready := in
		if len(l.queue) >= l.window || l.bytes >= windowBytes {
			ready = nil
		}
		var late <-chan struct{}
		var overdue <-chan time.Time
		if l.sent > 0 {
			late, overdue = l.hurry, stalled.C
		} else {
			stalled.Reset(l.patience())
		}
		var failure error
		select {
		case b, ok := <-ready:
			if !ok {
				in = nil
				continue
			}
			l.queue = append(l.queue, l.parts(b)...)
			l.bytes += b.size
		case err := <-l.results:
			stalled.Reset(l.patience())
			failure = l.answered(ctx, err)
		case <-late:
			failure = l.giveUpWaiting(ctx)
		case <-overdue:
			failure = l.giveUpWaiting(ctx)
		}
		if failure == nil {
			failure = l.sendMore(ctx)
		}
		if failure != nil {
			return failure
		}
	}
	return nil
}

var errNoAnswer = errors.New("it does not answer")

func (l *lane) giveUpWaiting(ctx context.Context) error {
	l.hangUp() // tells the outcomes
	return l.recover(ctx, errNoAnswer)
}

func (l *lane) answered(ctx context.Context, err error) error {
	if err != nil {
		return l.recover(ctx, err, err)
	}
	l.sent--
	l.done()
	return nil
}

// sendMore has as many publishes on their way as may be.
func (l *lane) sendMore(ctx context.Context) error {
	for l.sent < min(len(l.queue), l.window) {
		if err := l.send(l.queue[l.sent]); err != nil {
			if err := l.recover(ctx, err); err != nil {
				return err
			}
			continue
		}
		l.sent++
	}
	return nil
}

// send hands a part to the publisher; unless it returns an error, the outcome
// goes to results.
func (l *lane) send(p part) error {
	if l.out == nil {
		out, err := l.delivery.open()
		if err != nil {
			return err
		}
		l.out = out
	}
	// Not with the context that Ctrl-C ends: what was taken from the input is
	// published.
	return l.hand(context.Background(), l.out, p, func(err error) {
		l.results <- err // has room for all that may be unanswered
	})
}

// hangUp closes the publisher, which tells the outcomes of what is unanswered.
func (l *lane) hangUp() {
	if l.out != nil {
		_ = l.out.Close() // nothing is left in it that could be lost
		l.out = nil
	}
}

// done takes the first part, which is acknowledged, off the queue.
func (l *lane) done() { l.acknowledged(l.shift()) }

// shift takes the first part off the queue.
func (l *lane) shift() part {
	p := l.queue[0]
	l.queue[0] = part{}
	l.queue = l.queue[1:]
	for _, body := range p.messages() {
		l.bytes -= len(body) + 4
	}
	return p
}
