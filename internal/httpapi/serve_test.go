package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.done) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close()
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// No handler runs once Serve has returned, however long it takes: what it uses may
// be gone then.
func TestServeOutlivesItsHandlers(t *testing.T) {
	for name, end := range map[string]func(stop func(), l *pipes){
		"its context ends":   func(stop func(), _ *pipes) { stop() },
		"its listener fails": func(_ func(), l *pipes) { l.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				answered := false
				h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					time.Sleep(time.Minute)
					answered = true
				})
				ended := make(chan error)
				go func() { ended <- Serve(ctx, l, h, slog.New(slog.DiscardHandler)) }()
				busy, far := net.Pipe()
				defer busy.Close()
				l.conns <- far
				if _, err := io.WriteString(busy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				end(stop, l)
				err := <-ended
				if !answered {
					t.Errorf("returned %v, and a handler runs on", err)
				}
			})
		})
	}
}
