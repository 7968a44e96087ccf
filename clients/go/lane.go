package millrace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// laneLimit is how many bytes may be unanswered on one connection. What waits
// for its turn can still go elsewhere; what is on its way is uncertain if the connection
// breaks.
const laneLimit = 4 << 20

// pieceBytes is the length from which on a command is written from where it lies.
const pieceBytes = 16 << 10

// errNotNeeded is why a connection ends that the Writer gives up by itself.
var errNotNeeded = errors.New("the connection is not needed any more")

// lane is a Writer's connection to a daemon. Answers carry no name, so they
// are matched with the batches by their order.
type lane struct {
	*conn
	daemon *daemon

	// Guarded by Writer.mu.
	unanswered fifo[*pubBatch]
	owed       int    // their bytes
	used       uint64 // when it was last used: the batch's seq
	proven     bool   // the daemon has stored something that was sent here
	gone       bool   // it is to get nothing more
}

// send has a batch written, and reports whether it can be: not if the connection
// has failed. Writer.mu is held.
func (l *lane) send(b *pubBatch) bool {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return false
	}
	if piece := b.piece(); b.due.IsZero() && len(piece) >= pieceBytes {
		l.insertLocked(piece)
	} else {
		before := len(l.out)
		if b.due.IsZero() {
			l.out = append(l.out, piece...)
		} else {
			l.out = protocol.AppendDPub(l.out, b.topic, max(0, time.Until(b.due)), b.messages()[4:])
		}
		l.appendedLocked(before, now)
	}
	b.end = l.appended
	l.mu.Unlock()
	b.stopWaiting()
	b.lane = l
	l.unanswered.push(b)
	l.owed += len(b.wire)
	l.used = max(l.used, b.seq)
	return true
}

// shift returns the batch that is to be answered next, and forgets it.
func (l *lane) shift() *pubBatch {
	b, ok := l.unanswered.peek()
	if !ok {
		return nil
	}
	l.unanswered.drop()
	l.owed -= len(b.wire)
	return b
}

// written reports whether the writing of what ends there is over. (An answer can be
// faster than the return of the write.)
func (l *lane) written(end int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent >= end
}

// answerError is a daemon's refusal of the oldest batch; it ends the connection.
type answerError struct{ err *protocol.Error }

func (e *answerError) Error() string { return e.err.Error() }
func (e *answerError) Unwrap() error { return e.err }

// readAnswers reports each OK to stored, until the connection fails. It returns why,
// an *answerError if the last answer was a refusal.
func (l *lane) readAnswers(stored func() bool) error {
	in := bufio.NewReaderSize(l.conn, 4<<10)
	buf := make([]byte, 512)
	for {
		t, data, err := protocol.ReadFrame(in, buf, maxAnswer)
		switch {
		case err != nil:
			return fmt.Errorf("reading from %s: %w", l.address, err)
		case t == protocol.FrameError:
			return &answerError{protocol.ParseError(data)}
		case t != protocol.FrameResponse:
			return fmt.Errorf("%s sent a %v to a publisher", l.address, t)
		case string(data) == protocol.Heartbeat:
			l.nop()
		case string(data) != protocol.OK:
			return fmt.Errorf("%s answered %.40q to a publish", l.address, data)
		case !stored():
			return fmt.Errorf("%s answered OK to nothing", l.address)
		}
	}
}

// serve uses a connection until it fails, and then decides what becomes of all
// that is unanswered.
func (w *Writer) serve(d *daemon, c *conn) {
	c.drains = true
	l := &lane{conn: c, daemon: d}
	var writing sync.WaitGroup
	writing.Go(l.writeLoop)
	w.mu.Lock()
	w.pool.connected(d, l)
	w.after.lost = append(w.after.lost, w.pool.spare()...)
	w.pumpLocked()
	w.unlock()
	w.config.Log.Debug("connected", "node", l.address)
	stop := context.AfterFunc(w.life, func() { _ = l.fail(ErrClosed) })
	defer stop()
	last := l.readAnswers(func() bool { return w.stored(l) })
	why := l.fail(last)
	writing.Wait() // from now on it is known what was sent
	w.lost(l, last, why)
}

// stored notes that the oldest batch of a lane is stored; false if there is none.
func (w *Writer) stored(l *lane) bool {
	w.mu.Lock()
	defer w.unlock()
	b := l.shift()
	if b == nil {
		return false
	}
	if !l.proven {
		l.proven = true
		l.daemon.worked()
	}
	w.stats.Batches++
	b.loose = l.written(b.end)
	w.settleLocked(b, nil)
	w.retireLocked(l)
	w.pumpLocked()
	return true
}

// retireLocked ends a lane that gets nothing more once nothing is owed on it.
func (w *Writer) retireLocked(l *lane) {
	if l.gone && l.unanswered.count == 0 {
		w.after.lost = append(w.after.lost, l)
	}
}

// lost decides what becomes of what a lane that has failed owes answers to. last
// is how reading ended, why the first reason for the failure.
//
// After a refusal a daemon carries out nothing more, so what is behind the
// refused batch is certainly not stored; nor is that whose last byte never left.
func (w *Writer) lost(l *lane, last, why error) {
	refusal, refused := errors.AsType[*answerError](last)
	l.mu.Lock()
	sent := l.sent
	l.mu.Unlock()
	w.mu.Lock()
	defer w.unlock()
	answered := refused && l.unanswered.count > 0
	var aside bool
	if answered {
		aside = w.refusedLocked(l.shift(), l, refusal.err)
	}
	for b := l.shift(); b != nil; b = l.shift() {
		b.lane = nil
		if answered || b.end > sent {
			w.againLocked(b, fmt.Errorf("%s: %w", l.address, why))
		} else {
			w.uncertainLocked(b, &UncertainError{l.address, why})
		}
	}
	at := time.Now()
	w.pool.disconnected(l, at, why, aside, answered && !aside)
	switch {
	case errors.Is(why, errNotNeeded), w.ending:
	case tooEarly(why) > 0:
		w.config.Log.Debug("published too early", "node", l.address, "error", why)
	default:
		w.config.Log.Warn("connection lost", "node", l.address, "error", why)
	}
	w.fillLocked(at)
	w.giveUpLocked()
	w.pumpLocked()
}
