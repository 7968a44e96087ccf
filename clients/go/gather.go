package millrace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// publish accepts one message, and gathers it with others.
func (w *Writer) publish(topic string, body []byte, e entry) error {
	if err := check(topic, body); err != nil {
		return err
	}
	if w.config.Linger < 0 || len(body) >= w.config.BatchBytes {
		b := w.fresh(topic)
		b.add(body, e)
		return w.accept(b)
	}
	if err := w.enter(topic, load{1, len(body)}, e); err != nil {
		return err
	}
	defer w.unlock()
	b := w.byTopic[topic]
	if b != nil && len(b.wire)+len(body) > w.config.BatchBytes {
		w.closeLocked(b)
		w.pumpLocked()
		b = nil
	}
	if b != nil {
		b.add(body, e)
		if b.size.messages == w.config.BatchMessages {
			w.closeLocked(b)
			w.pumpLocked()
		}
		return nil
	}
	b = w.fresh(strings.Clone(topic)) // what is kept of topic must not keep what it is part of
	w.joinLocked(b)
	b.add(body, e)
	if w.config.BatchMessages == 1 || w.idleLocked() {
		w.queueLocked(b)
		w.pumpLocked()
		return nil
	}
	w.byTopic[b.topic] = b
	w.open.push(b)
	w.alarmLocked(b.began.Add(w.config.Linger))
	return nil
}

func (w *Writer) publishMany(topic string, bodies [][]byte, e entry) error {
	if err := check(topic, bodies...); err != nil {
		return err
	}
	b := w.fresh(topic)
	b.addWhole(bodies, e)
	return w.accept(b)
}

func (w *Writer) publishDeferred(topic string, delay time.Duration, body []byte, e entry) error {
	if err := check(topic, body); err != nil {
		return err
	}
	if delay < 0 {
		return &RefusedError{Topic: topic, Err: fmt.Errorf("delay %v is negative", delay)}
	}
	b := w.fresh(topic)
	b.due = time.Now().Add(delay)
	b.add(body, e)
	return w.accept(b)
}

// accept accepts a batch that nothing is added to.
func (w *Writer) accept(b *pubBatch) error {
	if err := w.enter(b.topic, b.size, b.entries[0]); err != nil {
		return err
	}
	defer w.unlock()
	b.topic = strings.Clone(b.topic)
	w.joinLocked(b)
	if before := w.byTopic[b.topic]; before != nil {
		w.closeLocked(before) // the order is kept
	}
	w.queueLocked(b)
	w.pumpLocked()
	return nil
}

// fresh returns an empty batch.
func (w *Writer) fresh(topic string) *pubBatch {
	b := w.batches.Get().(*pubBatch)
	b.reset(topic)
	return b
}

