package main

import (
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/to_file/archive"
)

// Gaps between syncs of a stream that trickles. The first message after a
// pause is synced at once; those that follow share a sync, so that a slow
// stream does not keep the device busy, nor make a gzip member of every line.
const (
	plainGap = 100 * time.Millisecond
	gzipGap  = time.Second
)

const never = time.Duration(1<<63 - 1)

// requeueDelay is how long messages that could not be written stay away. It
// keeps them from coming straight back to a program that is ending.
const requeueDelay = time.Second

// lines is where a recorder puts messages: an archive.Archive.
type lines interface {
	Append(now time.Time, m archive.Record) error
	Sync() error
	Rotate(now time.Time, skipEmpty bool) error
	Close() error
}

// answer is how a message is answered: a millrace.Message.
type answer interface {
	Finish()
	Requeue(delay time.Duration)
}

// record is a message on its way into a file.
type record struct {
	archive.Record
	answer
}

// recorder stands between the connections, which hand messages over with add
// as fast as they come, and the files, which its run writes. A message is
// finished once a sync that came after it has returned.
//
// While the disk syncs some of what may be in flight, the rest is on its way
// from the daemons: hence a mailbox, and enough is half of that.
type recorder struct {
	lines     lines
	interval  time.Duration // a sync comes at least this often
	gap       time.Duration // and for lack of more messages, not more often than this
	skipEmpty bool
	enough    int         // a sync comes at once when this many messages wait for it
	starved   func() bool // whether some daemon sends nothing more before messages are answered

	wake chan struct{} // arrived has become non-empty

	mu      sync.Mutex // guards arrived; never held across I/O
	arrived []record

	// Owned by run.
	batch    []record  // what was taken from arrived last
	pending  []record  // written, not yet known to be synced
	lastSync time.Time // when the last sync ended
}

// add hands a message over. It never blocks; what may be in flight bounds how
// much is waiting.
func (r *recorder) add(m record) {
	r.mu.Lock()
	first := len(r.arrived) == 0
	r.arrived = append(r.arrived, m)
	r.mu.Unlock()
	if first {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// take returns what has arrived since the last take, in order. It is valid
// until the next one.
func (r *recorder) take() []record {
	clear(r.batch) // lets go of the bodies
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batch, r.arrived = r.arrived, r.batch[:0]
	return r.batch
}

// signals tell a recorder about the world around it.
type signals struct {
	hangup   <-chan struct{} // each value: close the file, so that it can be moved away
	stopping <-chan struct{} // closed when the program is to end: sync without delay
	ended    <-chan struct{} // closed when no more messages come
}

// run records messages until ended is closed, or until the disk fails, which
// is the error it returns. What is not finished by then is requeued.
func (r *recorder) run(s signals) error {
	err := r.record(s)
	if err != nil {
		_ = r.lines.Close() // gives the file back; the error is known
	}
	for _, m := range r.pending {
		m.Requeue(requeueDelay)
	}
	r.pending = nil
	return err
}

// requeueRest sends back what comes in after run has failed, until ended is
// closed.
func (r *recorder) requeueRest(ended <-chan struct{}) {
	for {
		for _, m := range r.take() {
			m.Requeue(requeueDelay)
		}
		select {
		case <-r.wake:
		case <-ended:
			return
		}
	}
}

func (r *recorder) record(s signals) error {
	tick := time.NewTicker(r.interval)
	defer tick.Stop()
	idle := time.NewTimer(0)
	defer idle.Stop()
	stopping := s.stopping
	for {
		if err := r.write(r.take()); err != nil {
			return err
		}
		idle.Reset(r.idleFor(stopping == nil))
		var err error
		select {
		case <-r.wake:
		case <-idle.C:
			err = r.syncIfPending()
		case <-tick.C:
			err = r.onTick()
		case <-s.hangup:
			err = r.closeFile()
		case <-stopping:
			stopping = nil
		case <-s.ended:
			return r.closeFile()
		}
		if err != nil {
			return err
		}
	}
}

// write appends the batch, and syncs if enough messages wait for that.
func (r *recorder) write(batch []record) error {
	if len(batch) == 0 {
		return nil
	}
	r.pending = append(r.pending, batch...)
	now := time.Now()
	for _, m := range batch {
		if err := r.lines.Append(now, m.Record); err != nil {
			return err
		}
	}
	if len(r.pending) >= r.enough {
		return r.sync()
	}
	return nil
}

// idleFor returns how long to wait for more messages before those pending are
// synced.
func (r *recorder) idleFor(stopping bool) time.Duration {
	switch {
	case len(r.pending) == 0:
		return never
	case stopping || r.starved():
		return 0
	}
	return max(0, r.gap-time.Since(r.lastSync))
}

func (r *recorder) syncIfPending() error {
	if len(r.pending) == 0 {
		return nil
	}
	return r.sync()
}

// sync makes what was appended safe and finishes its messages.
func (r *recorder) sync() error {
	if err := r.lines.Sync(); err != nil {
		return err
	}
	r.finish()
	r.lastSync = time.Now()
	return nil
}

func (r *recorder) finish() {
	for i, m := range r.pending {
		m.Finish()
		r.pending[i] = record{}
	}
	r.pending = r.pending[:0]
}

func (r *recorder) onTick() error {
	if err := r.lines.Rotate(time.Now(), r.skipEmpty); err != nil {
		return err
	}
	return r.syncIfPending()
}

func (r *recorder) closeFile() error {
	if err := r.lines.Close(); err != nil {
		return err
	}
	r.finish()
	return nil
}
