package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
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

// Whoever sends all of a large body before it looks for an answer finds why it was
// refused, not a reset.
func TestARefusalIsReadAfterALargeBody(t *testing.T) {
	r := NewRouter(nil, slog.New(slog.DiscardHandler))
	r.On("POST", "/unread", access.Stats, func(*http.Request, url.Values) (any, error) { return nil, BadRequest("NO") })
	r.OnRaw("POST", "/begun", access.Stats, func(req *http.Request) (any, error) {
		_, _ = io.ReadFull(req.Body, make([]byte, 1000))
		return nil, BadRequest("NO")
	})
	large := make([]byte, 16<<20) // more than sockets buffer
	length := fmt.Sprintf("Content-Length: %d\r\n\r\n", len(large))
	for _, c := range []struct {
		handler      http.Handler
		path, header string
	}{
		{r, "/unread", length},
		{r, "/begun", fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(large))},
		{TLSRequired(443), "/pub", length},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- Serve(ctx, l, c.handler, slog.New(slog.DiscardHandler)) }()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\n%s", c.path, c.header)
		if _, err := conn.Write(large); err != nil {
			t.Errorf("%s: %v", c.path, err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode < 400 || answer.ContentLength <= 0 {
			t.Errorf("%s: %+v, %v", c.path, answer, err)
		}
		conn.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// A stop lets requests under way finish, but waits a second and no longer for who
// reads nothing, sends nothing, or has it calculate.
func TestAStopIsNotHeldUp(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		read    bool // else nothing
		took    time.Duration
	}{
		"finishes":      {"GET /soon HTTP/1.1\r\nHost: a\r\n\r\n", true, 500 * time.Millisecond},
		"reads nothing": {"GET /long HTTP/1.1\r\nHost: a\r\n\r\n", false, time.Second},
		"sends nothing": {"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", false, time.Second},
		"calculates":    {"GET /profile HTTP/1.1\r\nHost: a\r\n\r\n", true, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				h := http.NewServeMux()
				h.HandleFunc("/soon", func(w http.ResponseWriter, _ *http.Request) {
					time.Sleep(500 * time.Millisecond)
					_, _ = io.WriteString(w, "OK")
				})
				h.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
					for err := error(nil); err == nil; {
						_, err = w.Write(make([]byte, 1<<10))
					}
				})
				h.HandleFunc("/body", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) })
				h.HandleFunc("/profile", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
				ended := make(chan error)
				go func() { ended <- Serve(ctx, l, h, slog.New(slog.DiscardHandler)) }()
				client, far := net.Pipe()
				defer client.Close()
				l.conns <- far
				if _, err := io.WriteString(client, c.request); err != nil {
					t.Fatal(err)
				}
				if c.read {
					go func() { _, _ = io.Copy(io.Discard, client) }()
				}
				synctest.Wait()
				begun := time.Now()
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				// net/http looks at its connections at intervals of up to half a second.
				if took := time.Since(begun); took < c.took || took >= c.took+500*time.Millisecond {
					t.Errorf("the stop took %s, want %s", took, c.took)
				}
			})
		})
	}
}
