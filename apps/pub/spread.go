package main

import (
	"context"
	"sync"
	"time"
)

// spread publishes every batch to one of several daemons, whichever has the least to do,
// and to another one when that is away. Its publisher sees to that, tries again by
// itself, and tells outcomes in any order.
type spread struct {
	delivery

	// Owned by run.
	queue   []attempt // taken from in and to be published
	sent    int       // parts that are unanswered
	results chan attempt
	doubt   lineSet // may have been stored, and is published again: to be told
	cause   error   // why it gave up
}

// attempt is a part that is published, and its outcome.
type attempt struct {
	part
	since time.Time // it was tried first
	err   error
}

func newSpread(d delivery) *spread {
	d.in = make(chan *batch)
	return &spread{delivery: d, results: make(chan attempt, d.window)}
}

// run publishes until in is closed and everything has its outcome. It calls failed
// when it is no use to go on: when no daemon took something for too long, or the topic
// is refused; what was handed over before is still published if it can be.
func (s *spread) run(ctx context.Context, failed func()) error {
	out, err := s.delivery.open()
	if err != nil {
		s.cause = err
		failed()
		s.forfeit()
		return s.outcome(err)
	}
	hurry, stop := graceful(ctx)
	defer stop()
	hangUp := sync.OnceFunc(func() { _ = out.Close() }) // nothing is in it that could be lost
	defer hangUp()
	in := s.in
	for in != nil || s.sent > 0 || len(s.queue) > 0 {
		s.publish(hurry, out, failed)
		ready := in
		if s.sent >= s.window {
			ready = nil
		}
		if s.sent == 0 && ready == nil {
			continue // all that was left has failed
		}
		var late <-chan struct{}
		if s.sent > 0 {
			late = hurry.Done()
		}
		select {
		case b, ok := <-ready:
			if !ok {
				in = nil
				continue
			}
			for _, p := range s.parts(b) {
				s.queue = append(s.queue, attempt{part: p, since: time.Now()})
			}
		case a := <-s.results:
			s.sent--
			s.settle(ctx, a, failed)
			s.tellDoubt(a)
		case <-late:
			s.giveUp(errNoAnswer, failed)
			hangUp() // tells the outcomes
		}
	}
	return s.outcome(s.cause)
}

// publish hands over what is in the queue, as far as the window allows. After a failure
// it is too late for that.
func (s *spread) publish(ctx context.Context, out publisher, failed func()) {
	for len(s.queue) > 0 && s.sent < s.window {
		a := s.queue[0]
		s.queue[0] = attempt{}
		s.queue = s.queue[1:]
		if s.cause != nil {
			s.lose(a.part)
			continue
		}
		err := s.hand(ctx, out, a.part, func(err error) {
			a.err = err
			s.results <- a // has room for all that are unanswered
		})
		if err != nil {
			a.err = err
			s.settle(ctx, a, failed)
			continue
		}
		s.sent++
	}
}

// settle notes an outcome. Nothing is tried again once ctx has ended.
func (s *spread) settle(ctx context.Context, a attempt, failed func()) {
	if a.err == nil {
		s.acknowledged(a.part)
		return
	}
	switch v := s.judge(a.err); {
	case v == notThis && a.len() > 1:
		first, second := a.halves()
		s.queue = append(s.queue, attempt{part: first, since: a.since}, attempt{part: second, since: a.since})
	case v == notThis, v == notTopic && s.perTopic:
		s.refuse(a.part, a.err)
	case v == later && isUncertain(a.err) && ctx.Err() == nil && time.Since(a.since) < s.retryFor:
		s.doubt.add(a.lines[a.from:a.to]...)
		s.queue = append(s.queue, attempt{part: a.part, since: a.since})
	default:
		s.giveUp(a.err, failed)
		s.lose(a.part)
	}
}

// giveUp notes why it is no use to go on, at the first time.
func (s *spread) giveUp(why error, failed func()) {
	if s.cause == nil {
		s.cause = why
		failed()
	}
}

// tellDoubt tells of duplicates, once for all that broke at one time.
func (s *spread) tellDoubt(a attempt) {
	if s.doubt.n == 0 || len(s.results) > 0 {
		return
	}
	s.warn("a daemon went away before it acknowledged %d messages (%s); they are published again: duplicates are possible (%v)",
		s.doubt.n, s.inputs.tell(&s.doubt), a.err)
	s.doubt = lineSet{}
}
