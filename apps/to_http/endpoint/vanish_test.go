package endpoint

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A server that has vanished without a word, behind a balancer that would lead to another
// one, costs a few requests: HTTP/2 goes on with a connection whose requests time out.
func TestServerVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 {
				w.WriteHeader(http.StatusHTTPVersionNotSupported)
			}
		}))
		s.Listener.Close()
		s.Listener = &n
		s.EnableHTTP2, s.Config.ErrorLog = true, log.New(io.Discard, "", 0)
		n.accepted, n.closed = make(chan net.Conn), make(chan struct{})
		s.StartTLS()
		defer s.Close()

		c := usual("POST")
		c.TLS = &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
		c.Dial = n.dial
		e := open(t, "https://example.com/#connect-timeout=2s&request-timeout=5s", c)
		defer e.Close()
		want(t, e.Send(t.Context(), nil, []byte("x")), Taken, "")
		n.lost.Store(n.dialed.Load())
		began := time.Now()
		for e.Send(t.Context(), nil, []byte("x")).Outcome != Taken {
			if time.Since(began) > time.Minute {
				t.Fatal("it is still sent requests")
			}
		}
		if n := n.dialed.Load(); n != 2 {
			t.Errorf("%d connections were made", n)
		}
	})
}

// network is a listener whose first connections get lost: nothing arrives on them any more.
type network struct {
	accepted     chan net.Conn
	closing      sync.Once
	closed       chan struct{}
	dialed, lost atomic.Int64
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.accepted:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.closing.Do(func() { close(n.closed) })
	return nil
}

func (n *network) Addr() net.Addr { return &net.TCPAddr{} }

func (n *network) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	n.accepted <- theirs
	return &connection{Conn: ours, network: n, number: n.dialed.Add(1)}, nil
}

type connection struct {
	net.Conn
	network *network
	number  int64
}

func (c *connection) Write(b []byte) (int, error) {
	if c.number <= c.network.lost.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// One that switches to another protocol, and then says nothing, holds nobody up.
func TestUnaskedSwitch(t *testing.T) {
	held := make(chan struct{})
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(io.Discard, c) // until it is hung up
		c.Close()
		close(held)
	})
	want(t, open(t, address, usual("POST")).Send(t.Context(), nil, []byte("x")), Failed, "answered 101")
	<-held
}
