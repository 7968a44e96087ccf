package millrace

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeNet is a network in memory, for synctest bubbles. Its connections are
// buffered, half-closable, and know deadlines.
type pipeNet struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
	dials     map[string]int
}

func newPipeNet() *pipeNet {
	return &pipeNet{listeners: map[string]*pipeListener{}, dials: map[string]int{}}
}

func (n *pipeNet) listen(address string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &pipeListener{n, address, make(chan net.Conn), make(chan struct{})}
	n.listeners[address] = l
	return l
}

func (n *pipeNet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	n.dials[address]++
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	near, far := newPipe(address)
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *pipeNet) dialled(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[address]
}

type pipeListener struct {
	net     *pipeNet
	address string
	conns   chan net.Conn
	closed  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.net.listeners[l.address] == l {
		delete(l.net.listeners, l.address)
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr(l.address) }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// stream is one direction of a connection.
type stream struct {
	mu              sync.Mutex
	changed         sync.Cond
	buf             []byte
	ended, cut      bool // by its writer; by either end
	readBy, writeBy time.Time
	readAl, writeAl *time.Timer
	limit           int
	readEnd         bool // its reader closed it
}

const streamLimit = 256 << 10

func newPipe(address string) (near, far *pipeConn) {
	a, b := &stream{limit: streamLimit}, &stream{limit: streamLimit}
	a.changed.L, b.changed.L = &a.mu, &b.mu
	return &pipeConn{a, b, pipeAddr(address)}, &pipeConn{b, a, pipeAddr("client")}
}

type pipeConn struct {
	in, out *stream
	remote  pipeAddr
}

func expired(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (c *pipeConn) Read(p []byte) (int, error) {
	s := c.in
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readEnd:
			return 0, net.ErrClosed
		case len(s.buf) > 0:
			n := copy(p, s.buf)
			s.buf = s.buf[n:]
			s.changed.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		case expired(s.readBy):
			return 0, os.ErrDeadlineExceeded
		}
		s.changed.Wait()
	}
}

func (c *pipeConn) Write(p []byte) (n int, err error) {
	s := c.out
	s.mu.Lock()
	defer s.mu.Unlock()
	for n < len(p) {
		switch room := s.limit - len(s.buf); {
		case s.ended:
			return n, net.ErrClosed
		case s.cut:
			return n, errors.New("broken pipe")
		case expired(s.writeBy):
			return n, os.ErrDeadlineExceeded
		case room > 0:
			k := min(room, len(p)-n)
			s.buf = append(s.buf, p[n:n+k]...)
			n += k
			s.changed.Broadcast()
		default:
			s.changed.Wait()
		}
	}
	return n, nil
}

func (c *pipeConn) CloseWrite() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.ended = true
	c.out.changed.Broadcast()
	return nil
}

func (c *pipeConn) Close() error {
	_ = c.CloseWrite()
	_ = c.SetDeadline(time.Time{})
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.cut, c.in.readEnd = true, true
	c.in.changed.Broadcast()
	return nil
}

func (c *pipeConn) SetReadDeadline(t time.Time) error {
	return c.in.setDeadline(&c.in.readBy, &c.in.readAl, t)
}

func (c *pipeConn) SetWriteDeadline(t time.Time) error {
	return c.out.setDeadline(&c.out.writeBy, &c.out.writeAl, t)
}

func (s *stream) setDeadline(by *time.Time, alarm **time.Timer, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *alarm != nil {
		(*alarm).Stop()
	}
	*by, *alarm = t, nil
	if wait := time.Until(t); wait > 0 { // what has passed already needs no alarm
		*alarm = time.AfterFunc(wait, s.changed.Broadcast)
	}
	s.changed.Broadcast()
	return nil
}

func (c *pipeConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *pipeConn) LocalAddr() net.Addr  { return pipeAddr("client") }
func (c *pipeConn) RemoteAddr() net.Addr { return c.remote }
