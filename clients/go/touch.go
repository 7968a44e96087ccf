package millrace

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// run is messages of one parcel in a worker's hand.
type run struct {
	parcel   *parcel
	messages []Message
	touch    time.Time // when they are to be touched next; zero: not any more
}

// hand is what a worker's handler has now.
type hand struct {
	mu   sync.Mutex // guards runs; a line's may be taken in it
	runs []run
}

// toucher says TOUCH for what handlers have had for half of the daemon's message
// timeout, and again after each further half. One goroutine does so for all.
type toucher struct {
	hands []*hand
	epoch time.Time
	next  atomic.Int64 // the next touch, as a Duration since epoch
	wake  chan struct{}
}

func newToucher(hands int) *toucher {
	t := &toucher{epoch: time.Now(), wake: make(chan struct{}, 1)}
	for range hands {
		t.hands = append(t.hands, new(hand))
	}
	t.next.Store(math.MaxInt64)
	return t
}

// begin notes that a handler is given runs.
func (t *toucher) begin(h *hand, runs []run) {
	first := int64(math.MaxInt64)
	h.mu.Lock()
	for i := range runs {
		if r := &runs[i]; r.parcel.line.timeout < r.parcel.line.touchFor() {
			r.touch = r.parcel.at.Add(r.parcel.line.timeout / 2)
			first = min(first, int64(r.touch.Sub(t.epoch)))
		}
	}
	h.runs = runs
	h.mu.Unlock()
	if first < t.next.Load() {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// end notes that the handler has returned: nothing of it is touched any more.
func (h *hand) end() {
	h.mu.Lock()
	h.runs = nil
	h.mu.Unlock()
}

// start has it touch until ctx ends or stop is called, which waits for it.
func (t *toucher) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { t.run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// run touches until ctx ends.
func (t *toucher) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-t.wake:
		}
		// A handler that begins while we look must not count on an earlier next.
		t.next.Store(math.MaxInt64)
		if next := t.look(time.Now()); !next.IsZero() {
			t.next.Store(int64(next.Sub(t.epoch)))
			timer.Reset(time.Until(next))
		}
	}
}

// look touches what is due at now, and returns when the next is; zero if none is.
func (t *toucher) look(now time.Time) (next time.Time) {
	for _, h := range t.hands {
		h.mu.Lock()
		for i := range h.runs {
			r := &h.runs[i]
			r.touchAt(now)
			if !r.touch.IsZero() && (next.IsZero() || r.touch.Before(next)) {
				next = r.touch
			}
		}
		h.mu.Unlock()
	}
	return next
}

// touchAt touches what is not answered yet, if that is due, and as long as it
// keeps the messages for longer.
func (r *run) touchAt(now time.Time) {
	if r.touch.IsZero() || now.Before(r.touch) {
		return
	}
	l := r.parcel.line
	for i := range r.messages {
		r.messages[i].Touch()
	}
	// Until then, what was said now keeps them.
	r.touch = now.Add(l.timeout / 2)
	if !now.Add(l.timeout).Before(r.parcel.at.Add(l.touchFor())) {
		r.touch = time.Time{}
	}
}
