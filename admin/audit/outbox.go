package audit

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/internal/httpapi"
)

const (
	outboxMost = 4096 // entries that wait
	firstPause = time.Second
	mostPause  = 30 * time.Second
)

// errGivenUp is of a delivery that would fail again however often it is tried.
var errGivenUp = errors.New("not tried again")

// outbox hands entries to somebody, one after the other, and tries again until that
// succeeds. If too many wait, the oldest goes. Nothing waits for it.
type outbox struct {
	to      string // whom, in log lines
	deliver func(context.Context, *Entry) error
	last    bool // when it ends, what is left is delivered if that works at once
	sparing *httpapi.Sparing

	mu      sync.Mutex // guards what follows
	queue   []*Entry
	dropped int           // from the front, since that was last told
	more    chan struct{} // of capacity 1: there is something in the queue
}

func newOutbox(to string, deliver func(context.Context, *Entry) error, last bool, sparing *httpapi.Sparing) *outbox {
	return &outbox{to: to, deliver: deliver, last: last, sparing: sparing, more: make(chan struct{}, 1)}
}

// put queues an entry.
func (o *outbox) put(e Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == outboxMost {
		o.queue[0] = nil
		o.queue = o.queue[1:]
		o.dropped++
	}
	o.queue = append(o.queue, &e)
	select {
	case o.more <- struct{}{}:
	default:
	}
}

// front is what is to be delivered next; nil if there is nothing.
func (o *outbox) front() (e *Entry, waiting int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return nil, 0
	}
	return o.queue[0], len(o.queue)
}

// remove takes e from the front, unless it was dropped meanwhile, and returns how many
// have been.
func (o *outbox) remove(e *Entry) (dropped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) > 0 && o.queue[0] == e {
		o.queue[0] = nil
		o.queue = o.queue[1:]
	}
	dropped, o.dropped = o.dropped, 0
	return dropped
}

// run delivers until ctx ends.
func (o *outbox) run(ctx context.Context) {
	defer o.end(context.WithoutCancel(ctx))
	for pause := firstPause; ctx.Err() == nil; {
		e, waiting := o.front()
		if e == nil {
			select {
			case <-o.more:
			case <-ctx.Done():
			}
			continue
		}
		err := o.deliver(ctx, e)
		switch {
		case err == nil || errors.Is(err, errGivenUp):
			pause = firstPause
			o.remark(o.remove(e), err, e)
			continue
		case ctx.Err() != nil:
			return
		}
		o.sparing.Warn("audit entries wait, and the oldest are dropped if they become too many",
			"to", o.to, "error", err, "count", waiting, "limit", outboxMost)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, mostPause)
	}
}

// remark logs what was lost.
func (o *outbox) remark(dropped int, err error, e *Entry) {
	if err != nil {
		o.sparing.Warn("an audit entry is not taken", "to", o.to, "error", err, "number", e.Number, "action", e.Action)
	}
	if dropped > 0 {
		o.sparing.Warn("audit entries get through again; some were dropped meanwhile", "to", o.to, "count", dropped)
	}
}

// end delivers what is left if it can be, and says how much cannot.
func (o *outbox) end(ctx context.Context) {
	var err error
	for e, _ := o.front(); o.last && e != nil; e, _ = o.front() {
		if err = o.deliver(ctx, e); err != nil && !errors.Is(err, errGivenUp) {
			break
		}
		o.remove(e)
	}
	o.mu.Lock()
	lost := o.dropped + len(o.queue)
	o.mu.Unlock()
	if lost > 0 {
		o.sparing.Warn("audit entries did not get through before the end", "to", o.to, "count", lost, "error", err)
	}
}
