package millrace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

const (
	// defaultHeartbeat is what daemons do when they are not asked: IDENTIFY's
	// answer does not tell.
	defaultHeartbeat = 30 * time.Second

	// maxFrame bounds a frame from a daemon, in bytes. Daemons take messages of
	// 1 MiB by default; memory is only taken as bytes arrive, so that the
	// bound may be generous.
	maxFrame = 64 << 20

	// lingerDelay is how long a daemon is listened to once it takes no more.
	lingerDelay = time.Second

	// soonDelay is the longest that an answer waits for company while its
	// handler's goroutine has more messages in hand.
	soonDelay = time.Millisecond

	// soonBytes is how many bytes of such answers are sent without waiting.
	soonBytes = 16 << 10

	// keptBuffer is the capacity above which an emptied output buffer is left
	// to the collector: one huge publish should not be paid for for ever.
	keptBuffer = 1 << 20
)

// urgency says when appended bytes are to be written.
type urgency bool

const (
	now  urgency = true
	soon urgency = false // with what follows, but within soonDelay
)

// A dialer makes connections that are greeted: connected and identified.
type dialer struct {
	dial         Dialer
	timeout      time.Duration
	writeTimeout time.Duration
	heartbeat    time.Duration // 0: not asked for
	identify     protocol.IdentifyRequest
	subscribe    []byte // a command to say after IDENTIFY; may be empty
}

// conn is a connection to a daemon. What is sent on it is appended to a buffer,
// which writeLoop, its one writer, swaps and writes: many commands take one
// system call, and nobody holds a lock while the network is slow.
type conn struct {
	nc           net.Conn
	address      string
	info         protocol.IdentifyResponse
	silence      time.Duration // of the daemon, after which it counts as dead
	writeTimeout time.Duration
	drains       bool        // what the daemon has answered is read even after a write failed
	broken       atomic.Bool // a write failed: Read has lingerDelay left

	kick  chan struct{} // holds a token when the buffer is to be written now
	soon  *time.Timer   // fires when answers have waited for soonDelay
	dying chan struct{} // closed by fail

	mu       sync.Mutex // guards below; never held across a read, a write or a send
	out      []byte     // appended, not yet taken by writeLoop
	spare    []byte     // the buffer that is not out, while writeLoop does not have it
	appended int64      // bytes ever appended
	sent     int64      // of those, bytes that the system took
	last     bool       // writeLoop ends once out is written
	err      error      // why the connection failed; nil while it has not
	room     chan struct{}
}

// connect dials address and is greeted, within the dialer's timeout.
func (d *dialer) connect(ctx context.Context, address string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	nc, err := d.dial(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	// The handshake is stopped by its context through the connection.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	c, err := d.greet(nc, address)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = nc.Close()
		if cause := ctx.Err(); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("greeting %s: %w", address, err)
	}
	return c, nil
}

func (d *dialer) greet(nc net.Conn, address string) (*conn, error) {
	c := &conn{
		nc: nc, address: address, writeTimeout: d.writeTimeout, silence: 2 * d.heartbeat,
		kick: make(chan struct{}, 1), dying: make(chan struct{}),
	}
	if c.silence == 0 {
		c.silence = 2 * defaultHeartbeat
	}
	body, err := json.Marshal(d.identify)
	if err != nil {
		return nil, err
	}
	answer, err := c.exchange(protocol.AppendIdentify([]byte(protocol.MagicV2), body))
	if err != nil {
		return nil, err
	}
	if len(answer) == 0 || answer[0] != '{' {
		answer = []byte("{}") // a daemon of old, or a sketch of one, says OK
	}
	if err := json.Unmarshal(answer, &c.info); err != nil {
		return nil, fmt.Errorf("the answer to IDENTIFY: %w", err)
	}
	if c.info.MaxRdyCount <= 0 {
		c.info.MaxRdyCount = 2500
	}
	if c.info.MsgTimeout <= 0 {
		c.info.MsgTimeout = time.Minute.Milliseconds()
	}
	if len(d.subscribe) > 0 {
		if _, err := c.exchange(d.subscribe); err != nil {
			return nil, err
		}
	}
	c.soon = time.NewTimer(time.Hour)
	c.soon.Stop()
	return c, nil
}

