package peers

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// maxReply is the longest reply in bytes that is taken from a lookupd.
const maxReply = 64 << 10

// conversation is protocol V1 on a connection, as the daemon speaks it:
// commands go out, and each is replied to in turn. A goroutine reads all the
// while, so that a connection lost is noticed when it is lost.
type conversation struct {
	conn    net.Conn
	timeout time.Duration
	replies chan []byte // closed when the connection is lost
	lost    error       // why; set before replies is closed
	last    []byte      // the reply taken last
}

// converse begins a conversation. hangUp ends it and closes conn; so does the
// end of ctx, but hangUp must be called all the same.
func converse(ctx context.Context, conn net.Conn, timeout time.Duration) (c *conversation, hangUp func()) {
	// The replies to a whole batch fit, so that the reader never waits for one
	// who is writing that batch.
	c = &conversation{conn: conn, timeout: timeout, replies: make(chan []byte, batch)}
	ctx, cancel := context.WithCancel(ctx)
	closed, heard := make(chan struct{}), make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = conn.Close()
	})
	go func() {
		defer close(heard)
		c.hear(ctx.Done())
	}()
	return c, func() {
		cancel()
		<-closed
		<-heard
	}
}

// hear takes in replies until the connection is lost or done is closed.
func (c *conversation) hear(done <-chan struct{}) {
	defer close(c.replies)
	in := bufio.NewReader(c.conn)
	for {
		reply, err := readReply(in)
		if err != nil {
			c.lost = fmt.Errorf("reading a reply: %w", err)
			return
		}
		select {
		case c.replies <- reply:
		case <-done:
			c.lost = net.ErrClosed
			return
		}
	}
}

func readReply(in io.Reader) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return nil, err
	}
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

// introduce opens the protocol and tells the lookupd who we are. It returns
// what the lookupd says of itself.
func (c *conversation) introduce(self protocol.PeerInfo) (info protocol.PeerInfo, err error) {
	body, err := json.Marshal(self)
	if err != nil {
		return info, fmt.Errorf("describing ourselves: %w", err)
	}
	if err := c.ask(protocol.AppendIdentify([]byte(protocol.MagicV1), body), 1); err != nil {
		return info, fmt.Errorf("identifying: %w", err)
	}
	if err := json.Unmarshal(c.last, &info); err != nil {
		return info, fmt.Errorf("identifying: lookupd replied %q: %w", c.last, err)
	}
	return info, nil
}

// ask sends commands and takes in their n replies. It fails at the first that
// is an error: a lookupd ends the conversation with it.
func (c *conversation) ask(commands []byte, n int) error {
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.timeout))
	// A lookupd that refuses a command hangs up, which fails the write of those
	// behind it. The refusal says more than that failure.
	_, unsent := c.conn.Write(commands)
	for range n {
		select {
		case reply, open := <-c.replies:
			if !open {
				return cmp.Or(unsent, c.lost)
			}
			if bytes.HasPrefix(reply, []byte("E_")) {
				return fmt.Errorf("lookupd replied %q", reply)
			}
			c.last = reply
		case <-timer.C:
			return cmp.Or(unsent, fmt.Errorf("lookupd did not reply within %s", c.timeout))
		}
	}
	return unsent
}
