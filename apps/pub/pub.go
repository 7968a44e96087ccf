package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// publishing is one run: records on their way to every sink.
type publishing struct {
	feed   *feed
	sinks  []sink
	ledger *ledger
	report *report

	// Owned by the feed's goroutine until run has returned.
	bad     lineSet // records that cannot be published
	badTold int
}

// run publishes all records. Once ctx has ended it reads no more, publishes what it
// has, and is content if that was acknowledged.
func (p *publishing) run(ctx context.Context) error {
	// A sink that gives up ends the reading, and no more: the others publish
	// what they were given.
	reading, stop := context.WithCancel(ctx)
	defer stop()
	failures := make([]error, len(p.sinks))
	var wg sync.WaitGroup
	for i, s := range p.sinks {
		wg.Go(func() { failures[i] = s.run(ctx, stop) })
	}
	p.feed.sinks, p.feed.refuse = p.sinks, p.refuse
	end := p.feed.run(reading)
	for _, s := range p.sinks {
		close(s.input())
	}
	wg.Wait()
	return p.outcome(end, failures)
}

// refuse notes a record that cannot be published.
func (p *publishing) refuse(record piece, err error) {
	p.bad.addOne(record.line)
	switch p.badTold++; {
	case p.badTold <= refusalsTold:
		p.report.say("%s: %v", p.feed.inputs.where(record.line), err)
	case p.badTold == refusalsTold+1:
		p.report.say("there are more that cannot be published; they are counted, and told in the end")
	}
	switch {
	case p.ledger.keep == nil:
	case record.data == nil:
		p.ledger.keep.miss()
	default:
		p.ledger.keep.add(record.data)
	}
}

// outcome says what came of everything, in one error if it is not all well.
func (p *publishing) outcome(end error, failures []error) error {
	var errs []error
	if p.bad.n > 0 {
		errs = append(errs, fmt.Errorf("%s not fit to be published: %s", were(p.bad.n, "record"), p.feed.inputs.tell(&p.bad)))
	}
	errs = append(errs, failures...)
	lost := errors.Join(errs...)
	if errors.Is(end, errInterrupted) && lost == nil {
		p.sayHowFar()
	} else {
		errs = append(errs, p.feed.stopped(end))
	}
	if p.ledger.keep != nil {
		kept, err := p.ledger.keep.close()
		if kept != "" {
			p.report.say("%s", kept)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (p *publishing) sayHowFar() {
	if p.feed.line == 0 {
		p.report.say("interrupted before anything was read")
		return
	}
	p.report.say("interrupted after %s: %s published", p.feed.inputs.where(p.feed.line), were(p.ledger.stored.Load(), "message"))
}
