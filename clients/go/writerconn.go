package millrace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/millrace-mq/millrace/protocol"
)

// unsentLimit is how many bytes may be waiting to be written on a Writer's
// connection before publishes wait for their turn.
const unsentLimit = 256 << 10

// call is a publish that waits for its answer, or a mark.
type call struct {
	end int64 // of its command, counted in bytes of the connection

	// One of these is set.
	outcome chan error    // of a synchronous publish; has room
	done    func(error)   // of an asynchronous one, with the slot to leave after it
	reached chan struct{} // of a mark

	slot chan struct{}
}

func (c *call) tell(err error) {
	if c.outcome != nil {
		c.outcome <- err
		return
	}
	c.done(err)
	<-c.slot
}

// writerConn is a Writer's connection: answers carry no name, so they are
// matched with the calls by their order.
type writerConn struct {
	*conn
	ended chan struct{} // closed when every call was told its outcome and no loop is left

	calls fifo[call] // guarded by conn.mu
}

// publish appends a command, written by encode, and its call in the same order.
// It waits while too much is unsent. ok is false, and the call is not told, if
// the connection has failed; err is the context's.
func (c *writerConn) publish(ctx context.Context, encode func([]byte) []byte, call call) (ok bool, err error) {
	c.mu.Lock()
	for c.err == nil && len(c.out) > unsentLimit {
		if c.room == nil {
			c.room = make(chan struct{})
		}
		room := c.room
		c.mu.Unlock()
		select {
		case <-room:
		case <-c.dying:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	if c.err != nil {
		return false, nil
	}
	before := len(c.out)
	c.out = encode(c.out)
	c.appendedLocked(before, now)
	call.end = c.appended
	c.calls.push(call)
	return true, nil
}

// mark is a place in the order of calls.
type mark struct {
	conn    *writerConn
	reached chan struct{} // closed when all calls before it were told; see also conn.ended
}

// mark returns a mark behind the calls made so far.
func (c *writerConn) mark() *mark {
	m := &mark{c, make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls.count == 0 {
		close(m.reached)
	} else {
		c.calls.push(call{reached: m.reached})
	}
	return m
}

// run reads answers until the connection fails, calls failed with the reason,
// then tells every call left what became of it. It returns why the connection
// failed. Nobody who is told tries again on this connection.
func (c *writerConn) run(failed func(why error)) error {
	defer close(c.ended)
	var wg sync.WaitGroup
	wg.Go(c.writeLoop)
	last := c.readAnswers()
	err := c.fail(last)
	failed(last)
	wg.Wait()
	refusal, refused := errors.AsType[*refusedError](last)
	if refused {
		c.answer(refusal)
	}
	c.abandon(err, refused)
	return err
}

// refusedError is a daemon's answer to the oldest call, and to the connection.
type refusedError struct {
	address string
	err     *protocol.Error
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("publish refused by %s: %v", e.address, e.err)
}

func (e *refusedError) Unwrap() error { return e.err }

// readAnswers returns a *refusedError if that was the last one.
func (c *writerConn) readAnswers() error {
	in := bufio.NewReaderSize(c.conn, 4<<10)
	buf := make([]byte, 512)
	for {
		t, data, err := protocol.ReadFrame(in, buf, maxFrame)
		switch {
		case err != nil:
			return fmt.Errorf("reading from %s: %w", c.address, err)
		case t == protocol.FrameError:
			return &refusedError{c.address, protocol.ParseError(data)}
		case t != protocol.FrameResponse:
			return fmt.Errorf("%s sent a %v to a publisher", c.address, t)
		case string(data) == protocol.Heartbeat:
			c.nop()
		case !c.answer(nil):
			return fmt.Errorf("%s answered %.40q to nothing", c.address, data)
		}
	}
}

// answer tells the oldest call its outcome, and reports whether there was one.
func (c *writerConn) answer(err error) bool {
	call, ok := c.oldest()
	if ok {
		call.tell(err)
		c.told()
	}
	return ok
}

func (c *writerConn) oldest() (call, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls.peek()
}

// told forgets the oldest call, which it keeps in line until its done has
// returned, and the marks behind it.
func (c *writerConn) told() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls.drop()
	for {
		next, ok := c.calls.peek()
		if !ok || next.reached == nil {
			return
		}
		close(next.reached)
		c.calls.drop()
	}
}

// abandon fails the calls that were not answered. If the daemon refused one,
// those behind it were certainly not executed, since it stops there; nor were
// those whose last byte never left.
func (c *writerConn) abandon(err error, refused bool) {
	c.mu.Lock()
	sent := c.sent
	c.mu.Unlock()
	for {
		call, ok := c.oldest()
		if !ok {
			return
		}
		if refused || call.end > sent {
			call.tell(&notStoredError{c.address, err})
		} else {
			call.tell(&UncertainError{c.address, err})
		}
		c.told()
	}
}
