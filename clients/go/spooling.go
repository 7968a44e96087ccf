package millrace

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// spoolPause is how long a spool that fails is left alone.
const spoolPause = time.Second

// spooling is a Writer's use of its Spool. Writer.mu guards it; the Spool itself
// belongs to keepSpool.
//
// While it is active all that is published goes through it, so that the order stays.
type spooling struct {
	active  bool
	end     bool      // keepSpool is to end when puts is empty
	puts    batchList // to be put into the spool, in order
	records int       // in the spool, as last seen
	replay  *replay   // the oldest record, on its way to a daemon; or nil
}

// replay is the delivery of a record. It may be sent in parts.
type replay struct {
	left int           // parts that have no outcome
	over chan struct{} // closed when there are none
	keep bool          // some of it was not stored, because the Writer was closed
}

// spoolLocked has a batch put into the spool, with all that waits behind it.
func (w *Writer) spoolLocked(b *pubBatch) {
	s := &w.spool
	b.stopWaiting()
	s.puts.push(b)
	if !s.active {
		s.active = true
		w.config.Log.Warn("spooling: no daemon takes publishes", "topic", b.topic, "error", because(b.cause, w.troubleLocked()))
		w.eachReadyLocked(func(b *pubBatch) {
			b.unlink()
			b.stopWaiting()
			s.puts.push(b)
		})
	}
	token(w.toSpool)
}

// spoolNoMore has keepSpool end once all is put.
func (w *Writer) spoolNoMore() {
	w.mu.Lock()
	w.spool.end = true
	w.unlock()
	token(w.toSpool)
}

// keepSpool is the one user of the Spool: it puts batches into it, and delivers
// them from the front when a daemon is back. A record is dropped once all of it is
// stored; a crash before that repeats it.
func (w *Writer) keepSpool() {
	delivered := false // the oldest record is, and is to be dropped
	for {
		w.mu.Lock()
		s := &w.spool
		r, toPut, end := s.replay, s.puts.first != nil, s.end
		idle := r == nil && !w.closed
		if r != nil && r.left == 0 {
			s.replay, delivered = nil, !r.keep
		}
		w.mu.Unlock()
		var err error
		switch {
		case toPut:
			w.put()
		case delivered:
			if err = w.config.Spool.Drop(); err == nil {
				delivered = false
			}
		case end:
			return
		case idle && w.measure() > 0:
			err = w.peek()
		case idle && w.spoolEmpty():
		default:
			<-w.toSpool
		}
		w.measure()
		if err != nil && !w.spoolFailed(err) {
			delivered = false // and still there: something may yet have to be put behind it
		}
	}
}

// spoolFailed waits a while, or until there is something to put. It returns
// false if there is no use in trying again.
func (w *Writer) spoolFailed(err error) bool {
	w.config.Log.Error("the spool cannot be read", "error", err)
	pause := time.NewTimer(spoolPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-w.toSpool:
	case <-w.life.Done():
		return false
	}
	return true
}

// measure notes how many records there are, and returns it.
func (w *Writer) measure() int {
	n := w.config.Spool.Len()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spool.records = n
	return n
}

// put puts the next batch into the spool. It is stored then, as far as its
// publishers are concerned; if it cannot be put it fails with the reason for which it
// came.
func (w *Writer) put() {
	w.mu.Lock()
	b := w.spool.puts.first
	if b == nil || !w.sweepLocked(b) {
		w.unlock()
		return
	}
	b.storing = true
	w.unlock()
	err := w.config.Spool.Put(appendRecord(nil, b))
	w.mu.Lock()
	defer w.unlock()
	b.unlink()
	b.storing = false
	if err == nil {
		w.spool.records++
		w.settleLocked(b, nil)
		return
	}
	w.config.Log.Error("the spool does not take a batch", "topic", b.topic, "messages", b.size.messages, "error", err)
	w.settleLocked(b, w.unavailableLocked(b, fmt.Errorf("putting it into the spool: %w", err)))
}

// peek has the oldest record delivered. One that is damaged is dropped: nobody
// could ever deliver it.
func (w *Writer) peek() error {
	record, err := w.config.Spool.Peek()
	if err != nil || record == nil {
		return err
	}
	b := w.fresh("")
	if err := parseRecord(record, b); err != nil {
		w.config.Log.Error("dropping a record from the spool", "bytes", len(record), "error", err)
		return w.config.Spool.Drop()
	}
	w.mu.Lock()
	defer w.unlock()
	if w.closed {
		return nil
	}
	b.replay = &replay{left: 1, over: make(chan struct{})}
	w.spool.replay = b.replay
	w.queueLocked(b)
	w.pumpLocked()
	return nil
}

// replayedLocked notes the outcome of a part of a record.
func (w *Writer) replayedLocked(b *pubBatch, err error) {
	r := b.replay
	if refusal, ok := errors.AsType[*RefusedError](err); ok {
		w.config.Log.Error("a spooled message is refused and dropped", "topic", b.topic, "messages", b.size.messages, "error", refusal)
	} else if err != nil {
		r.keep = true
	}
	if r.left--; r.left == 0 {
		close(r.over)
		token(w.toSpool)
	}
}

// replayNoMoreLocked has nothing more of the spool sent: what waits stays in it.
func (w *Writer) replayNoMoreLocked() {
	for b := w.ready.first; b != nil; {
		next := b.next
		if b.replay != nil {
			b.unlink()
			w.failLocked(b)
		}
		b = next
	}
}

// awaitReplay waits for the answer to what of the spool is on its way to a daemon: the
// next Writer would send it again.
func (w *Writer) awaitReplay(ctx context.Context) {
	w.mu.Lock()
	r := w.spool.replay
	w.mu.Unlock()
	if r == nil {
		return
	}
	select {
	case <-r.over:
	case <-ctx.Done():
	}
}

// spoolEmpty ends the use of an empty spool, unless something is to be put into
// it, and reports whether it did.
func (w *Writer) spoolEmpty() bool {
	w.mu.Lock()
	defer w.unlock()
	if !w.spool.active || w.spool.puts.first != nil {
		return false
	}
	w.spool.active = false
	w.config.Log.Info("the spool is empty: publishing to daemons again")
	w.pumpLocked()
	return true
}
