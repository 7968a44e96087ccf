package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
)

// pipes is a listener in memory, so that HTTP runs under a fake clock.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
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
	close(p.done)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// withServer calls test with a connection to a server, in a bubble.
func withServer(t *testing.T, test func(t *testing.T, d *daemon, conn net.Conn)) {
	withDialer(t, nil, func(t *testing.T, d *daemon, dial func() net.Conn) { test(t, d, dial()) })
}

// withDialer calls test with a way to connect to a server, in a bubble. The
// connections are closed afterwards.
func withDialer(t *testing.T, adjust func(*broker.Settings, *api.Config), test func(t *testing.T, d *daemon, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, adjust)
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- httpapi.Serve(ctx, l, d.handler, d.config.Log) }()
		var open []net.Conn
		test(t, d, func() net.Conn {
			near, far := net.Pipe()
			l.conns <- far
			open = append(open, near)
			return near
		})
		for _, c := range open {
			c.Close()
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func write(t *testing.T, conn net.Conn, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(conn, format, args...); err != nil {
		t.Fatal(err)
	}
}

func TestAPublisherThatStopsHalfWay(t *testing.T) {
	for _, path := range []string{"/pub?topic=t", "/mpub?topic=t"} {
		withServer(t, func(t *testing.T, d *daemon, conn net.Conn) {
			began := time.Now()
			write(t, conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf\n", path)
			answer, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < 30*time.Second || took > 2*time.Minute {
				t.Errorf("%s: let go after %s", path, took)
			}
			if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
				t.Errorf("%s: answered %.40q", path, answer)
			}
			d.expectTopics()
		})
	}
}

func TestAClientThatDoesNotRead(t *testing.T) {
	withServer(t, func(t *testing.T, d *daemon, conn net.Conn) {
		write(t, conn, "GET /stats HTTP/1.1\r\nHost: a\r\n\r\n")
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if _, err := conn.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the connection is still open after three minutes: %v", err)
		}
	})
}

func TestRequestsOnOneConnectionAreTimedEach(t *testing.T) {
	withServer(t, func(t *testing.T, d *daemon, conn net.Conn) {
		for range 5 {
			write(t, conn, "POST /pub?topic=t HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
			time.Sleep(40 * time.Second)
			write(t, conn, "hello")
			var answer [len("HTTP/1.1 200 OK\r\n")]byte
			if _, err := io.ReadFull(conn, answer[:]); err != nil || !strings.HasPrefix(string(answer[:]), "HTTP/1.1 200 ") {
				t.Fatalf("%q, %v", answer, err)
			}
			rest := make([]byte, 1000)
			for read := ""; !strings.HasSuffix(read, "\r\n\r\nOK"); {
				n, err := conn.Read(rest)
				if err != nil {
					t.Fatal(err)
				}
				read += string(rest[:n])
			}
			time.Sleep(40 * time.Second)
		}
		if got := d.drain("t"); len(got) != 5 {
			t.Errorf("got %q", got)
		}
	})
}

// Scrapers that do not read keep nobody from scraping: what makes the answer, and
// has bounds of its own, is done before they read it.
func TestScrapesThatNobodyReads(t *testing.T) {
	var inside atomic.Int32
	withDialer(t, func(_ *broker.Settings, c *api.Config) {
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			inside.Add(1)
			defer inside.Add(-1)
			_, _ = w.Write(make([]byte, 100_000))
		})
	}, func(t *testing.T, d *daemon, dial func() net.Conn) {
		for range 20 {
			write(t, dial(), "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
		}
		synctest.Wait()
		if n := inside.Load(); n != 0 {
			t.Errorf("%d answers are still being made", n)
		}
		if w := d.send("GET", "/metrics", nil); w.Code != http.StatusOK || w.Body.Len() != 100_000 {
			t.Errorf("%d with %d bytes", w.Code, w.Body.Len())
		}
	})
}
