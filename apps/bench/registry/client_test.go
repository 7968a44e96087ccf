package registry

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The client reads whatever net/http answers, on one connection where it may.
func TestClient(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 10_000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		switch r.URL.Path {
		case "/short":
			_, _ = w.Write([]byte("short"))
		case "/empty":
			w.Header().Del("Trailer")
		case "/long":
			for part := range strings.SplitSeq(long, "f") {
				_, _ = w.Write([]byte(part + "f"))
			}
			w.Header().Set("X-Sum", "1")
		case "/close":
			w.Header().Set("Connection", "close")
			_, _ = w.Write([]byte("bye"))
		case "/cut":
			_, _ = w.Write([]byte(long))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/short-by-one":
			w.Header().Set("Content-Length", "3")
			_, _ = w.Write([]byte("no"))
		case "/never":
			<-r.Context().Done() // the client has gone
		default:
			http.Error(w, "TOPIC_NOT_FOUND", http.StatusNotFound)
		}
	}))
	defer s.Close()
	c := client{addr: s.Listener.Addr().String(), from: 1, stall: 10 * time.Second}
	defer func() { c.close() }()
	for _, test := range []struct{ path, want, fails string }{
		{"/short", "short", ""},
		{"/empty", "", ""},
		{"/long", long + "f", ""},
		{"/none", "", "GET /none: lookupd answered 404 \"TOPIC_NOT_FOUND\\n\""},
		{"/close", "bye", ""},
		{"/short", "short", ""},
		{"/cut", "", "unexpected EOF"},
		{"/short-by-one", "", "unexpected EOF"},
		{"/never", "", "timeout"},
	} {
		if test.path == "/never" {
			c.close()
			c.stall = 50 * time.Millisecond
		}
		got, err := c.get(t.Context(), test.path, nil)
		if err != nil && test.fails != "" && strings.Contains(err.Error(), test.fails) {
			if c.status != 404 {
				c.close()
			}
			continue
		}
		if err != nil || test.fails != "" || !bytes.Equal(got, []byte(test.want)) {
			t.Errorf("%s: %.50q, %v", test.path, got, err)
		}
	}
}

// What is not HTTP is an error that shows it.
func TestClientAndNonsense(t *testing.T) {
	f := &fake{}
	tcp, _ := f.start(t) // speaks V1
	c := client{addr: tcp, stall: 300 * time.Millisecond}
	defer c.close()
	if _, err := c.get(t.Context(), "/topics", nil); err == nil || !strings.Contains(err.Error(), "GET /topics: ") {
		t.Errorf("error %v", err)
	}
}
