package peers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

const (
	// maxReply is the longest reply in bytes that is taken from a lookupd.
	maxReply = 64 << 10
	// chunk is how many bytes of commands are written at a time.
	chunk = 32 << 10
)

// conversation is protocol V1 on a connection, as the daemon speaks it. Commands
// are streamed: nobody waits for the reply to one before the next is sent, so a
// list of any length takes one round trip. A goroutine reads the replies, which
// are counted and not kept, and notices when the connection is lost.
//
// One goroutine sends; it owns what has no lock.
type conversation struct {
	conn    net.Conn
	in      *bufio.Reader
	timeout time.Duration
	out     *bufio.Writer // of commands; what it is given goes through say
	stirred chan struct{} // signalled when the last reply that is owed has come, and at the end
	heard   chan struct{} // closed when the reader has ended

	mu     sync.Mutex // guards what follows
	owed   int        // commands that have not been replied to
	full   string     // a reply that it takes no more registrations; empty if there was none
	resync bool       // the lookupd wants to be told everything again
	lost   error      // why the conversation has ended
}

// converse begins a conversation: it opens the protocol, tells the lookupd who
// we are and returns what that says of itself. hangUp ends it and closes conn,
// and so does the end of ctx; but hangUp must be called all the same.
func converse(ctx context.Context, conn net.Conn, self []byte, timeout time.Duration) (
	c *conversation, info protocol.PeerInfo, hangUp func(), err error,
) {
	c = &conversation{
		conn: conn, in: bufio.NewReader(conn), timeout: timeout,
		stirred: make(chan struct{}, 1), heard: make(chan struct{}),
	}
	c.out = bufio.NewWriterSize(sayer{c}, chunk)
	ctx, cancel := context.WithCancel(ctx)
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = conn.Close()
	})
	end := func() {
		cancel()
		<-closed
	}
	if info, err = c.introduce(self); err != nil {
		end()
		return nil, info, nil, fmt.Errorf("identifying: %w", err)
	}
	go c.hear()
	return c, info, func() {
		end()
		<-c.heard
	}, nil
}

// introduce is the first command and its reply, which alone is more than a word.
func (c *conversation) introduce(self []byte) (info protocol.PeerInfo, err error) {
	_ = c.conn.SetDeadline(time.Now().Add(c.timeout))
	defer func() { _ = c.conn.SetDeadline(time.Time{}) }()
	if _, err := c.conn.Write(protocol.AppendIdentify([]byte(protocol.MagicV1), self)); err != nil {
		return info, err
	}
	reply, err := readReply(c.in)
	if err != nil {
		return info, c.explain(err)
	}
	if err := refusal(reply); err != nil {
		return info, err
	}
	if err := json.Unmarshal(reply, &info); err != nil {
		return info, fmt.Errorf("lookupd replied %q: %w", reply, err)
	}
	return info, nil
}

// hear takes in replies until the connection is lost.
func (c *conversation) hear() {
	defer close(c.heard)
	for {
		reply, err := readReply(c.in)
		if err == nil {
			err = refusal(reply)
		} else {
			err = c.explain(err)
		}
		if err == nil {
			err = c.credit(reply)
		}
		if err != nil {
			c.mu.Lock()
			c.lost = err
			c.mu.Unlock()
			signal(c.stirred)
			return
		}
	}
}

// credit notes a reply.
func (c *conversation) credit(reply []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owed == 0 {
		return errors.New("lookupd replied without being asked")
	}
	if string(reply) == protocol.Resync {
		c.resync = true
	}
	if isTooMany(reply) {
		c.full = string(reply)
	}
	c.owed--
	if c.owed == 0 {
		_ = c.conn.SetReadDeadline(time.Time{})
		signal(c.stirred)
	} else if c.in.Buffered() == 0 {
		_ = c.conn.SetReadDeadline(time.Now().Add(c.timeout))
	}
	return nil
}

// owe notes that n commands are about to be sent. A lookupd has the timeout for
// each reply, from the one before: it may take long for very many commands, but
// not stop.
func (c *conversation) owe(n int) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owed == 0 {
		_ = c.conn.SetReadDeadline(time.Now().Add(c.timeout))
	}
	c.owed += n
}

// state tells whether all commands have been replied to, and why the
// conversation has ended, if it has.
func (c *conversation) state() (idle bool, lost error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owed == 0, c.lost
}

// wantsAll reports whether everything has to be said again, once for each time
// that the lookupd asks for it.
func (c *conversation) wantsAll() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	wants := c.resync
	c.resync = false
	return wants
}

// takesNoMore returns a reply that says so, once for those that were alike; else it is empty.
func (c *conversation) takesNoMore() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	reply := c.full
	c.full = ""
	return reply
}

// flush sends what has been written to out. A lookupd that refuses a command
// hangs up, which fails the write of those behind it: the refusal says more than
// that failure.
func (c *conversation) flush() error {
	unsent := c.out.Flush()
	if unsent == nil {
		return nil
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Second))
	<-c.heard
	if _, lost := c.state(); errors.As(lost, new(*refused)) {
		return lost
	}
	return unsent
}

// sayer is the conversation as what is below out.
type sayer struct{ *conversation }

func (s sayer) Write(commands []byte) (int, error) {
	s.owe(bytes.Count(commands, []byte{'\n'}))
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.timeout))
	return s.conn.Write(commands)
}

// refused is a reply that is an error.
type refused struct{ reply string }

func (r *refused) Error() string { return fmt.Sprintf("lookupd replied %q", r.reply) }

// refusal is the error that a reply is, if it is one: a lookupd ends the
// conversation with it.
func refusal(reply []byte) error {
	if bytes.HasPrefix(reply, []byte("E_")) && !isTooMany(reply) {
		return &refused{string(reply)}
	}
	return nil
}

// isTooMany reports whether a reply says that a lookupd takes no more registrations, after
// which the conversation goes on.
func isTooMany(reply []byte) bool { return bytes.HasPrefix(reply, []byte(protocol.ETooMany+" ")) }

// explain says what a failure to read means.
func (c *conversation) explain(err error) error {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("lookupd did not reply within %s", c.timeout)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("lookupd hung up: %w", err)
	}
	return fmt.Errorf("reading a reply: %w", err)
}

func readReply(in io.Reader) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return nil, err
	}
	// #nosec G115 -- the protocol's sizes and types are signed; what is negative is refused
	size := int32(binary.BigEndian.Uint32(header[:]))
	if size < 0 || size > maxReply {
		return nil, fmt.Errorf("size %d is not in 0-%d", size, maxReply)
	}
	reply := make([]byte, size)
	if _, err := io.ReadFull(in, reply); err != nil {
		return nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return reply, nil
}
