package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
)

// served calls test in a bubble with a listener that r is served on, as the daemons
// do it.
func served(t *testing.T, r *Router, test func(t *testing.T, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- Serve(ctx, l, Patient(r, 10*time.Second, 30*time.Second), slog.New(slog.DiscardHandler))
		}()
		test(t, func() net.Conn {
			near, far := net.Pipe()
			l.conns <- far
			t.Cleanup(func() { near.Close() })
			return near
		})
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// ask sends a request and reads the head of its answer.
func ask(t *testing.T, c net.Conn, path string) *http.Response {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// long writes so many KiB.
func long(s *Stream, kib int) error {
	for range kib {
		_, _ = s.WriteString(strings.Repeat("x", 1023) + "\n")
	}
	return nil
}

// newStreams returns a router of streams and what it logs.
func newStreams() (*Router, *bytes.Buffer) {
	var log bytes.Buffer
	r := NewRouter(nil, slog.New(slog.NewTextHandler(&log, nil)))
	r.OnStream("GET", "/small", access.Stats, func(s *Stream, _ Arguments) error { return long(s, 4) })
	r.OnStream("GET", "/large", access.Stats, func(s *Stream, _ Arguments) error { return long(s, 1000) })
	r.OnStream("GET", "/refused", access.Stats, func(s *Stream, _ Arguments) error {
		_ = long(s, 4)
		return BadRequest("NO")
	})
	r.OnStream("GET", "/failed", access.Stats, func(s *Stream, _ Arguments) error {
		_ = long(s, 4)
		return errors.New("out of order")
	})
	r.OnStream("GET", "/late", access.Stats, func(s *Stream, _ Arguments) error {
		_ = long(s, 100)
		return errors.New("out of order")
	})
	r.OnStream("GET", "/panic", access.Stats, func(s *Stream, _ Arguments) error {
		_ = long(s, 100)
		panic("out of order")
	})
	r.OnStream("GET", "/heavy", access.Stats, func(s *Stream, _ Arguments) error {
		_ = long(s, 100)
		return s.Hold(1 << 40)
	})
	return r, &log
}

func TestStreams(t *testing.T) {
	r, log := newStreams()
	served(t, r, func(t *testing.T, dial func() net.Conn) {
		for _, c := range []struct {
			path    string
			status  int
			length  int64 // -1: chunks
			bytes   int
			isCut   bool
			message string // in the log
		}{
			{"/small", 200, 4096, 4096, false, ""},
			{"/large", 200, -1, 1000 << 10, false, ""},
			{"/small?a=1;2", 400, 29, 29, false, ""},
			{"/refused", 400, 16, 16, false, ""},
			{"/failed", 500, 28, 28, false, "out of order"},
			{"/late", 200, -1, 96 << 10, true, "out of order"},
			{"/panic", 200, -1, 96 << 10, true, "stream_test.go"}, // where it was
			{"/heavy", 200, -1, 96 << 10, true, "too many ask at once"},
		} {
			log.Reset()
			answer := ask(t, dial(), c.path)
			body, err := io.ReadAll(answer.Body)
			if cut := errors.Is(err, io.ErrUnexpectedEOF); cut != c.isCut || err != nil && !cut {
				t.Errorf("%s ends with %v", c.path, err)
			}
			if answer.StatusCode != c.status || answer.ContentLength != c.length || len(body) != c.bytes {
				t.Errorf("%s: %d, length %d, %d bytes: %.60s", c.path, answer.StatusCode, answer.ContentLength, len(body), body)
			}
			if h := answer.Header; h.Get("X-NSQ-Content-Type") != ContentType || h.Get("Content-Type") != "application/json; charset=utf-8" {
				t.Errorf("%s: %v", c.path, h)
			}
			if !strings.Contains(log.String(), c.message) || (c.message == "") != (log.Len() == 0) {
				t.Errorf("%s logs %q", c.path, log)
			}
		}
	})
}

// Who reads on, however slowly, gets all of it. Who has stopped is cut off after half a
// minute, and a hundred of those are a line.
func TestWhoReadsGetsItAll(t *testing.T) {
	r, log := newStreams()
	served(t, r, func(t *testing.T, dial func() net.Conn) {
		began := time.Now()
		var clients sync.WaitGroup
		answer := ask(t, dial(), "/large")
		for range 100 {
			stopped := ask(t, dial(), "/large")
			clients.Go(func() {
				time.Sleep(chunkTimeout + time.Second)
				if n, err := io.Copy(io.Discard, stopped.Body); err == nil {
					t.Errorf("who stopped got all %d bytes", n)
				}
			})
		}
		n := 0
		for part := make([]byte, 16<<10); ; time.Sleep(10 * time.Second) {
			m, err := io.ReadFull(answer.Body, part)
			n += m
			if err != nil {
				break
			}
		}
		if took := time.Since(began); n != 1000<<10 || took < 10*time.Minute {
			t.Errorf("%d bytes were read, in %s", n, took)
		}
		clients.Wait()
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "did not read its answer in time") {
			t.Errorf("the log has\n%s", got)
		}
	})
}

// Clients that do not read have a bound together. Small answers are none of it.
func TestUnreadStreams(t *testing.T) {
	r, _ := newStreams()
	r.heavy = newHeavy(4 * streamBytes)
	served(t, r, func(t *testing.T, dial func() net.Conn) {
		for range 2 { // half of it, which is all for one address
			ask(t, dial(), "/large")
		}
		for path, status := range map[string]int{"/large": 503, "/small": 200} {
			answer := ask(t, dial(), path)
			if answer.StatusCode != status {
				t.Errorf("%s is answered %d", path, answer.StatusCode)
			}
			_, _ = io.Copy(io.Discard, answer.Body)
		}
		time.Sleep(chunkTimeout + time.Second)
		answer := ask(t, dial(), "/large")
		if n, err := io.Copy(io.Discard, answer.Body); n != 1000<<10 || err != nil {
			t.Errorf("later %d, %v", n, err)
		}
	})
}

// Before HTTP/1.1 an answer may end with its connection. So one that is cut off
// is reset.
func TestACutIsSeenBeforeHTTP11(t *testing.T) {
	dial := overTCP(t)
	for path, whole := range map[string]bool{"/large": true, "/late": false} {
		c := dial()
		_, _ = fmt.Fprintf(c, "GET %s HTTP/1.0\r\n\r\n", path)
		if n, err := io.Copy(io.Discard, c); (err == nil) != whole {
			t.Errorf("%s: %d bytes, %v", path, n, err)
		}
	}
}

// A client may close its half of the connection when it has asked, as nc -N does. It
// is answered as anybody.
func TestAClosedHalf(t *testing.T) {
	dial := overTCP(t)
	for _, path := range []string{"/small", "/large", "/made"} {
		for range 5 { // what is wrong may be so only now and then
			c := dial().(*net.TCPConn)
			_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(path, err)
			}
			if n, err := io.Copy(io.Discard, answer.Body); answer.StatusCode != 200 || err != nil {
				t.Fatalf("%s: %d, %d bytes, %v", path, answer.StatusCode, n, err)
			}
		}
	}
}

