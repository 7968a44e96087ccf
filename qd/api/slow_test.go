package api_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
)

// ask sends a request for path and returns the answer's status and body.
func ask(t *testing.T, conn net.Conn, path, body string) string {
	t.Helper()
	go fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", answer.StatusCode, text)
}

// A header that comes byte by byte is given up after ten seconds, and a
// connection without a request after two minutes.
func TestAHeaderThatDrips(t *testing.T) {
	for _, c := range []struct {
		first string
		drip  time.Duration
		limit time.Duration
	}{
		{"GET /ping HTTP/1.1\r\nX: ", time.Second, 10 * time.Second},
		{"", time.Hour, 10 * time.Second},
		{"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n", time.Hour, 2 * time.Minute},
	} {
		withServer(t, func(t *testing.T, _ *daemon, conn net.Conn) {
			began := time.Now()
			go func() {
				_, err := io.WriteString(conn, c.first)
				for err == nil {
					time.Sleep(c.drip)
					_, err = io.WriteString(conn, "x")
				}
			}()
			_, _ = io.Copy(io.Discard, conn)
			if took := time.Since(began); took != c.limit {
				t.Errorf("%q: closed after %v, want %v", c.first, took, c.limit)
			}
			conn.Close()
			time.Sleep(c.drip)
		})
	}
}

// A body that drips is given up after a minute, though something always comes.
func TestABodyThatDrips(t *testing.T) {
	withServer(t, func(t *testing.T, d *daemon, conn net.Conn) {
		began := time.Now()
		go func() {
			_, err := fmt.Fprintf(conn, "POST /pub?topic=t HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n")
			for err == nil {
				time.Sleep(time.Second)
				_, err = io.WriteString(conn, "x")
			}
		}()
		answer, _ := io.ReadAll(conn)
		if took := time.Since(began); took < time.Minute || took > 61*time.Second {
			t.Errorf("closed after %v", took)
		}
		if want := code("TIMEOUT: the body has not come within 1m0s"); !bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")) || !bytes.HasSuffix(answer, []byte(want)) {
			t.Errorf("answered %q", answer)
		}
		conn.Close()
		time.Sleep(time.Second)
		d.expectTopics()
	})
}

// A body that nobody reads is not waited for longer than one that is.
func TestABodyThatNobodyReads(t *testing.T) {
	withServer(t, func(t *testing.T, d *daemon, conn net.Conn) {
		began := time.Now()
		go func() {
			_, err := fmt.Fprintf(conn, "POST /topic/create?topic=t HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n")
			for err == nil {
				time.Sleep(time.Second)
				_, err = io.WriteString(conn, "x")
			}
		}()
		answer, _ := io.ReadAll(conn)
		if took := time.Since(began); !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) || took > 61*time.Second {
			t.Errorf("answered %q, closed after %v", answer, took)
		}
		conn.Close()
		time.Sleep(time.Second)
		d.expectTopics("t")
	})
}

// A request that is refused by its header is not waited for: briefly for a body
// that may be on its way, and hardly for one that waits to be asked for.
func TestABodyThatIsNotWanted(t *testing.T) {
	for header, limit := range map[string]time.Duration{"": 5 * time.Second, "Expect: 100-continue\r\n": time.Second} {
		withServer(t, func(t *testing.T, _ *daemon, conn net.Conn) {
			began := time.Now()
			write(t, conn, "POST /pub?topic=t HTTP/1.1\r\nHost: a\r\n%sContent-Length: 10001\r\n\r\n", header)
			answer, err := io.ReadAll(conn)
			if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 413 ")) {
				t.Errorf("%q: answered %q, %v", header, answer, err)
			}
			if took := time.Since(began); took > limit+time.Second {
				t.Errorf("%q: closed after %v", header, took)
			}
		})
	}
}

