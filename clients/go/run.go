package millrace

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

// Run consumes until ctx ends or Close is called, connecting again whenever a
// daemon comes back. Then it asks daemons for nothing more, gives back the
// messages that no handler has begun, waits for handlers and kept messages as
// ShutdownTimeout allows, and returns nil when no goroutine of the Reader's is
// left. A handler that ignores the end of its context is waited for even so. A
// Reader runs once: Run fails at once if it has run, or has no handler, or, with
// ErrClosed, if it was closed before.
func (r *Reader) Run(ctx context.Context) error {
	if r.config.Handler == nil && r.config.BatchHandler == nil {
		return errors.New("a reader without a handler cannot run: range over its Messages")
	}
	reading, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer close(r.ended)
	work, endWork := context.WithCancel(context.WithoutCancel(ctx))
	defer endWork()
	defer r.touches.start(work)()
	var workers sync.WaitGroup
	for _, h := range r.touches.hands {
		w := worker{Reader: r, all: &workers, hand: h}
		workers.Go(func() { w.work(work) })
	}
	r.connect(reading, work)
	<-reading.Done()
	patience := time.AfterFunc(r.config.ShutdownTimeout, endWork)
	defer patience.Stop()
	r.handBack()
	workers.Wait()
	if r.config.OnIdle != nil {
		r.onIdle()
	}
	r.lines.Wait()
	return nil
}

// Messages consumes like Run, for a Reader without a handler: it yields messages
// one at a time, and the caller answers them. The one that the loop's body has is kept
// with TOUCH as a handler's is, if it takes long; see ReaderConfig.TouchFor. The error is nil but for what ends
// the loop, which comes last and without a message: ctx's error, or that the
// Reader cannot run, as with Run. After Close the loop just ends.
//
// Leaving the loop hands back what was not yielded, and waits for nothing but the
// daemons' goodbyes, for a second at most. What was yielded can still be answered:
// its connection lives until all of it is, or for ShutdownTimeout. Close waits for
// that.
func (r *Reader) Messages(ctx context.Context) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		if r.config.Handler != nil || r.config.BatchHandler != nil {
			yield(nil, errors.New("a reader with a handler yields no messages: Run it"))
			return
		}
		reading, err := r.begin(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		handedBack := make(chan struct{})
		go r.endAfter(reading, context.WithoutCancel(ctx), handedBack)
		defer r.leave(handedBack)
		if r.yield(ctx, yield) && ctx.Err() != nil {
			yield(nil, ctx.Err())
		}
	}
}

// endAfter is the life of a Reader whose messages are pulled. Close waits for
// its end.
func (r *Reader) endAfter(reading, work context.Context, handedBack chan struct{}) {
	defer close(r.ended)
	work, endWork := context.WithCancel(work)
	defer endWork()
	defer r.touches.start(work)()
	r.connect(reading, work)
	<-reading.Done()
	patience := time.AfterFunc(r.config.ShutdownTimeout, endWork)
	defer patience.Stop()
	r.handBack()
	close(handedBack)
	r.lines.Wait()
}

// yield yields messages until the queue is closed. It reports false if yield
// wants no more.
func (r *Reader) yield(ctx context.Context, yield func(*Message, error) bool) bool {
	var left *Message // that the body has, if it never comes back for more: it may panic
	hand, runs := r.touches.hands[0], make([]run, 1)
	defer func() {
		hand.end()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.last = left
	}()
	for p := r.queue.next(false); p != nil; p = r.queue.next(true) {
		for claimed := p.claimMany(1); len(claimed) > 0; claimed = p.claimMany(1) {
			if !time.Now().Before(p.deadline()) {
				p.line.expired(1)
				continue
			}
			m := &claimed[0]
			runs[0] = run{parcel: p, messages: claimed}
			r.touches.begin(hand, runs)
			if r.tooOften(m) {
				r.giveUp(ctx, m)
				p.line.flush()
			} else if left = m; !yield(m, nil) {
				return false
			}
			left = nil
			hand.end()
		}
	}
	return true
}

// leave ends the Reader after the loop, and waits until everything has ended
// but what waits for the caller to answer.
func (r *Reader) leave(handedBack chan struct{}) {
	r.stop()
	<-handedBack
	patience := time.NewTimer(lingerDelay)
	defer patience.Stop()
	lines := r.current()
	for _, l := range lines {
		select {
		case <-l.closed:
		case <-l.dying:
		case <-patience.C:
			return
		}
	}
	if slices.ContainsFunc(lines, (*line).holds) {
		return
	}
	select {
	case <-r.ended:
	case <-patience.C:
	}
}

// Close ends Run, or the loop over Messages, as the end of its context does, and
// waits until no goroutine of the Reader's is left. A message that a loop over
// Messages was left with and that is not answered goes back. Any goroutine may call
// it, any number of times, but no handler and no hook, for it waits for these: they
// end their Reader by cancelling Run's context. In a loop over Messages, break is
// better; Close waits there until what the loop has taken is answered, or for
// ShutdownTimeout. It fails when ShutdownTimeout has been over for 5 s and a handler
// still runs, or waits for Close itself; the Reader ends when that has returned.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.closed = true
	stop, last := r.stop, r.last
	r.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	if last != nil {
		last.Requeue(0)
	}
	patience := time.NewTimer(r.config.ShutdownTimeout + 5*lingerDelay)
	defer patience.Stop()
	select {
	case <-r.ended:
		return nil
	case <-patience.C:
		return fmt.Errorf("closing the reader of %s/%s: a handler has not returned, whose context has ended", r.config.Topic, r.config.Channel)
	}
}

// begin has the Reader run until ctx or the context returned ends.
func (r *Reader) begin(ctx context.Context) (reading context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, ErrClosed
	case r.stop != nil:
		return nil, errors.New("a reader runs only once")
	}
	reading, r.stop = context.WithCancel(ctx)
	return reading, nil
}

// connect begins to consume.
func (r *Reader) connect(reading, work context.Context) {
	r.lines.Go(func() { r.spread(reading) })
	r.lines.Go(func() { r.discover(reading, work) })
}

// handBack gives back what nobody has begun.
func (r *Reader) handBack() {
	// CLS goes first: what is given back before it would be delivered to us again.
	for _, l := range r.current() {
		l.close()
	}
	for _, p := range r.queue.close() {
		p.giveBack()
	}
}
