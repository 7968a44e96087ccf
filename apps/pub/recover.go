package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// recover publishes the first part of a queue that has come to a halt, until it is
// acknowledged, or refused. The failure is why; outcomes are those that were received
// since the last acknowledgement.
func (l *lane) recover(ctx context.Context, failure error, outcomes ...error) error {
	uncertain, cause := l.takeBack(failure, outcomes)
	l.hangUp()
	if len(l.queue) == 0 {
		return nil
	}
	if errors.Is(cause, errLost) {
		// The connection ended while nothing was on its way: no reason to worry
		// anybody unless a new one fails too.
		cause = l.sendAlone()
		uncertain = l.uncertain(cause)
	}
	r := recovery{lane: l, suspects: 1, wait: firstRetry, deadline: time.Now().Add(l.retryFor)}
	for r.suspects > 0 {
		if cause != nil {
			if err := r.judge(ctx, cause, uncertain); err != nil {
				return err
			}
		} else {
			r.acknowledged()
		}
		if r.suspects > 0 {
			cause = l.sendAlone()
			uncertain = l.uncertain(cause)
		}
	}
	return nil
}

// recovery is what a lane does until the part that it came to a halt at is through.
type recovery struct {
	*lane
	suspects int  // how many of queue's first parts are what that part has become
	warned   bool // that the daemon takes nothing
	doubted  bool // likewise, that what it was given may be there twice
	wait     time.Duration
	deadline time.Time // for a daemon that is away
}

func (r *recovery) acknowledged() {
	if r.warned {
		r.warn("%s takes messages again", r.name)
	}
	r.lane.done()
	r.suspects--
	r.progress()
}

func (r *recovery) progress() {
	r.warned, r.doubted, r.wait, r.deadline = false, false, firstRetry, time.Now().Add(r.retryFor)
}

// judge does what follows from the failure of the first part: it waits until that is
// to be tried again, or makes it smaller, or drops it. It returns why the lane gives
// up, if it does.
func (r *recovery) judge(ctx context.Context, cause error, uncertain int) error {
	p := r.queue[0]
	switch v := r.delivery.judge(cause); {
	case v == notThis && p.len() > 1:
		a, b := p.halves()
		r.queue = slices.Replace(r.queue, 0, 1, a, b)
		r.suspects++
		r.progress()
		return nil
	case v == notThis, v == notTopic && r.perTopic:
		r.refuse(r.shift(), cause)
		r.suspects--
		r.progress()
		return nil
	case v != later:
		return cause
	}
	if early := retryAfter(cause); early > 0 && uncertain == 0 && ctx.Err() == nil {
		// It is well: that it takes nothing for a while is what it was told to do, however long
		// it takes. Nobody has to be told of that.
		r.deadline = time.Now().Add(r.retryFor)
		sleep(ctx, min(early, longestEarly))
		return nil
	}
	left := time.Until(r.deadline)
	if left <= 0 || ctx.Err() != nil {
		return cause
	}
	switch {
	case uncertain > 0 && !r.doubted:
		r.warn("%s went away before it acknowledged %d messages, from %s on;"+
			" they are published again: duplicates are possible (%v)", r.name, uncertain, r.inputs.where(p.first()), cause)
		r.warned, r.doubted = true, true
	case !r.warned:
		r.warn("%s takes no messages, trying for %s (%v)", r.name, r.retryFor, cause)
		r.warned = true
	}
	if !sleep(ctx, min(r.wait, left)) {
		return cause
	}
	r.wait = min(2*r.wait, lastRetry)
	return nil
}

// longestEarly is how long at most a daemon is left alone that was published to too early: its
// limits may be changed meanwhile.
const longestEarly = time.Minute

// retryAfter is when a daemon takes what came too early; 0 if that is not why it refused.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e.RetryAfter()
	}
	return 0
}

// uncertain returns how many messages of the first part may have been stored,
// though publishing it failed with err.
func (l *lane) uncertain(err error) int {
	if isUncertain(err) {
		return l.queue[0].len()
	}
	return 0
}

// takeBack waits until nothing is unanswered. What was acknowledged leaves the
// queue. It returns how many messages of the rest may have been stored all the
// same, and why the first of the rest failed.
func (l *lane) takeBack(failure error, outcomes []error) (uncertain int, cause error) {
	for len(outcomes) < l.sent {
		outcomes = append(outcomes, l.await())
	}
	l.sent = 0
	for len(outcomes) > 0 && outcomes[0] == nil {
		l.done()
		outcomes = outcomes[1:]
	}
	for i, err := range outcomes {
		if err == nil || isUncertain(err) {
			uncertain += l.queue[i].len()
		}
	}
	if len(outcomes) > 0 {
		failure = outcomes[0]
	}
	return uncertain, failure
}

// sendAlone publishes the first part while nothing else is on its way, and returns the
// outcome.
func (l *lane) sendAlone() error {
	err := l.send(l.queue[0])
	if err == nil {
		err = l.await()
	}
	if err != nil {
		l.hangUp()
	}
	return err
}

// await returns the next outcome. A daemon that does not answer is hung up on, which
// makes an outcome of that.
func (l *lane) await() error {
	overdue := time.NewTimer(l.patience())
	defer overdue.Stop()
	select {
	case err := <-l.results:
		return err
	case <-l.hurry:
	case <-overdue.C:
	}
	l.hangUp()
	return <-l.results
}