// Bodies that are on their way share a bound. Those that would exceed it wait,
// and are refused after half a minute; small ones are taken all the same, and so
// is everything once those who held it have been given up. The log has a line of
// it, not one for each.
func TestBodiesTogether(t *testing.T) {
	var log bytes.Buffer
	withDialer(t, func(_ *broker.Settings, c *api.Config) {
		c.BodyMemory = 200_000
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
	}, func(t *testing.T, d *daemon, dial func() net.Conn) {
		large := strings.Repeat(strings.Repeat("x", 99)+"\n", 300)
		held := func() net.Conn {
			conn := dial()
			write(t, conn, "POST /mpub?topic=t HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n%s", large)
			return conn
		}
		for range 3 { // of which each has taken 28 KiB beyond the first 4, and no fourth would get them
			held()
		}
		for range 4 { // these get what is set aside
			held()
		}
		busy := "503 " + code("BUSY: too much is being published at once")
		var refused sync.WaitGroup
		for range 10 {
			conn := dial()
			refused.Go(func() {
				if got := ask(t, conn, "/mpub?topic=t", large); got != busy {
					t.Errorf("answered %s", got)
				}
			})
		}
		for range 10 {
			if got := ask(t, dial(), "/pub?topic=t", strings.Repeat("y", 4000)); got != "200 OK" {
				t.Errorf("a small one: %s", got)
			}
		}
		refused.Wait()
		for _, path := range []string{"/ping", "/config/log_level"} {
			d.send("GET", path, nil)
		}
		time.Sleep(20 * time.Second)
		began := time.Now()
		if got := ask(t, dial(), "/mpub?topic=t", large); got != "200 OK" || time.Since(began) < time.Second {
			t.Errorf("while others are given up: %s after %v", got, time.Since(began))
		}
		time.Sleep(3 * time.Minute)
		if got := ask(t, dial(), "/mpub?topic=t", large); got != "200 OK" {
			t.Errorf("afterwards: %s", got)
		}
		if got := len(d.drain("t")); got != 10+2*300 {
			t.Errorf("%d messages", got)
		}
		for _, cause := range []string{"bodies of requests take all", "did not send its request in time"} {
			if n := strings.Count(log.String(), cause); n != 1 {
				t.Errorf("%q is in the log %d times:\n%s", cause, n, &log)
			}
		}
	})
}

// Who takes all the memory for bodies that he can get leaves half of it to
// others, from whatever port he comes.
func TestBodiesOfOneAddress(t *testing.T) {
	withDialer(t, func(_ *broker.Settings, c *api.Config) { c.BodyMemory, c.MaxMsgSize = 200_000, 100_000 }, func(t *testing.T, d *daemon, _ func() net.Conn) {
		send := func(from string, body io.Reader) *httptest.ResponseRecorder {
			r := httptest.NewRequest("PUT", "/config/x", body)
			r.RemoteAddr = from
			w := httptest.NewRecorder()
			d.handler.ServeHTTP(w, r)
			return w
		}
		large := strings.Repeat("x", 30_000)
		for _, c := range []struct{ greedy, same, other string }{
			{"192.0.2.1:%d", "192.0.2.1:4", "192.0.2.2:4"},
			{"[::ffff:192.0.2.1]:%d", "192.0.2.1:4", "[2001:db8::1]:4"},
			{"[2001:db8::%x]:1", "[2001:db8:0:0:ffff::]:4", "[2001:db8:0:1::]:4"},
			{"[fe80::%x%%25eth0]:1", "[fe80::]:4", "@"},
			{"@", "", "127.0.0.1:4"},
		} {
			var held sync.WaitGroup
			let, release := io.Pipe()
			for i := range 10 {
				from := c.greedy
				if strings.Contains(from, ":%") {
					from = fmt.Sprintf(from, i+1)
				}
				held.Go(func() { send(from, io.MultiReader(strings.NewReader(large), let)) })
			}
			synctest.Wait()
			if w := send(c.same, strings.NewReader(large)); w.Code != http.StatusServiceUnavailable {
				t.Errorf("%s: %d %s", c.same, w.Code, w.Body)
			}
			for range 2 {
				if w := send(c.other, strings.NewReader(large)); w.Code != http.StatusBadRequest { // there is no such option
					t.Errorf("%s: %d %s", c.other, w.Code, w.Body)
				}
			}
			_ = release.Close()
			held.Wait()
		}
	})
}