// enter waits for room, and takes it. Unless it returns an error, mu is held then.
func (w *Writer) enter(topic string, l load, e entry) error {
	if err := e.ctx.Err(); err != nil {
		return &UnavailableError{topic, err}
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	a := w.room.enter(l, e.wait == nil)
	if a != nil {
		w.mu.Unlock()
		if err := w.waitForRoom(e.ctx, topic, a); err != nil {
			return err
		}
		w.mu.Lock()
		if w.closed {
			w.room.answer(l, load{})
			w.mu.Unlock()
			return ErrClosed
		}
	}
	w.startLocked()
	return nil
}

func (w *Writer) waitForRoom(ctx context.Context, topic string, a *admission) error {
	select {
	case err := <-a.admit:
		return err
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.place == nil { // it was decided meanwhile
		return <-a.admit
	}
	w.room.leave(a)
	w.room.grant() // one that is smaller may have waited behind it
	return &UnavailableError{topic, because(errors.New("too much is in flight"), w.troubleLocked(), ctx.Err())}
}

// await waits for the outcome of a synchronous publish, unless err says that it
// was not accepted.
func (w *Writer) await(ctx context.Context, wait *waiter, err error) error {
	if err != nil {
		w.waiters.Put(wait)
		return err
	}
	select {
	case err = <-wait.outcome:
	case <-ctx.Done():
		if doubt := w.forsake(ctx, wait); doubt != nil {
			return doubt
		}
		err = <-wait.outcome
	}
	w.waiters.Put(wait)
	return err
}

// forsake decides what a synchronous publish has come to when its context ends.
// If the message is on its way, that is the error returned, and wait is not used
// again. Otherwise the outcome comes to wait.
func (w *Writer) forsake(ctx context.Context, wait *waiter) error {
	w.mu.Lock()
	defer w.unlock()
	b := wait.batch
	if b == nil || b.storing { // the spool's answer comes soon, and is certain
		return nil
	}
	mine := func(_ int, e *entry) bool { return e.wait == wait }
	if b.lane == nil {
		w.withdrawLocked(b, mine, ctx.Err())
		return nil
	}
	for i := range b.entries {
		if e := &b.entries[i]; e.wait == wait {
			e.wait, e.ctx = nil, nil
			// #nosec G115 -- counts of messages and clients: never negative
			w.stats.Uncertain += uint64(e.size.messages)
		}
	}
	wait.batch = nil
	return &UncertainError{b.lane.address, because(ctx.Err(), b.doubtful())}
}

// withdrawLocked fails those entries of a batch that is not on its way whose
// context has ended, as err says.
func (w *Writer) withdrawLocked(b *pubBatch, which func(int, *entry) bool, err error) (left bool) {
	out := b.take(which, func() *pubBatch { return w.part(b) })
	if out == nil {
		return true
	}
	if out == b {
		w.removeLocked(b)
	}
	w.settleLocked(out, w.unavailableLocked(out, err))
	return out != b
}

// sweepLocked withdraws the entries whose contexts have ended, and reports
// whether any are left.
func (w *Writer) sweepLocked(b *pubBatch) (left bool) {
	left = true
	for left && b.cancellable {
		var ended error
		for i := range b.entries {
			if ctx := b.entries[i].ctx; ctx != nil && ctx.Err() != nil {
				ended = ctx.Err()
				break
			}
		}
		if ended == nil {
			return true
		}
		timedOut := errors.Is(ended, context.DeadlineExceeded)
		left = w.withdrawLocked(b, func(_ int, e *entry) bool {
			return e.ctx != nil && e.ctx.Err() != nil && errors.Is(e.ctx.Err(), context.DeadlineExceeded) == timedOut
		}, ended)
	}
	return left
}

// part returns an empty batch that is to take over a part of b.
func (w *Writer) part(b *pubBatch) *pubBatch {
	p := w.fresh(b.topic)
	if p.generation = b.generation; p.generation != nil {
		p.generation.left++
	}
	if b.replay != nil {
		b.replay.left++
	}
	return p
}

// joinLocked makes b one of those that Flush waits for from now on.
func (w *Writer) joinLocked(b *pubBatch) {
	b.began = time.Now()
	b.generation = w.generations[len(w.generations)-1]
	b.generation.left++
}

// closeLocked ends the gathering of b.
func (w *Writer) closeLocked(b *pubBatch) {
	w.removeLocked(b)
	w.queueLocked(b)
}

func (w *Writer) closeAllLocked() {
	for b := w.open.first; b != nil; b = w.open.first {
		w.closeLocked(b)
	}
}

// removeLocked takes b out of where it waits.
func (w *Writer) removeLocked(b *pubBatch) {
	if b.list == &w.open {
		delete(w.byTopic, b.topic)
	}
	b.unlink()
}

// queueLocked lets a closed batch wait for its turn.
func (w *Writer) queueLocked(b *pubBatch) {
	w.seq++
	b.seq = w.seq
	if w.spool.active && b.replay == nil {
		w.spoolLocked(b)
	} else {
		w.ready.push(b)
	}
}

// pumpLocked sends what can be sent: what is closed, and what still gathers if a
// connection has nothing else to do.
func (w *Writer) pumpLocked() {
	w.sendReadyLocked()
	if w.open.first != nil && w.idleLocked() {
		w.closeAllLocked()
		w.sendReadyLocked()
	}
}

func (w *Writer) sendReadyLocked() {
	for b := w.ready.first; b != nil; b = w.ready.first {
		l := w.pool.lane()
		if l == nil {
			break
		}
		b.unlink()
		if w.sweepLocked(b) && w.withinLimitsLocked(l, b) && !l.send(b) {
			w.ready.pushBack(b)
			l.gone = true
		}
	}
	for b := w.ready.last; b != nil && !b.waits; b = b.prev {
		w.beginWaitLocked(b)
	}
	if w.config.RetryFor < 0 && w.ready.first != nil && w.pool.hopeless() {
		w.tryNowLocked() // once, since that is all that it gets
	}
}

// beginWaitLocked has contexts and deadlines watched of a batch that nobody takes
// for now.
func (w *Writer) beginWaitLocked(b *pubBatch) {
	b.waits = true
	if b.replay != nil {
		return
	}
	if at := w.deadline(b); !at.IsZero() {
		w.alarmLocked(at)
	}
	if !b.cancellable {
		return
	}
	var last <-chan struct{}
	for i := range b.entries {
		ctx := b.entries[i].ctx
		if ctx == nil || ctx.Done() == nil || ctx.Done() == last {
			continue
		}
		last = ctx.Done()
		b.watches = append(b.watches, context.AfterFunc(ctx, func() { token(w.wake) }))
	}
}

// idleLocked reports whether something could be sent that would have nobody's
// answer to wait for.
func (w *Writer) idleLocked() bool {
	if w.spool.active {
		return w.spool.puts.first == nil
	}
	return w.ready.first == nil && w.pool.idle()
}
