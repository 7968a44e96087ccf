package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

// publisher is what a sink publishes with: a millrace.Writer.
type publisher interface {
	PublishManyAsync(ctx context.Context, topic string, bodies [][]byte, done func(error)) error
	PublishDeferredAsync(ctx context.Context, topic string, delay time.Duration, body []byte, done func(error)) error
	Close() error
}

// sink is where messages go: one daemon that gets all of them, or several that share
// them.
type sink interface {
	input() chan<- *batch // to be closed when there are no more
	run(ctx context.Context, failed func()) error
}

// delivery is what sinks have in common.
type delivery struct {
	name     string // of the daemon, or daemons
	open     func() (publisher, error)
	window   int           // publishes that may be unanswered
	deferred time.Duration // delay of the messages, which go one by one then; 0 is none
	perTopic bool          // messages say which topic: what is refused for one says nothing about others
	retryFor time.Duration // how long daemons may be away
	warn     func(format string, args ...any)
	inputs   *inputs
	ledger   *ledger

	in chan *batch

	// Owned by run.
	lost    lineSet // not acknowledged
	refused int     // of them, that a daemon does not take as they are
}

func (d *delivery) input() chan<- *batch { return d.in }

// parts are what a batch is published in.
func (d *delivery) parts(b *batch) []part {
	if d.deferred == 0 {
		return []part{b.whole()}
	}
	var all []part
	for i := range b.bodies {
		all = append(all, part{b, i, i + 1})
	}
	return all
}

// hand gives part of a batch to a publisher. Unless it returns an error, done is
// called with the outcome.
func (d *delivery) hand(ctx context.Context, out publisher, p part, done func(error)) error {
	if d.deferred > 0 {
		return out.PublishDeferredAsync(ctx, p.topic, d.deferred, p.messages()[0], done)
	}
	return out.PublishManyAsync(ctx, p.topic, p.messages(), done)
}

func (d *delivery) acknowledged(p part) { d.ledger.settle(p, true) }

// lose notes that part of a batch is not acknowledged, and never will be.
func (d *delivery) lose(p part) {
	d.lost.add(p.lines[p.from:p.to]...)
	d.ledger.settle(p, false)
}

// Of messages that are refused one by one, so many are told one by one, too.
const refusalsTold = 10

// refuse loses part of a batch that a daemon will never take.
func (d *delivery) refuse(p part, err error) {
	switch d.refused++; {
	case d.refused <= refusalsTold:
		d.warn("%s: %s: %v", d.name, d.describe(p), err)
	case d.refused == refusalsTold+1:
		d.warn("%s: more is refused; it is counted, and told in the end", d.name)
	}
	d.lose(p)
}

// describe says which messages are in a part.
func (d *delivery) describe(p part) string {
	if p.len() == 1 {
		return fmt.Sprintf("%s (%d bytes)", d.inputs.where(p.first()), len(p.messages()[0]))
	}
	return fmt.Sprintf("%d messages, from %s on", p.len(), d.inputs.where(p.first()))
}

// forfeit loses all that still comes, until in is closed.
func (d *delivery) forfeit() {
	for b := range d.in {
		d.lose(b.whole())
	}
}

// outcome is what a sink's run ends with: why it gave up, if it did, and what was lost.
func (d *delivery) outcome(cause error) error {
	switch {
	case d.lost.n == 0 && cause == nil:
		return nil
	case d.lost.n == 0:
		return fmt.Errorf("%s: %w", d.name, cause)
	case cause == nil:
		return fmt.Errorf("%s: %s refused: %s", d.name, were(d.lost.n, "message"), d.inputs.tell(&d.lost))
	}
	return fmt.Errorf("%s: %w: %s not acknowledged: %s", d.name, cause, were(d.lost.n, "message"), d.inputs.tell(&d.lost))
}

// verdict is what a failed publish says about those to come.
type verdict int

const (
	later    verdict = iota // the daemon may take it when it is back, has room, or was told who we are
	notThis                 // the message, or one of them, is what it does not take
	notTopic                // it does not take that topic, or not from us
	hopeless                // it takes nothing from us
)

// judge returns the verdict of a publish's error.
func (d *delivery) judge(err error) verdict {
	if errors.Is(err, millrace.ErrMismatch) {
		return hopeless // waiting makes no certificate another one, and finds no secret
	}
	_, refused := errors.AsType[*millrace.RefusedError](err)
	if code := refusal(err); code != "" {
		switch code {
		case protocol.EBadMessage, protocol.EBadBody:
			return notThis
		case protocol.EPubFailed, protocol.EMPubFailed, protocol.EDPubFailed, protocol.EAuthFailed:
			return later
		case protocol.EBadTopic, protocol.EUnauthorized:
			if refused { // otherwise it was not the publish that it refused
				return notTopic
			}
		}
		return hopeless
	}
	switch {
	case refused && d.deferred > 0:
		return hopeless // the delay is over the daemon's limit, which it has told
	case refused:
		return notThis // too large for it, likewise
	}
	return later
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

// sleep waits for d, and returns false at once when ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
