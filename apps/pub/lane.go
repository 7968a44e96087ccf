package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

// publisher is what a lane publishes with: a millrace.Writer for one daemon,
// which tells outcomes in the order of the publishes and tries nothing again.
// It must not connect a second time by itself, since a publish that is just
// being handed over could then overtake those that failed with the first
// connection.
// A publish that it would have to connect for again fails with errLost.
type publisher interface {
	PublishManyAsync(ctx context.Context, topic string, bodies [][]byte, done func(error)) error
	Close() error
}

var errLost = errors.New("the connection is gone")

// A failed daemon is tried again after the first of these, then after twice as
// long each time, up to the second.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
)

// lane publishes every batch to one daemon, in order, with several on their
// way at a time. When one fails, those behind it are taken back, and all are
// published again from there: nothing overtakes, nothing is left out.
type lane struct {
	address  string
	topic    string
	open     func() (publisher, error)
	window   int           // batches that may be unanswered
	retryFor time.Duration // how long a daemon may be away
	warn     func(format string, args ...any)

	in     chan *batch  // closed when there are no more
	stored atomic.Int64 // messages that were acknowledged

	// Owned by run.
	queue   []*batch   // taken from in and not acknowledged, in order
	sent    int        // how many of queue's first are unanswered
	results chan error // their outcomes, in the same order
	out     publisher  // nil after a failure, and before the first batch
}

func newLane(address, topic string, window int, open func() (publisher, error)) *lane {
	return &lane{
		address: address, topic: topic, open: open, window: window,
		in: make(chan *batch), results: make(chan error, window),
	}
}

// run publishes until in is closed and all is acknowledged, or until it gives
// up, which it does for an error that trying again cannot mend, for a daemon
// that was away for too long, and at the first failure once ctx has ended. It
// calls failed then, and goes on receiving from in, for the record. Queue holds
// what was not acknowledged.
func (l *lane) run(ctx context.Context, failed func()) error {
	err := l.publishAll(ctx)
	l.hangUp()
	if err != nil {
		failed()
		for b := range l.in {
			l.queue = append(l.queue, b)
		}
		return fmt.Errorf("%s: %w", l.address, err)
	}
	return nil
}

func (l *lane) publishAll(ctx context.Context) error {
	in := l.in
	for in != nil || len(l.queue) > 0 {
		ready := in
		if len(l.queue) >= l.window {
			ready = nil
		}
		var failure error
		select {
		case b, ok := <-ready:
			if !ok {
				in = nil
				continue
			}
			l.queue = append(l.queue, b)
		case err := <-l.results:
			if err == nil {
				l.sent--
				l.acknowledged()
			} else {
				failure = l.recover(ctx, err, err)
			}
		}
		for failure == nil && l.sent < len(l.queue) {
			if err := l.send(l.queue[l.sent].bodies); err != nil {
				failure = l.recover(ctx, err)
			} else {
				l.sent++
			}
		}
		if failure != nil {
			return failure
		}
	}
	return nil
}

// send hands bodies to the publisher; unless it returns an error, the outcome
// goes to results.
func (l *lane) send(bodies [][]byte) error {
	if l.out == nil {
		out, err := l.open()
		if err != nil {
			return err
		}
		l.out = out
	}
	// Not with the context that Ctrl-C ends: what was taken from the input is
	// published.
	return l.out.PublishManyAsync(context.Background(), l.topic, bodies, func(err error) {
		l.results <- err // has room for all that may be unanswered
	})
}

// hangUp closes the publisher; nothing must be unanswered.
func (l *lane) hangUp() {
	if l.out != nil {
		_ = l.out.Close() // nothing is left in it that could be lost
		l.out = nil
	}
}

// acknowledged takes the first batch off the queue.
func (l *lane) acknowledged() {
	l.stored.Add(int64(len(l.queue[0].bodies)))
	l.queue[0] = nil
	l.queue = l.queue[1:]
}

