package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
)

// slow is a client that does not read until its deadline.
type slow struct {
	*httptest.ResponseRecorder
	patience time.Duration
}

func (s slow) Write([]byte) (int, error) {
	time.Sleep(s.patience)
	return 0, os.ErrDeadlineExceeded
}

// Answers that nobody reads have a bound together, and the log a line of them.
// Whoever they are for, others are answered.
func TestUnreadAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := NewRouter(nil, slog.New(slog.NewTextHandler(&log, nil)))
		r.heavy = newHeavy(1000)
		r.OnHeavy("GET", "/large", access.Stats, func(*http.Request, url.Values) (any, error) { return make([]byte, 200), nil })
		r.PlainHeavy("GET", "/plain", access.Stats, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Kind", "plain")
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write(make([]byte, 150))
			_, _ = w.Write(make([]byte, 50))
		}))
		get := func(path, from string) *httptest.ResponseRecorder {
			req := httptest.NewRequest("GET", path, nil)
			req.RemoteAddr = from
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			return w
		}
		answered := func(from string) {
			t.Helper()
			if w := get("/large", from); w.Code != http.StatusOK || w.Body.Len() != 200 {
				t.Errorf("%s is answered %d with %d bytes", from, w.Code, w.Body.Len())
			}
			if w := get("/plain", from); w.Code != http.StatusAccepted || w.Body.Len() != 200 || w.Header().Get("X-Kind") != "plain" {
				t.Errorf("%s is answered %d with %d bytes, %v", from, w.Code, w.Body.Len(), w.Header())
			}
		}
		var clients sync.WaitGroup
		for i := range 8 {
			req := httptest.NewRequest("GET", []string{"/large", "/plain"}[i%2], nil)
			clients.Go(func() { r.ServeHTTP(slow{httptest.NewRecorder(), time.Minute}, req) })
		}
		synctest.Wait()
		for _, path := range []string{"/large", "/plain", "/large"} {
			if w := get(path, "192.0.2.1:5"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"BUSY: `) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		answered("192.0.2.2:5")
		clients.Wait()
		answered("192.0.2.1:5")
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("the log has %d lines:\n%s", n, &log)
		}
	})
}

// An answer larger than all that may wait is not refused for ever: it is sent when
// there is no other.
func TestAnAnswerLargerThanTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRouter(nil, slog.New(slog.DiscardHandler))
		r.heavy = newHeavy(1000)
		r.OnHeavy("GET", "/large", access.Stats, func(*http.Request, url.Values) (any, error) { return make([]byte, 1001), nil })
		get := func() int {
			w := httptest.NewRecorder()
			r.ServeHTTP(w, httptest.NewRequest("GET", "/large", nil))
			return w.Code
		}
		var client sync.WaitGroup
		client.Go(func() {
			r.ServeHTTP(slow{httptest.NewRecorder(), time.Minute}, httptest.NewRequest("GET", "/large", nil))
		})
		synctest.Wait()
		if code := get(); code != http.StatusServiceUnavailable {
			t.Errorf("a second one is answered %d", code)
		}
		client.Wait()
		if code := get(); code != http.StatusOK {
			t.Errorf("the only one is answered %d", code)
		}
	})
}

// Only so many are made at once, and one whose client has gone is not made.
func TestHeavyAnswersAreMadeInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRouter(nil, slog.New(slog.DiscardHandler))
		var mu sync.Mutex
		now, most, made := 0, 0, 0
		count := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			now += n
			most = max(most, now)
			made += max(n, 0)
		}
		r.OnHeavy("GET", "/large", access.Stats, func(_ *http.Request, q url.Values) (any, error) {
			count(1)
			defer count(-1)
			time.Sleep(time.Second)
			if q.Has("fail") {
				return nil, errors.New("no")
			}
			return "x", nil
		})
		gone, leave := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for i := range 20 {
			req := httptest.NewRequest("GET", []string{"/large", "/large?fail"}[i%2], nil)
			clients.Go(func() { r.ServeHTTP(httptest.NewRecorder(), req) })
		}
		synctest.Wait()
		for range 5 {
			clients.Go(func() {
				r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/large", nil).WithContext(gone))
			})
		}
		leave()
		clients.Wait()
		if most != heavyAtOnce || made != 20 {
			t.Errorf("%d were made, %d at once", made, most)
		}
	})
}

func TestSparing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := NewSparing(slog.New(slog.NewTextHandler(&log, nil)))
		for range 121 { // two minutes and a second
			for _, from := range []string{"192.0.2.1:4", "[::1]:5"} {
				_, _ = s.Write([]byte("http: TLS handshake error from " + from + ": EOF\n"))
			}
			s.Warn("other", "n", 1)
			time.Sleep(time.Second)
		}
		for want, n := range map[string]int{
			"\n": 6, `msg="http: TLS handshake error" detail="192.0.2.1:4: EOF"`: 3, "unlogged=119": 2, "msg=other n=1 unlogged=59": 2,
		} {
			if got := strings.Count(log.String(), want); got != n {
				t.Errorf("%q %d times, want %d, in\n%s", want, got, n, &log)
			}
		}
		log.Reset()
		time.Sleep(time.Minute)
		s.Settle() // of the last pair of handshakes, only one was logged
		s.Settle()
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "error\" unlogged=1\n") {
			t.Errorf("of what was left over is told\n%s", got)
		}
		log.Reset()
		s.Warn("more")
		s.Warn("more")
		s.Settle()
		time.Sleep(time.Minute)
		s.Settle()
		s.Settle()
		if got := log.String(); strings.Count(got, "\n") != 2 || !strings.HasSuffix(got, "msg=more unlogged=1\n") {
			t.Errorf("of two is told\n%s", got)
		}
		log.Reset()
		for i := range 1000 {
			s.Warn(strings.Repeat("x", i))
		}
		if got := strings.Count(log.String(), "\n"); got > maxCauses {
			t.Errorf("%d causes are logged", got)
		}
	})
}

// Deadlines below TLS may be lazy, those above may not.
func TestTLSIsLeftAlone(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	sealed := tls.Server(near, new(tls.Config))
	if c, err := (lazyListener{once{conn: sealed}}).Accept(); err != nil || c != net.Conn(sealed) {
		t.Errorf("%T, %v", c, err)
	}
}
