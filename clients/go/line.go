package millrace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// line is a Reader's connection to one daemon, subscribed.
type line struct {
	*conn
	reader  *Reader
	timeout time.Duration // of a message, by the daemon

	settled chan struct{} // closed when the daemon sends nothing new and everything is answered

	// Guarded by conn.mu.
	ready    int // the credit that the daemon was last given
	inFlight int
	phase    phase
	counts   counts
}

// phase is how far a line has come.
type phase uint8

const (
	receiving phase = iota
	closing         // CLS was said
	closed          // and answered: no message follows
	settled         // and all messages were answered
)

// counts are what became of messages.
type counts struct{ received, finished, requeued, expired uint64 }

func newLine(c *conn, r *Reader) *line {
	return &line{
		conn: c, reader: r, timeout: time.Duration(c.info.MsgTimeout) * time.Millisecond,
		settled: make(chan struct{}),
	}
}

// run receives until the connection fails, or ctx ends and the line has parted
// in good order. work bounds the parting. It returns why it ended.
func (l *line) run(ctx, work context.Context) error {
	l.reader.lines.Go(l.writeLoop)
	l.reader.lines.Go(func() { l.part(ctx, work) })
	err := l.fail(l.readLoop())
	l.reader.queue.forget(l)
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
		l.fail(errors.New("the daemon did not close in time"))
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

func (l *line) readLoop() error {
	var in inbox
	for {
		n, err := l.Read(in.space())
		in.filled(n)
		if n > 0 {
			if err := l.receive(&in); err != nil {
				return fmt.Errorf("reading from %s: %w", l.address, err)
			}
		}
		if err != nil {
			return fmt.Errorf("reading from %s: %w", l.address, err)
		}
	}
}

// receive takes every complete frame from in. The messages among them are
// allocated together and go to the workers together.
func (l *line) receive(in *inbox) error {
	var messages []Message
	if n := in.count(); n > 0 {
		messages = make([]Message, 0, n)
	}
	for {
		t, data, ok, err := in.next()
		switch {
		case err != nil:
			return err
		case !ok:
			l.deliver(messages)
			return nil
		case t == protocol.FrameMessage:
			p, err := protocol.ParseMessage(data)
			if err != nil {
				return err
			}
			messages = messages[:len(messages)+1]
			m := &messages[len(messages)-1]
			m.ID, m.Attempts, m.Body, m.Timestamp = p.ID, p.Attempts, p.Body, time.Unix(0, p.Timestamp)
			m.Address, m.line = l.address, l
		default:
			// What CLOSE_WAIT follows must be known to be in flight before it.
			l.deliver(messages)
			messages = messages[len(messages):]
			if err := l.control(t, data); err != nil {
				return err
			}
		}
	}
}

// control acts on a frame that is not a message.
func (l *line) control(t protocol.FrameType, data []byte) error {
	switch {
	case t == protocol.FrameError:
		err := protocol.ParseError(data)
		if err.Fatal() {
			return err
		}
		// The message's timeout was faster; it comes again.
		l.reader.config.Log.Info("answer came too late", "qd", l.address, "error", err)
		return nil
	case t != protocol.FrameResponse:
		return fmt.Errorf("unknown %v", t)
	case string(data) == protocol.Heartbeat:
		l.nop()
		return nil
	case string(data) == protocol.CloseWait && l.closeAnswered():
		return nil
	}
	return fmt.Errorf("unexpected response %.40q", data)
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
	l.settleLocked(0)
	return true
}

func (l *line) deliver(messages []Message) {
	if len(messages) == 0 {
		return
	}
	l.mu.Lock()
	l.inFlight += len(messages)
	l.counts.received += uint64(len(messages))
	l.mu.Unlock()
	at := time.Now()
	b := &batch{line: l, messages: messages, deadline: at.Add(l.timeout)}
	if !l.reader.queue.push(b, at) {
		b.giveBack()
	}
}

// giveBack requeues what nobody has claimed, for another reader.
func (b *batch) giveBack() {
	rest := b.claimAll()
	for i := range rest {
		rest[i].requeue(0, soon)
	}
	b.line.flush()
}

func (l *line) finish(id protocol.MessageID, u urgency) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	before := len(l.out)
	l.out = protocol.AppendFin(l.out, id)
	l.appendedLocked(before, u)
	l.counts.finished++
	l.settleLocked(1)
}

func (l *line) requeue(id protocol.MessageID, delay time.Duration, u urgency) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	before := len(l.out)
	l.out = protocol.AppendReq(l.out, id, delay)
	l.appendedLocked(before, u)
	l.counts.requeued++
	l.settleLocked(1)
}

func (l *line) touch(id protocol.MessageID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	before := len(l.out)
	l.out = protocol.AppendTouch(l.out, id)
	l.appendedLocked(before, now)
}

// expired notes that n messages were dropped because the daemon has taken them
// back.
func (l *line) expired(n int) {
	if n == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.expired += uint64(n)
	l.settleLocked(n)
}

// settleLocked notes that n messages are no longer in flight.
func (l *line) settleLocked(n int) {
	l.inFlight -= n
	switch {
	case l.inFlight > 0:
	case l.phase == closed:
		l.phase = settled
		close(l.settled)
	case l.ready == 0:
		l.reader.noteChange() // it may be another line's turn
	}
}

// setReady gives the daemon credit for n messages in flight.
func (l *line) setReady(n int) {
	n = min(n, int(l.info.MaxRdyCount))
	l.mu.Lock()
	defer l.mu.Unlock()
	if n == l.ready || l.phase != receiving {
		return
	}
	l.ready = n
	before := len(l.out)
	l.out = protocol.AppendRdy(l.out, n)
	l.appendedLocked(before, now)
}

func (l *line) credit() credit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return credit{l.ready, l.inFlight}
}
