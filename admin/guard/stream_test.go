package guard_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/guard"
)

func TestBodies(t *testing.T) {
	server, said := serve(t, guard.Settings{Body: 1000, Bodies: map[string]int64{"/do/": 2000, "/do/publish": 3 << 20}},
		func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
				http.Error(w, fmt.Sprint("limit ", tooLarge.Limit), http.StatusRequestEntityTooLarge)
				return
			}
			fmt.Fprint(w, "read ", n, err)
		})
	for _, tt := range []struct {
		path   string
		size   int
		status int
	}{
		{"/", 1000, 200}, {"/", 1001, 413}, {"/do/pause", 1500, 200}, {"/do/pause", 2001, 413}, {"/do/publish", 3 << 20, 200}, {"/do/publish", 3<<20 + 1, 413},
		{"/", 8 << 20, 413}, {"/api/topics", 1001, 413},
	} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = bytes.NewReader(make([]byte, tt.size))
			if chunked {
				body = io.MultiReader(body) // whose length is not known
			}
			resp, err := server.Client().Post(server.URL+tt.path, "text/plain", body)
			if err != nil {
				t.Errorf("%s with %d bytes (chunked: %v): %v", tt.path, tt.size, chunked, err)
				continue
			}
			if got := text(t, resp); resp.StatusCode != tt.status {
				t.Errorf("%s with %d bytes (chunked: %v): %d %q", tt.path, tt.size, chunked, resp.StatusCode, got)
			}
			resp.Body.Close()
		}
	}
	if n := strings.Count(said.String(), "\n"); n != 1 {
		t.Errorf("said in %d lines: %s", n, said.String())
	}
}

// A client that sends all it has before it looks for an answer finds one.
func TestABodyThatIsSentFirst(t *testing.T) {
	server, _ := serve(t, guard.Settings{}, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		}
	})
	const size = 20 << 20
	for _, header := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n", size), fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size)} {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: here\r\n%s", header)
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Errorf("%.17s: sending: %v", header, err)
			continue
		}
		fmt.Fprint(c, "\r\n0\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 413 {
			t.Errorf("%.17s: %v, %v", header, resp, err)
		}
	}
}

// A client that waits to be told to continue is answered without having sent anything.
func TestABodyThatIsNotSent(t *testing.T) {
	server, _ := serve(t, guard.Settings{}, show)
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 413 {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestCompression(t *testing.T) {
	page := strings.Repeat("<p>hello</p>", 1000)
	h, _ := wrap(t, guard.Settings{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Length", fmt.Sprint(len(page)))
		_, _ = io.WriteString(w, page)
	})
	resp := ask(h, "GET", "/", "Accept-Encoding", "gzip, zstd")
	if resp.Header.Get("Content-Encoding") != "gzip" || resp.Header.Get("Content-Length") != "" || resp.Header.Get("Vary") == "" {
		t.Fatalf("headers: %v", resp.Header)
	}
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != page {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if resp := ask(h, "GET", "/"); resp.Header.Get("Content-Encoding") != "" || text(t, resp) != page {
		t.Error("who did not ask for it gets it compressed")
	}
}

// Events go out one by one, the header at once, whether their handler packs them or not.
func TestEvents(t *testing.T) {
	for _, accept := range []string{"text/event-stream", "*/*"} {
		for _, packed := range []bool{false, true} {
			more := make(chan string)
			server, _ := serve(t, guard.Settings{}, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
				var to io.Writer = w
				if packed {
					w.Header().Set("Content-Encoding", "gzip")
					z := gzip.NewWriter(w)
					to = z
					defer z.Close()
				}
				control := http.NewResponseController(w)
				if err := control.SetWriteDeadline(time.Time{}); err != nil {
					t.Error(err)
				}
				for line := range more {
					fmt.Fprintf(to, "data: %s\n\n", line)
					if z, ok := to.(*gzip.Writer); ok {
						_ = z.Flush()
					}
					if err := control.Flush(); err != nil {
						t.Error(err)
					}
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			req, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/events", nil)
			req.Header.Set("Accept", accept)
			req.Header.Set("Accept-Encoding", "gzip")
			go func() { more <- "one" }()
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var body io.Reader = resp.Body
			if got := resp.Header.Get("Content-Encoding"); (got == "gzip") != packed {
				t.Errorf("packed %v, but encoded as %q", packed, got)
			}
			if packed {
				if body, err = gzip.NewReader(resp.Body); err != nil {
					t.Fatal(err)
				}
			}
			events := bufio.NewReader(body)
			for _, next := range []string{"two", "three", ""} {
				line, err := events.ReadString('\n')
				if _, _ = events.ReadString('\n'); err != nil || !strings.HasPrefix(line, "data: ") {
					t.Errorf("%q, %v", line, err)
				}
				if next == "" {
					close(more)
				} else {
					more <- next // only now: the one before has come through
				}
			}
			resp.Body.Close()
			cancel()
		}
	}
}

// The header of events is there before the first one.
func TestEventsThatAreLate(t *testing.T) {
	first := make(chan struct{})
	server, _ := serve(t, guard.Settings{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-first
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	defer close(first)
	req, _ := http.NewRequestWithContext(ctx, "GET", server.URL, nil)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := server.Client().Do(req)
	if err != nil || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
}
