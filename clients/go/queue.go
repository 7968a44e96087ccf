package millrace

import (
	"sync"
	"time"
)

// queue holds the parcels that workers have yet to exhaust, in the order in
// which they were read. Credit bounds it.
type queue struct {
	idle func()      // may be nil; called by the worker that finds nothing to do
	full func() bool // whether no daemon can send anything before something is answered

	mu      sync.Mutex // guards below; not held while idle runs; a Reader's may be taken in it
	wake    sync.Cond
	alarm   *time.Timer // wakes those who wait for company for messages; nil until there are some
	parcels fifo[*parcel]
	busy    int  // workers that have messages
	worked  bool // a worker had some since idle was last called
	idling  bool // a worker is in idle
	closed  bool
}

func newQueue(idle func(), full func() bool) *queue {
	q := &queue{idle: idle, full: full}
	q.wake.L = &q.mu
	return q
}

// push appends a parcel. It returns false, and does not take it, once the queue
// is closed. It drops what the daemon has taken back by now, which bounds the
// queue even if no worker ever comes: a daemon sends its credit again no sooner
// than that.
func (q *queue) push(p *parcel) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	for first := q.firstLocked(); first != nil && !p.at.Before(first.deadline()); first = q.firstLocked() {
		first.expire()
	}
	p.holders.Store(int64(len(p.messages)) + 1)
	q.parcels.push(p)
	if len(p.messages) == 1 {
		q.wake.Signal()
	} else {
		q.wake.Broadcast()
	}
	return true
}

// firstLocked returns the first parcel that has something to claim, or nil. It
// drops those before it.
func (q *queue) firstLocked() *parcel {
	for {
		p, ok := q.parcels.peek()
		switch {
		case !ok:
			return nil
		case p.unclaimed() > 0:
			return p
		}
		q.parcels.drop()
		p.letGo(1)
	}
}

// next waits for a parcel with messages to claim. had says that the worker had
// one before, which it is done with. It returns nil once the queue is closed.
func (q *queue) next(had bool) *parcel {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.doneLocked(had)
	for !q.closed {
		if p := q.firstLocked(); p != nil {
			q.busy++
			q.worked = true
			return p
		}
		q.restLocked()
	}
	return nil
}

// gather waits for messages and appends up to size of them to runs, those of one
// parcel as one run. had is as in next. It has messages wait for company until
// there are size, none can come, or the first has waited for long enough. It appends
// nothing once the queue is closed.
func (q *queue) gather(runs []run, size int, wait time.Duration, had bool) []run {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.doneLocked(had)
	for !q.closed {
		now := time.Now()
		first := q.firstLocked()
		switch {
		case first == nil:
			q.restLocked()
		case !now.Before(first.deadline()):
			first.expire()
		case now.Before(first.ripe(wait)) && q.waitingLocked(size) < size && !q.full():
			q.alarmLocked(first.ripe(wait).Sub(now))
			q.wake.Wait()
		default:
			q.busy++
			q.worked = true
			return q.claimLocked(runs, size, now)
		}
	}
	return runs
}

func (q *queue) claimLocked(runs []run, size int, now time.Time) []run {
	for size > 0 {
		p := q.firstLocked()
		if p == nil || !now.Before(p.deadline()) {
			break
		}
		messages := p.claimMany(size)
		runs = append(runs, run{parcel: p, messages: messages})
		size -= len(messages)
	}
	return runs
}

// waitingLocked counts messages to claim, up to enough.
func (q *queue) waitingLocked(enough int) (n int) {
	for p := range q.parcels.all() {
		if n += p.unclaimed(); n >= enough {
			break
		}
	}
	return n
}

func (q *queue) alarmLocked(d time.Duration) {
	if q.alarm == nil {
		q.alarm = time.AfterFunc(d, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.wake.Broadcast()
		})
		return
	}
	q.alarm.Reset(d)
}

func (q *queue) doneLocked(had bool) {
	if had {
		q.busy--
	}
}

// restLocked has a worker without messages call idle if that is due, or else
// wait until something changes.
func (q *queue) restLocked() {
	if q.idle == nil || !q.worked || q.busy > 0 || q.idling {
		q.wake.Wait()
		return
	}
	q.worked, q.idling = false, true
	q.mu.Unlock()
	defer func() { // also if idle ends the goroutine
		q.mu.Lock()
		q.idling = false
	}()
	q.idle()
}

// forget drops the messages of a line that is gone: the daemon delivers them
// again, so handling these would only be handling them twice.
func (q *queue) forget(l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for p := range q.parcels.all() {
		if p.line == l {
			p.letGo(len(p.claimAll()))
		}
	}
}

// close makes next, gather and push return at once, and returns the parcels left.
func (q *queue) close() (left []*parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.alarm != nil {
		q.alarm.Stop()
	}
	q.wake.Broadcast()
	for p := range q.parcels.all() {
		left = append(left, p)
	}
	return left
}