// errNotQD is what the TCP address of a lookupd or an HTTP address earn.
var errNotQD = errors.New("what answers is not a qd's TCP side")

// exchange writes a command and reads its answer, before the loops run. The
// data returned is the caller's. An error frame is returned as its error.
func (c *conn) exchange(command []byte) ([]byte, error) {
	if _, err := c.nc.Write(command); err != nil {
		return nil, err
	}
	for {
		t, data, err := protocol.ReadFrame(c.nc, nil, 1<<20)
		switch {
		case errors.Is(err, protocol.ErrFrameSize):
			return nil, errNotQD // "HTTP", read as a size, is of this kind
		case err != nil:
			return nil, err
		case t == protocol.FrameError:
			return nil, protocol.ParseError(data)
		case t != protocol.FrameResponse:
			return nil, errNotQD
		case string(data) != protocol.Heartbeat:
			return data, nil
		}
		if _, err := c.nc.Write(protocol.AppendNop(nil)); err != nil {
			return nil, err
		}
	}
}

// Read reads from the connection. It fails when the daemon, which sends
// heartbeats, has been silent for two of them.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.nc.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	if c.broken.Load() { // writeLoop may have set its deadline before ours
		_ = c.nc.SetReadDeadline(time.Now().Add(lingerDelay))
	}
	return c.nc.Read(p)
}

// appendedLocked must be called after out has grown from before bytes. It
// counts the growth and sees to its being written.
func (c *conn) appendedLocked(before int, u urgency) {
	c.appended += int64(len(c.out) - before)
	switch {
	case u == now || before < soonBytes && len(c.out) >= soonBytes:
		select {
		case c.kick <- struct{}{}:
		default: // writeLoop has yet to see the last one, and will see these bytes then
		}
	case before == 0:
		c.soon.Reset(soonDelay)
	}
}

// flush has what was appended with soon written now.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) > 0 {
		c.appendedLocked(len(c.out), now)
	}
}

// nop answers a heartbeat.
func (c *conn) nop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.out)
	c.out = protocol.AppendNop(c.out)
	c.appendedLocked(before, now)
}

// endWrites ends writeLoop, and the connection's sending side, after what was
// appended so far.
func (c *conn) endWrites() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = true
	c.appendedLocked(len(c.out), now)
}

// writeLoop writes what is appended until the connection fails or endWrites is
// called.
func (c *conn) writeLoop() {
	for {
		select {
		case <-c.kick:
		case <-c.soon.C:
		case <-c.dying:
			return
		}
		c.mu.Lock()
		buf, last := c.out, c.last
		c.out, c.spare = c.spare[:0], nil
		if c.room != nil {
			close(c.room)
			c.room = nil
		}
		c.mu.Unlock()
		n, err := c.write(buf)
		c.mu.Lock()
		c.sent += int64(n)
		if cap(buf) <= keptBuffer {
			c.spare = buf[:0]
		}
		c.mu.Unlock()
		if err != nil {
			c.failWrite(fmt.Errorf("writing to %s: %w", c.address, err))
			return
		}
		if last {
			c.closeWrite()
			return
		}
	}
}

func (c *conn) write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
		return 0, err
	}
	return c.nc.Write(b)
}

// closeWrite tells the daemon that nothing more comes. Closing instead, with
// bytes of the daemon's unread, would be a TCP reset, which can overtake our
// last commands.
func (c *conn) closeWrite() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		return
	}
	c.fail(errors.New("the connection was closed"))
}

// fail breaks the connection, once: the first reason stays, and is returned.
// Both loops end soon after.
func (c *conn) fail(err error) error {
	err = c.stop(err)
	_ = c.nc.Close() // has nothing to say that err does not
	return err
}

// failWrite is fail for writeLoop. A daemon that closes may have sent answers
// before: closing at once would turn what they say into uncertainty.
func (c *conn) failWrite(err error) {
	if !c.drains {
		c.fail(err)
		return
	}
	c.stop(err)
	c.broken.Store(true)
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerDelay))
}

func (c *conn) stop(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.dying)
		c.soon.Stop()
	}
	return c.err
}