// A small body does not sit in memory that a large one has left behind: nothing
// would count it.
func TestSmallBodiesAfterLargeOnes(t *testing.T) {
	const atOnce, rounds = 16, 10
	d := start(t, func(_ *broker.Settings, c *api.Config) { c.MaxMsgSize = 1 << 20 })
	var small sync.WaitGroup
	wait, release := io.Pipe()
	large := strings.Repeat("x", 1_000_000)
	for range rounds {
		var there, done sync.WaitGroup
		all := make(chan struct{})
		there.Add(atOnce)
		for range atOnce {
			done.Go(func() {
				d.send("PUT", "/config/x", io.MultiReader(strings.NewReader(large), onRead(func() { there.Done(); <-all })))
			})
		}
		there.Wait() // now there are so many large ones
		close(all)
		done.Wait()
		there.Add(atOnce)
		for range atOnce {
			small.Go(func() { d.send("PUT", "/config/x", io.MultiReader(strings.NewReader("x"), onRead(there.Done), wait)) })
		}
		there.Wait()
	}
	runtime.GC()
	runtime.GC() // pools are given up by the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_ = release.Close()
	small.Wait()
	if m.HeapAlloc > 40<<20 {
		t.Errorf("%d bodies of a byte take %d MiB", atOnce*rounds, m.HeapAlloc>>20)
	}
}

// onRead is a reader of nothing that calls itself.
type onRead func()

func (f onRead) Read([]byte) (int, error) { f(); return 0, io.EOF }

// The messages of a body count, too: of lines of a byte they are many times the
// body.
func TestManySmallLines(t *testing.T) {
	small := func(_ *broker.Settings, c *api.Config) { c.BodyMemory, c.MaxBodySize = 400_000, 100_000 }
	withDialer(t, small, func(t *testing.T, d *daemon, _ func() net.Conn) {
		many := strings.Repeat("x\n", 20_000)
		for range 3 { // nothing stays taken
			d.expect("POST", "/mpub?topic=t", many, 503, code("BUSY: too much is being published at once"))
			d.expect("POST", "/mpub?topic=t", many[:15_000], 200, "OK")
		}
	})
}

// Many large bodies at once are more than there is memory for. They wait for each
// other, and none is refused.
func TestLargeBodiesAtOnce(t *testing.T) {
	withDialer(t, func(_ *broker.Settings, c *api.Config) { c.BodyMemory, c.MaxBodySize = 260_000, 100_000 }, func(t *testing.T, d *daemon, dial func() net.Conn) {
		const senders = 40
		large := strings.Repeat(strings.Repeat("x", 999)+"\n", 100)
		var sent sync.WaitGroup
		for range senders {
			conn := dial()
			sent.Go(func() {
				half := len(large) / 2
				write(t, conn, "POST /mpub?topic=t HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(large), large[:half])
				time.Sleep(time.Second) // until all are halfway
				write(t, conn, "%s", large[half:])
				if answer, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
					t.Errorf("answered %q, %v", answer, err)
				}
			})
		}
		sent.Wait()
		if got := len(d.drain("t")); got != senders*100 {
			t.Errorf("%d messages", got)
		}
	})
}

func TestAHeaderTooLarge(t *testing.T) {
	withServer(t, func(t *testing.T, _ *daemon, conn net.Conn) {
		go fmt.Fprintf(conn, "GET /ping HTTP/1.1\r\nX: %s\r\n\r\n", strings.Repeat("x", 1<<20))
		answer := make([]byte, len("HTTP/1.1 431 "))
		if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 431 " {
			t.Errorf("answered %q, %v", answer, err)
		}
	})
}

// Profiles, too, must be read at some time.
func TestAProfileThatNobodyReads(t *testing.T) {
	withServer(t, func(t *testing.T, _ *daemon, conn net.Conn) {
		write(t, conn, "GET /debug/pprof/goroutine?debug=2 HTTP/1.1\r\nHost: a\r\n\r\n")
		time.Sleep(5 * time.Minute)
		if _, err := conn.Write([]byte("x")); err == nil {
			t.Error("the connection is still open after five minutes")
		}
	})
}
