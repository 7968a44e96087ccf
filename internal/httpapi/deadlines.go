package httpapi

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// net/http moves a connection's deadlines half a dozen times for each request,
// and we do it twice more. Each move of a timer costs as much as all that a
// small publish has us do. But hardly any deadline is ever reached: so a timer
// that is set too early is left as it is, and only when it goes off is it looked
// whether somebody still wants it to.

// lazyListener accepts connections with lazy deadlines.
type lazyListener struct{ net.Listener }

func (l lazyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if _, sealed := c.(*tls.Conn); sealed {
		return c, nil // it takes a write that timed out for its end; and net/http wants to see it
	}
	lazy := &lazyConn{Conn: c}
	born := time.Now()
	lazy.read.init(born, c.SetReadDeadline)
	lazy.write.init(born, c.SetWriteDeadline)
	return lazy, nil
}

// lazyConn is a connection with lazy deadlines. They mean what they mean for
// every net.Conn.
type lazyConn struct {
	net.Conn
	read, write deadline
}

func (c *lazyConn) SetReadDeadline(t time.Time) error  { return c.read.set(t) }
func (c *lazyConn) SetWriteDeadline(t time.Time) error { return c.write.set(t) }
func (c *lazyConn) SetDeadline(t time.Time) error {
	return errors.Join(c.read.set(t), c.write.set(t))
}

func (c *lazyConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || c.read.meant() {
			return n, err
		}
	}
}

func (c *lazyConn) Write(p []byte) (written int, err error) {
	for {
		n, err := c.Conn.Write(p[written:])
		written += n
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.write.meant() {
			return written, err
		}
	}
}

// CloseWrite is what net/http ends a connection with whose client still sends:
// otherwise the answer would be lost to a reset.
func (c *lazyConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}

// deadline is one of a connection's two.
type deadline struct {
	install func(time.Time) error
	born    time.Time // of the connection; what is before it is meant to wake a reader at once

	mu        sync.Mutex
	wanted    time.Time // zero: none
	installed time.Time // never after wanted, if there is one; zero: none
}

func (d *deadline) init(born time.Time, install func(time.Time) error) {
	d.born, d.install = born, install
}

func (d *deadline) set(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted = t
	switch {
	case d.installed.IsZero():
		if t.IsZero() {
			return nil
		}
	case d.installed.Before(d.born): // it woke a reader, and is over
		if t.IsZero() {
			t = time.Now().Add(headerTimeout) // where the next is going to be, or before
		}
	case t.IsZero() || !t.Before(d.installed):
		return nil
	}
	d.installed = t
	return d.install(t)
}

// meant reports whether the deadline that has been reached is one that is
// wanted. If not, it sees to it that the one that is wanted is installed.
func (d *deadline) meant() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.wanted.IsZero() && !d.wanted.After(time.Now()) {
		return true
	}
	d.installed = d.wanted
	return d.install(d.wanted) != nil
}
