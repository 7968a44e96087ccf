package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/internal/secure/securetest"
)

// doorway is a server that answers OK, and what it logs.
type doorway struct {
	*pipes
	log bytes.Buffer
}

// serveSome serves so many connections until stop is called.
func serveSome(t *testing.T, connections *limit.Connections) (s *doorway, stop func()) {
	s = &doorway{pipes: newPipes()}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "OK")
	})
	go func() { ended <- ServeSome(ctx, s, h, connections, slog.New(slog.NewTextHandler(&s.log, nil))) }()
	return s, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func (s *doorway) dial() net.Conn {
	near, far := net.Pipe()
	s.conns <- far
	return near
}

// isOpen reports whether the other side has not closed the connection.
func isOpen(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// However many keep their connections for another request, those that are idle for longest
// go; who asks now and then is not among them.
func TestIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := serveSome(t, limit.NewConnections(0, 0))
		const more = 50
		var idle []net.Conn
		for range fewConnections + maxIdle + more {
			c := s.dial()
			ask(t, c, "/").Body.Close()
			synctest.Wait() // it is idle only after its answer has been read
			idle = append(idle, c)
			if len(idle) == fewConnections+200 { // the hundredth that is noted asks again
				ask(t, idle[fewConnections+100], "/").Body.Close()
				synctest.Wait()
			}
		}
		synctest.Wait()
		closed := 0
		for i, c := range idle {
			if isOpen(c) {
				continue
			}
			closed++
			if i < fewConnections-1 || i > fewConnections+more+1 || i == fewConnections+100 {
				t.Errorf("connection %d was closed", i)
			}
		}
		if closed < more-2 || closed > more+2 {
			t.Errorf("%d were closed, want about %d", closed, more)
		}
		if answer := ask(t, s.dial(), "/"); answer.StatusCode != 200 {
			t.Errorf("a newcomer is answered %d", answer.StatusCode)
		}
		stop()
		if n := strings.Count(s.log.String(), "kept for another request"); n != 1 {
			t.Errorf("it was logged %d times:\n%s", n, s.log.String())
		}
	})
}

// One too many takes the place of one that asks for nothing; if all are busy it is told so.
func TestTooManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connections := limit.NewConnections(3, 0)
		s, stop := serveSome(t, connections)
		first, second := s.dial(), s.dial()
		ask(t, first, "/").Body.Close()
		ask(t, second, "/").Body.Close()
		silent := s.dial()
		synctest.Wait()
		fourth := s.dial()
		if answer := ask(t, fourth, "/"); answer.StatusCode != 200 {
			t.Errorf("a fourth is answered %d", answer.StatusCode)
		}
		for _, c := range []net.Conn{silent, first, second, fourth} {
			_ = c.Close()
		}
		synctest.Wait()
		if n := connections.Counts().Now; n != 0 {
			t.Fatalf("%d connections are counted of none", n)
		}
		for range 3 { // busy: their bodies do not come
			c := s.dial()
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
		}
		synctest.Wait()
		answer, err := http.ReadResponse(bufio.NewReader(s.dial()), nil) // a pipe has no room for a request beside it
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		want := `{"message":"TOO_MANY_CONNECTIONS: there are 3 already (max-connections)"}`
		if answer.StatusCode != 503 || string(body) != want || answer.Header.Get("Retry-After") != "1" || !answer.Close {
			t.Errorf("%d %s %v", answer.StatusCode, body, answer.Header)
		}
		if got, want := connections.Counts(), (limit.Counts{Now: 3, RefusedFull: 1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		stop()
		if n := connections.Counts().Now; n != 0 {
			t.Errorf("%d connections are counted after the end", n)
		}
	})
}

// Over TLS too one is told, on a real socket; and one that shakes no hands counts.
func TestTooManyConnectionsOverTLS(t *testing.T) {
	ca, err := securetest.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Pair("localhost")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{pair}})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	connections := limit.NewConnections(0, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "OK") })
	go func() { ended <- ServeSome(ctx, l, h, connections, slog.New(slog.DiscardHandler)) }()
	silent, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for connections.Counts().Now == 0 {
		time.Sleep(time.Millisecond) // until it was accepted, which nothing else tells
	}
	// The answer may come before the request is out, which Go's client does not take.
	get := func() (int, string) {
		c, err := tls.Dial("tcp", plain.Addr().String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(body)
	}
	if status, body := get(); status != 503 || !strings.Contains(body, "there are 1 from 127.0.0.1 already (max-connections-per-address)") {
		t.Errorf("%d %s", status, body)
	}
	_ = silent.Close()
	for connections.Counts().Now > 0 {
		time.Sleep(time.Millisecond) // until it is seen to be gone
	}
	if status, body := get(); status != 200 || body != "OK" {
		t.Errorf("when there is room: %d %s", status, body)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// When to try again is told in whole seconds, none too few.
func TestRetryAfter(t *testing.T) {
	for after, want := range map[time.Duration]string{
		0: "", time.Millisecond: "1", time.Second: "1", time.Second + 1: "2", 90 * time.Second: "90",
	} {
		w := httpWriter{header: http.Header{}}
		r := NewRouter(nil, slog.New(slog.DiscardHandler))
		req, _ := http.NewRequest("GET", "/", nil)
		r.refuse(&w, req, &Error{Status: 429, Code: "SLOW", RetryAfter: after})
		if got := w.header.Get("Retry-After"); got != want || w.status != 429 {
			t.Errorf("after %v: Retry-After %q, want %q", after, got, want)
		}
	}
}

type httpWriter struct {
	header http.Header
	status int
}

func (w *httpWriter) Header() http.Header         { return w.header }
func (w *httpWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *httpWriter) WriteHeader(status int)      { w.status = status }
