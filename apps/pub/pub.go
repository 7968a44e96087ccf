package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// publishing is one run: a stream of records on its way to every daemon.
type publishing struct {
	lanes  []*lane
	limit  int // records of a batch
	pace   pace
	report *report

	// Owned by distribute, read once it has returned.
	messages int64 // handed to the lanes
	line     int64 // of the last of them
	end      error // why no more was taken; nil at the end of the stream
}

// errInterrupted is why a run ends that Ctrl-C ended.
var errInterrupted = errors.New("interrupted")

// run publishes all records of r. Once ctx has ended it takes no more of them,
// publishes what it has, and is content if that was acknowledged.
func (p *publishing) run(ctx context.Context, r *records) error {
	// A lane that gives up ends the reading, and no more: the others publish
	// what they were given.
	reading, stop := context.WithCancel(ctx)
	defer stop()
	failures := make([]error, len(p.lanes))
	var wg sync.WaitGroup
	for i, l := range p.lanes {
		wg.Go(func() { failures[i] = l.run(ctx, stop) })
	}
	p.distribute(reading, r)
	for _, l := range p.lanes {
		close(l.in)
	}
	wg.Wait()
	return p.outcome(failures)
}

// distribute gives every batch to every lane.
func (p *publishing) distribute(ctx context.Context, r *records) {
	ready, ended := p.read(ctx, r)
	for {
		select {
		case b := <-ready:
			if !sleep(ctx, p.pace.wait(len(b.bodies), time.Now())) {
				p.end = errInterrupted
				return
			}
			for _, l := range p.lanes {
				l.in <- b // received always, even by a lane that has failed
			}
			p.messages += int64(len(b.bodies))
			p.line = b.last()
		case p.end = <-ended:
			return
		case <-ctx.Done():
			p.end = errInterrupted
			return
		}
	}
}

// read splits the stream on a goroutine of its own, which is left behind if it
// sits in a read when ctx ends: nothing can wake a read of a terminal, and the
// program is about to end.
func (p *publishing) read(ctx context.Context, r *records) (<-chan *batch, <-chan error) {
	ready, ended := make(chan *batch), make(chan error)
	go func() {
		err := batches(r, p.limit, func(b *batch) bool {
			select {
			case ready <- b:
				return true
			case <-ctx.Done():
				return false
			}
		})
		select {
		case ended <- err:
		case <-ctx.Done():
		}
	}()
	return ready, ended
}

// outcome says what came of everything, in one error if it is not all well.
func (p *publishing) outcome(failures []error) error {
	var errs []error
	for i, l := range p.lanes {
		if failures[i] != nil {
			errs = append(errs, fmt.Errorf("%w: %d messages, from line %d on, were not acknowledged",
				failures[i], p.messages-l.stored.Load(), l.queue[0].lines[0]))
		}
	}
	switch {
	case len(errs) > 0 && p.end != nil:
		errs = append(errs, fmt.Errorf("the lines after %d were not published", p.line))
	case errors.Is(p.end, errInterrupted):
		p.report.say("interrupted after line %d: %d messages were published", p.line, p.messages)
	case p.end != nil:
		errs = append(errs, fmt.Errorf("%w: %d messages before that were published", p.end, p.messages))
	}
	return errors.Join(errs...)
}

// acknowledged returns how many messages every daemon has.
func (p *publishing) acknowledged() int64 {
	n := p.lanes[0].stored.Load()
	for _, l := range p.lanes[1:] {
		n = min(n, l.stored.Load())
	}
	return n
}
