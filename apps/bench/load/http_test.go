package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// post publishes to a server that answers as handle does.
func post(t *testing.T, connections int, messages int64, handle http.HandlerFunc) (int64, error) {
	t.Helper()
	s := httptest.NewServer(handle)
	defer s.Close()
	var progress Progress
	ps, err := OpenPosts(t.Context(), s.Listener.Addr().String(), "t", connections, 20, &progress)
	if err != nil {
		t.Fatal(err)
	}
	defer ps.Close()
	var n int64
	err = progress.Watch(t.Context(), 10*time.Second, func() string { return "answers" }, func(ctx context.Context) error {
		n, err = ps.Run(ctx, messages, time.Minute)
		return err
	})
	return n, err
}

func TestPosts(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	n, err := post(t, 3, 100, func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 21)
		size, _ := r.Body.Read(body)
		mu.Lock()
		defer mu.Unlock()
		if size != 20 || r.Method != "POST" || r.URL.String() != "/pub?topic=t" {
			t.Errorf("%s %s with %d bytes", r.Method, r.URL, size)
		}
		seen[string(body[:size])] = true
		fmt.Fprint(w, "OK")
	})
	if err != nil || n != 102 || len(seen) != 102 { // rounded up to the same number for each
		t.Errorf("%d answered, %d different, %v", n, len(seen), err)
	}
}

func TestPostsThatAreRefused(t *testing.T) {
	for want, handle := range map[string]http.HandlerFunc{
		`publishing over HTTP: the broker answered "HTTP/1.1 503 `: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "EXITING", http.StatusServiceUnavailable) },
		`publishing over HTTP: the broker answered "HTTP/1.1 200 `: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "NO") },
		"publishing over HTTP: the connection broke":               func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		`Transfer-Encoding: chunked`: func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			fmt.Fprint(w, "OK")
		},
	} {
		if _, err := post(t, 1, 10, handle); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
