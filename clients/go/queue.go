package millrace

import (
	"sync"
	"sync/atomic"
	"time"
)

// batch is the messages of one read. Workers claim them one by one, without a
// lock, so that a read's messages are spread over all of them.
type batch struct {
	line     *line
	messages []Message
	deadline time.Time    // when the daemon takes them back
	claimed  atomic.Int64 // beyond len(messages) once exhausted
}

// claim returns the next message that nobody has claimed, or nil.
func (b *batch) claim() *Message {
	if i := b.claimed.Add(1) - 1; i < int64(len(b.messages)) {
		return &b.messages[i]
	}
	return nil
}

func (b *batch) exhausted() bool { return b.claimed.Load() >= int64(len(b.messages)) }

// claimAll returns what nobody has claimed.
func (b *batch) claimAll() []Message {
	n := int64(len(b.messages))
	return b.messages[min(b.claimed.Swap(n), n):]
}

// queue holds the batches that workers have yet to exhaust, in the order in
// which they were read. Credit bounds it.
type queue struct {
	idle func() // may be nil; called by the worker that finds nothing to do

	mu      sync.Mutex // guards below; not held while idle runs; a line's may be taken in it
	wake    sync.Cond
	batches fifo[*batch]
	busy    int  // workers that have a batch
	worked  bool // a worker had a batch since idle was last called
	idling  bool // a worker is in idle
	closed  bool
}

func newQueue(idle func()) *queue {
	q := &queue{idle: idle}
	q.wake.L = &q.mu
	return q
}

// push appends a batch. It returns false, and does not take it, once the queue
// is closed. It drops what the daemon has taken back by now, which bounds the
// queue even if no worker ever comes: a daemon sends its credit again no sooner
// than that.
func (q *queue) push(b *batch, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	for {
		first, ok := q.batches.peek()
		if !ok || now.Before(first.deadline) {
			break
		}
		first.line.expired(len(first.claimAll()))
		q.batches.drop()
	}
	q.batches.push(b)
	if len(b.messages) == 1 {
		q.wake.Signal()
	} else {
		q.wake.Broadcast()
	}
	return true
}

// next waits for a batch with messages to claim. had says that the worker had
// one before, which it is done with. It returns nil once the queue is closed.
func (q *queue) next(had bool) *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if had {
		q.busy--
	}
	for !q.closed {
		b, ok := q.batches.peek()
		switch {
		case ok && b.exhausted():
			q.batches.drop()
		case ok:
			q.busy++
			q.worked = true
			return b
		case q.idle != nil && q.worked && q.busy == 0 && !q.idling:
			q.worked, q.idling = false, true
			q.mu.Unlock()
			q.idle()
			q.mu.Lock()
			q.idling = false
		default:
			q.wake.Wait()
		}
	}
	return nil
}

// forget drops the messages of a line that is gone: the daemon delivers them
// again, so handling these would only be handling them twice.
func (q *queue) forget(l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for b := range q.batches.all() {
		if b.line == l {
			b.claimAll()
		}
	}
}

// close makes next and push return at once, and returns the batches left.
func (q *queue) close() (left []*batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Broadcast()
	for b := range q.batches.all() {
		left = append(left, b)
	}
	return left
}