// recover publishes the first batch of a queue that has come to a halt, until
// it is acknowledged. The failure is why; outcomes are those that were received
// since the last acknowledgement.
func (l *lane) recover(ctx context.Context, failure error, outcomes ...error) error {
	uncertain, cause := l.takeBack(failure, outcomes)
	l.hangUp()
	if errors.Is(cause, errLost) {
		// The connection ended while nothing was on its way: no reason to worry
		// anybody unless a new one fails too.
		if cause = l.sendAlone(l.queue[0].bodies); cause == nil {
			l.acknowledged()
			return nil
		}
		uncertain = l.uncertain(cause)
	}
	deadline := time.Now().Add(l.retryFor)
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		switch code := refusal(cause); {
		case code == protocol.EBadMessage || code == protocol.EBadBody:
			return l.sendSingly()
		case code != "" && !temporary(code):
			return cause
		case uncertain > 0:
			l.warn("%s went away before it acknowledged %d messages, from line %d on;"+
				" they are published again: duplicates are possible (%v)",
				l.address, uncertain, l.queue[0].lines[0], cause)
		case wait == firstRetry:
			l.warn("%s takes no messages, trying for %s (%v)", l.address, l.retryFor, cause)
		}
		if left := time.Until(deadline); left <= 0 || !sleep(ctx, min(wait, left)) {
			return cause
		}
		if cause = l.sendAlone(l.queue[0].bodies); cause == nil {
			l.warn("%s takes messages again", l.address)
			l.acknowledged()
			return nil
		}
		uncertain = l.uncertain(cause)
	}
}

// uncertain returns how many messages of the first batch may have been stored,
// though publishing it failed with err.
func (l *lane) uncertain(err error) int {
	if isUncertain(err) {
		return len(l.queue[0].bodies)
	}
	return 0
}

// takeBack waits until nothing is unanswered. What was acknowledged leaves the
// queue. It returns how many messages of the rest may have been stored all the
// same, and why the first of the rest failed.
func (l *lane) takeBack(failure error, outcomes []error) (uncertain int, cause error) {
	for len(outcomes) < l.sent {
		outcomes = append(outcomes, <-l.results)
	}
	l.sent = 0
	for len(outcomes) > 0 && outcomes[0] == nil {
		l.acknowledged()
		outcomes = outcomes[1:]
	}
	for i, err := range outcomes {
		if err == nil || isUncertain(err) {
			uncertain += len(l.queue[i].bodies)
		}
	}
	if len(outcomes) > 0 {
		failure = outcomes[0]
	}
	return uncertain, failure
}

// sendAlone publishes bodies while nothing else is on its way, and returns the
// outcome.
func (l *lane) sendAlone(bodies [][]byte) error {
	err := l.send(bodies)
	if err == nil {
		err = <-l.results
	}
	if err != nil {
		l.hangUp()
	}
	return err
}

// sendSingly publishes the messages of a refused batch one by one, to get
// those through that are in order, and to know which is not.
func (l *lane) sendSingly() error {
	b := l.queue[0]
	for i := range b.bodies {
		err := l.sendAlone(b.bodies[i : i+1])
		if err != nil {
			l.queue[0] = b.from(i)
			return fmt.Errorf("line %d (%d bytes): %w", b.lines[i], len(b.bodies[i]), err)
		}
		l.stored.Add(1)
	}
	l.queue[0] = nil
	l.queue = l.queue[1:]
	return nil
}

func isUncertain(err error) bool {
	_, ok := errors.AsType[*millrace.UncertainError](err)
	return ok
}

// refusal returns the code that a daemon refused a publish with, or "".
func refusal(err error) string {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e.Code
	}
	return ""
}

// temporary reports whether a daemon that refused a publish with code may take
// it later: when it was restarted, or its disk has room again.
func temporary(code string) bool {
	return code == protocol.EPubFailed || code == protocol.EMPubFailed
}

// sleep waits for d, and returns false at once when ctx ends.
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
