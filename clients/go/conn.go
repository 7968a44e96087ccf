package millrace

import (
	"bytes"
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

// conn is a connection to a daemon. What is sent on it is appended to a buffer,
// which writeLoop, its one writer, swaps and writes: many commands take one
// system call, and nobody holds a lock while the network is slow.
type conn struct {
	nc           net.Conn // the socket
	stack                 // between it and the protocol; complete when connect returns
	address      string
	info         protocol.IdentifyResponse
	extension    *protocol.ExtensionResponse // nil unless the daemon speaks it
	roundTrip    time.Duration               // of IDENTIFY, about
	silence      time.Duration               // of the daemon, after which it counts as dead
	writeTimeout time.Duration
	drains       bool        // what the daemon has answered is read even after a write failed
	broken       atomic.Bool // a write failed: Read has lingerDelay left

	kick  chan struct{} // holds a token when the buffer is to be written now
	soon  *time.Timer   // fires when answers have waited for soonDelay
	dying chan struct{} // closed by fail

	mu       sync.Mutex // guards below; never held across a read, a write or a send
	out      []byte     // appended, not yet taken by writeLoop
	inserts  []insert   // what goes between its bytes
	spare    []byte     // the buffer that is not out, while writeLoop does not have it
	appended int64      // bytes ever appended
	sent     int64      // of those, bytes that the system took, or may have taken packed with others
	last     bool       // writeLoop ends once out is written
	err      error      // why the connection failed; nil while it has not
}

// insert is a large piece that is written from where it lies, before the byte of
// out that is at an offset.
type insert struct {
	at    int
	piece []byte
}

// Read reads what the topmost layer gives. It fails when the daemon, which sends
// heartbeats, has been silent for two of them.
func (c *conn) Read(p []byte) (int, error) { return c.from.Read(p) }

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

// insertLocked appends a piece without copying it. It must not be changed until
// sent has grown to what appended is now, or the loops have ended.
func (c *conn) insertLocked(piece []byte) {
	c.inserts = append(c.inserts, insert{len(c.out), piece})
	c.appended += int64(len(piece))
	c.appendedLocked(len(c.out), now)
}

// flush has what was appended with soon written now.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) > 0 {
		c.appendedLocked(len(c.out), now)
	}
}

// nop answers a heartbeat. One that waits to be written is enough: a daemon that sends
// heartbeats, packed a thousand to one, and reads nothing, must not fill the memory.
func (c *conn) nop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.out)
	if !bytes.HasSuffix(c.out, nopCommand) {
		c.out = protocol.AppendNop(c.out)
	}
	c.appendedLocked(before, now)
}

var nopCommand = protocol.AppendNop(nil)

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
		buf, inserts, last := c.out, c.inserts, c.last
		c.out, c.inserts, c.spare = c.spare[:0], nil, nil
		c.mu.Unlock()
		err := c.write(buf, inserts)
		c.mu.Lock()
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

// write writes buf and what goes between its bytes.
func (c *conn) write(buf []byte, inserts []insert) error {
	at := 0
	for _, i := range inserts {
		if err := c.writePiece(buf[at:i.at]); err != nil {
			return err
		}
		if err := c.writePiece(i.piece); err != nil {
			return err
		}
		at = i.at
	}
	return c.writePiece(buf[at:])
}

func (c *conn) writePiece(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := c.to.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent += int64(n)
	return err
}

// closeWrite tells the daemon that nothing more comes. Closing instead, with
// bytes of the daemon's unread, would be a TCP reset, which can overtake our
// last commands.
func (c *conn) closeWrite() {
	if !c.end() {
		_ = c.fail(errors.New("the connection was closed"))
	}
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
		_ = c.fail(err)
		return
	}
	_ = c.stop(err)
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
