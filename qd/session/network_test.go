package session_test

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// listener hands out connections that are in memory, so that a whole server
// can run under the fake clock of a synctest bubble.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return address("memory") }

// dial returns the client's end of a new connection. Each direction holds room
// bytes, as the buffers of two sockets would.
func (l *listener) dial(name string, room int) *conn {
	up, down := newStream(room), newStream(room)
	l.conns <- &conn{in: up, out: down, peer: address(name)}
	return &conn{in: down, out: up, peer: address("server")}
}

type address string

func (a address) Network() string { return "memory" }
func (a address) String() string  { return string(a) }

// conn is one end of a connection. Unlike net.Pipe's it has buffers, so that
// both ends can write at once.
type conn struct {
	in, out *stream
	peer    address
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

// Close ends both directions: the other end reads what was sent, then io.EOF.
func (c *conn) Close() error {
	c.out.end()
	c.in.abandon()
	return nil
}

func (c *conn) CloseWrite() error {
	c.out.end()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return address("memory") }
func (c *conn) RemoteAddr() net.Addr { return c.peer }

func (c *conn) SetDeadline(t time.Time) error {
	c.in.reads.set(c.in, t)
	c.out.writes.set(c.out, t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.reads.set(c.in, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.writes.set(c.out, t)
	return nil
}

// stream is one direction of a connection.
type stream struct {
	mu        sync.Mutex // guards all; a waiter of changed gives it up
	changed   *sync.Cond
	buf       []byte
	room      int
	ended     bool // nothing more is written
	abandoned bool // nothing more is read
	reads     deadline
	writes    deadline
}

func newStream(room int) *stream {
	s := &stream{room: room}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// deadline belongs to a stream and is guarded by its lock.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(s *stream, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, s.changed.Broadcast)
	}
	s.changed.Broadcast()
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.abandoned:
			return 0, net.ErrClosed
		case s.reads.passed():
			return 0, os.ErrDeadlineExceeded
		case len(s.buf) > 0:
			n := copy(b, s.buf)
			s.buf = append(s.buf[:0], s.buf[n:]...)
			s.changed.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.ended:
			return n, net.ErrClosed
		case s.abandoned:
			return n, io.ErrClosedPipe
		case s.writes.passed():
			return n, os.ErrDeadlineExceeded
		}
		fits := min(len(b)-n, s.room-len(s.buf))
		s.buf = append(s.buf, b[n:n+fits]...)
		if n += fits; fits > 0 {
			s.changed.Broadcast()
		}
		if n == len(b) {
			return n, nil
		}
		s.changed.Wait()
	}
}

func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.changed.Broadcast()
}

func (s *stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	s.buf = nil
	s.changed.Broadcast()
}
