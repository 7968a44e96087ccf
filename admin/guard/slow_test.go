package guard_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/guard"
)

// pipes is a listener whose connections hold nothing back: what is not read is not
// written.
type pipes struct {
	accept chan net.Conn
	closed context.Context
	close  context.CancelFunc
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// dial serves h behind a guard to one client, in a bubble of synctest.
func dial(t *testing.T, h http.HandlerFunc) (client net.Conn) {
	wrapped, _ := wrap(t, guard.Settings{}, h)
	p := &pipes{accept: make(chan net.Conn)}
	p.closed, p.close = context.WithCancel(context.Background())
	server := &http.Server{Handler: wrapped, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = server.Serve(p) }()
	client, served := net.Pipe()
	p.accept <- served
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		synctest.Wait()
	})
	return client
}

// Whoever asks for a large answer and does not read it cannot keep it in our memory.
func TestAClientThatDoesNotRead(t *testing.T) {
	for _, encoding := range []string{"identity", "gzip"} {
		t.Run(encoding, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan time.Time, 1)
				client := dial(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/html")
					for range 64 {
						if _, err := w.Write(noise(256 << 10)); err != nil {
							break
						}
					}
					ended <- time.Now()
				})
				begun := time.Now()
				fmt.Fprintf(client, "GET / HTTP/1.1\r\nHost: here\r\nAccept-Encoding: %s\r\n\r\n", encoding)
				select {
				case at := <-ended:
					if took := at.Sub(begun); took > 5*time.Minute {
						t.Errorf("it was waited for for %v", took)
					}
				case <-time.After(24 * time.Hour):
					t.Error("it is waited for for ever")
				}
			})
		})
	}
}

// noise is what gzip does not make smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// A client that reads slowly but steadily gets all of a large answer, however long the
// handler has thought before; and the connection is good for another one later.
func TestAClientThatReadsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 8 << 20
		client := dial(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/large":
				time.Sleep(10 * time.Minute)
				_, _ = w.Write(make([]byte, size))
			case "/redirect":
				http.Redirect(w, r, "/", http.StatusSeeOther)
			case "/status":
				w.WriteHeader(http.StatusNoContent)
			}
		})
		answers := bufio.NewReader(client)
		for _, path := range []string{"/large", "/empty", "/redirect", "/status"} {
			fmt.Fprintf(client, "GET %s HTTP/1.1\r\nHost: here\r\n\r\n", path)
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			n := int64(0)
			for err == nil {
				var some int64
				some, err = io.CopyN(io.Discard, resp.Body, 128<<10)
				n += some
				time.Sleep(time.Second)
			}
			if err != io.EOF || path == "/large" && n != size {
				t.Errorf("%s: %d bytes, %v", path, n, err)
			}
			time.Sleep(time.Hour) // beyond what there was for that answer
		}
	})
}

// Who sends events knows better how long one may take.
func TestDeadlinesOfAHandlersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		client := dial(t, func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			if err := control.SetWriteDeadline(time.Now().Add(3 * time.Second)); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, strings.Repeat("data: x\n\n", 10_000))
			ended <- time.Now()
		})
		begun := time.Now()
		fmt.Fprint(client, "GET /events HTTP/1.1\r\nHost: here\r\nAccept: text/event-stream\r\n\r\n")
		if took := (<-ended).Sub(begun); took != 3*time.Second {
			t.Errorf("it was waited for for %v", took)
		}
	})
}

// Nor does one that reads nothing keep its connection, however little it is answered.
func TestAnAnswerWithoutABodyIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := dial(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
		fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: here\r\n\r\n")
		time.Sleep(time.Hour)
		if _, err := client.Write([]byte("GET")); err == nil {
			t.Error("the connection is still there")
		}
	})
}