// overTCP serves newStreams' routes until the test ends, and one that is made as a
// whole when its client has closed its half.
func overTCP(t *testing.T) (dial func() net.Conn) {
	t.Helper()
	r, _ := newStreams()
	r.OnHeavy("GET", "/made", access.Stats, func(*http.Request, url.Values) (any, error) { return "x", nil })
	h := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/made" {
			<-req.Context().Done()
		}
		r.ServeHTTP(w, req)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- Serve(ctx, l, h, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// policy is one of a test: it refuses what is named, and notes what it was asked.
type policy struct {
	refuse string
	asked  []string
	who    access.Who
}

func (p *policy) Allow(_ context.Context, who access.Who, action access.Action, topic, channel string) error {
	p.who = who
	p.asked = append(p.asked, fmt.Sprintf("%s %q %q", action, topic, channel))
	if topic == p.refuse {
		return errors.New("ask the\nowner of \"t\"")
	}
	return nil
}

func TestThePolicyIsAsked(t *testing.T) {
	p := &policy{refuse: "t"}
	r := NewRouter(p, slog.New(slog.DiscardHandler))
	r.Scope(OfTopic, "/pub")
	r.Scope(OfChannel, "/channel")
	r.Plain("GET", "/ping", access.Free, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK")) })
	for _, path := range []string{"/pub", "/channel", "/daemon"} {
		r.OnRaw("POST", path, access.Publish, func(*http.Request) (any, error) { return "OK", nil })
	}
	get := func(method, path, want string, status int, asked string) {
		t.Helper()
		p.asked = nil
		req := httptest.NewRequest(method, path, nil)
		req.Header.Set("Authorization", "bearer  abc ")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if got := strings.Join(p.asked, ", "); w.Code != status || w.Body.String() != want || got != asked {
			t.Errorf("%s %s: %d %s, asked %s", method, path, w.Code, w.Body, got)
		}
	}
	get("GET", "/ping", "OK", 200, "")
	get("GET", "/nowhere?topic=t", `{"message":"NOT_FOUND"}`, 404, "")
	get("POST", "/pub?topic=u", "OK", 200, `publish "u" ""`)
	get("POST", "/pub?topic=u&channel=c", "OK", 200, `publish "u" ""`)
	get("POST", "/channel?topic=u&channel=c", "OK", 200, `publish "u" "c"`)
	get("POST", "/daemon?topic=t&channel=c", "OK", 200, `publish "" ""`)
	get("POST", "/channel?topic=%74&topic=u&channel=c", `{"message":"FORBIDDEN: ask the owner of \"t\""}`, 403, `publish "t" "c"`)
	get("POST", "/pub?topic=t;", `{"message":"INVALID_REQUEST"}`, 400, "")
	if want := (access.Who{Remote: "192.0.2.1:1234", Secret: "abc"}); p.who != want {
		t.Errorf("asked about %+v", p.who)
	}
	for header, want := range map[string]string{"": "", "Bearer": "", "Bearer ": "", "Basic abc": "", "Bearer a b": "a b"} {
		if got := bearer(header); got != want {
			t.Errorf("%q is the secret %q", header, got)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a route without an action is taken")
		}
	}()
	r.Plain("GET", "/new", 0, nil)
}

func TestObserver(t *testing.T) {
	r, _ := newStreams()
	r.On("GET", "/quiet/:x", access.Stats, func(*http.Request, url.Values) (any, error) { return nil, nil })
	seen := make(chan string, 1)
	r.Observe(func(path string, status int, took time.Duration) {
		seen <- fmt.Sprintf("%s %d %v", path, status, took >= 0)
	})
	served(t, r, func(t *testing.T, dial func() net.Conn) {
		seen = make(chan string, 1)
		for path, want := range map[string]string{
			"/small": "/small 200 true", "/large": "/large 200 true", "/refused": "/refused 400 true", "/late": "/late 0 true",
			"/quiet/a": "/quiet/:x 200 true", "/nowhere": " 404 true",
		} {
			answer := ask(t, dial(), path)
			_, _ = io.Copy(io.Discard, answer.Body)
			if got := <-seen; got != want {
				t.Errorf("%s is seen as %s", path, got)
			}
		}
	})
}
