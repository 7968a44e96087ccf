package millrace

import (
	"context"
	"errors"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// line is a Reader's connection to one daemon, subscribed.
type line struct {
	*conn
	reader  *Reader
	timeout time.Duration // of a message, by the daemon
	longest time.Duration // the same, of one that is touched, from its delivery
	turn    share         // the spreading goroutine's

	closed  chan struct{} // closed when the daemon sends nothing new
	settled chan struct{} // closed when, besides, everything is answered

	// Guarded by conn.mu.
	ready    int // the credit that the daemon was last given
	inFlight int
	phase    phase
	counts   counts
	appetite appetite
	seeks    fifo[chan<- error] // of the SEEKs that are not answered yet
}

// phase is how far a line has come.
type phase uint8

const (
	receiving phase = iota
	closing         // CLS was said
	closed          // and answered: no message follows
	settled         // and all messages were answered
)

// appetite is what a line has done with its credit since it was last divided.
type appetite struct {
	peak   int // the most that was in flight
	hungry bool
	heard  time.Time // when messages last came, or the last one was answered
	kept   time.Time // when one was last touched
	lost   int       // of those in flight, what the daemon has taken back
	since  time.Time // the beginning of a short while
	lately int       // messages in it
}

// counts are what became of messages.
type counts struct{ received, finished, requeued, expired, touched, givenUp uint64 }

func (c *counts) add(d counts) {
	c.received += d.received
	c.finished += d.finished
	c.requeued += d.requeued
	c.expired += d.expired
	c.touched += d.touched
	c.givenUp += d.givenUp
}

// defaultMaxMsgTimeout is what daemons have that do not tell.
const defaultMaxMsgTimeout = 15 * time.Minute

func newLine(c *conn, r *Reader) *line {
	l := &line{
		conn: c, reader: r, timeout: time.Duration(c.info.MsgTimeout) * time.Millisecond,
		longest: time.Duration(c.info.MaxMsgTimeout) * time.Millisecond,
		closed:  make(chan struct{}), settled: make(chan struct{}),
		turn: share{
			limit: int(c.info.MaxRdyCount), due: time.Now(),
			probe: min(max(2*c.roundTrip, probeLeast), turnLength),
		},
	}
	if l.longest <= 0 {
		l.longest = defaultMaxMsgTimeout
	}
	return l
}

// touchFor is for how long after its delivery the Reader touches a message.
func (l *line) touchFor() time.Duration {
	if l.reader.config.TouchFor != 0 {
		return min(l.longest, l.reader.config.TouchFor)
	}
	return l.longest
}

// run receives until the connection fails, or ctx ends and the line has parted
// in good order. work bounds the parting. It returns why it ended.
func (l *line) run(ctx, work context.Context) error {
	l.reader.lines.Go(l.writeLoop)
	l.reader.lines.Go(func() { l.part(ctx, work) })
	err := l.fail(l.readLoop())
	l.reader.queue.forget(l)
	l.failSeeks(err)
	return err
}

// part waits for ctx to end, then says CLS, waits until everything that was
// delivered is answered and the daemon knows, and closes.
func (l *line) part(ctx, work context.Context) {
	select {
	case <-ctx.Done():
	case <-l.dying:
		return
	}
	l.close()
	select {
	case <-l.settled:
	case <-work.Done():
	case <-l.dying:
		return
	}
	l.endWrites()
	// The daemon closes when it has read our last answer.
	linger := time.NewTimer(lingerDelay)
	defer linger.Stop()
	select {
	case <-linger.C:
		_ = l.fail(errors.New("the daemon did not close in time"))
	case <-l.dying:
	}
}

// close says CLS, once: the daemon is to send nothing new.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != receiving {
		return
	}
	before := len(l.out)
	l.out = protocol.AppendCls(l.out)
	l.appendedLocked(before, now)
	l.phase = closing
}

// closeAnswered notes that CLS was answered. It reports false if it is not CLS's
// turn to be.
func (l *line) closeAnswered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != closing {
		return false
	}
	l.phase = closed
	close(l.closed)
	l.settleLocked(0)
	return true
}

// holds reports whether the connection lives and messages of its are unanswered.
func (l *line) holds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil && l.inFlight > 0
}

// grant gives the daemon the credit that its share has come to. What was answered
// since the share was taken could not know that others were made to wait for it.
func (l *line) grant(s *share) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setReadyLocked(s.ready)
	if s.inFlight > s.ready && l.inFlight-l.appetite.lost < s.inFlight {
		l.reader.noteChange()
	}
}

// setReady gives the daemon credit for n messages in flight.
func (l *line) setReady(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setReadyLocked(n)
}

func (l *line) setReadyLocked(n int) {
	if n == l.ready || l.phase != receiving {
		return
	}
	l.ready = n
	before := len(l.out)
	l.out = protocol.AppendRdy(l.out, n)
	l.appendedLocked(before, now)
}

// credit returns how many messages the daemon can send before some are answered, at
// most 0 if none, and how many it could if all were.
func (l *line) credit() (left, of int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready - (l.inFlight - l.appetite.lost), l.ready
}

// shortWhile is what a line's traffic is measured over.
const shortWhile = 5 * time.Millisecond

// arrivedLocked notes that n messages came. A line is hungry if all its credit
// is in flight, and also if as much came in a short while: what is on its way
// back to the daemon is in flight for it, and not for us.
func (l *line) arrivedLocked(n int, at time.Time) {
	l.inFlight += n
	// #nosec G115 -- counts of messages and clients: never negative
	l.counts.received += uint64(n)
	a := &l.appetite
	a.peak = max(a.peak, l.inFlight)
	a.heard = at
	if at.Sub(a.since) > shortWhile {
		a.since, a.lately = at, 0
	}
	a.lately += n
	if !a.hungry && max(l.inFlight, a.lately) >= l.ready {
		a.hungry = true
		l.reader.noteChange()
	}
}

// share tells what the line does with its credit, and begins to measure anew.
func (l *line) share(now time.Time) *share {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, a := &l.turn, &l.appetite
	// What nobody ever answers must not keep credit from other lines for good.
	s.lapses = later(a.heard, a.kept).Add(l.timeout)
	if !now.Before(s.lapses) {
		a.lost = l.inFlight
	}
	s.ready, s.inFlight, s.peak, s.heard = l.ready, l.inFlight-a.lost, a.peak, a.heard
	s.hungry = a.hungry || s.inFlight > 0 && s.inFlight >= l.ready
	a.peak, a.hungry = l.inFlight, false
	return s
}

// settleLocked notes that n messages are no longer in flight.
func (l *line) settleLocked(n int) {
	over := l.inFlight > l.ready
	l.inFlight -= n
	l.appetite.lost = min(l.appetite.lost, l.inFlight)
	if l.inFlight <= 0 {
		l.appetite.heard = time.Now()
		if l.phase == closed {
			l.phase = settled
			close(l.settled)
		}
	}
	if over && l.phase == receiving {
		l.reader.noteChange() // others wait for what it answers
	}
}
