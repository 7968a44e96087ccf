package auth_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/auth"
)

// network is where the clients of the following tests connect to.
type network map[string]func(ctx context.Context) (net.Conn, error)

func (n network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	return n[address](ctx)
}

func refuses(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }

// swallows is there, and lets nobody in.
func swallows(ctx context.Context) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// script returns a server that reads the request and then writes pieces, with
// a pause before each.
func script(pause time.Duration, pieces ...string) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() { // ends with the connection
			defer ours.Close()
			if _, err := http.ReadRequest(bufio.NewReader(ours)); err != nil {
				return
			}
			left := make(chan struct{})
			go func() {
				defer close(left)
				_, _ = io.Copy(io.Discard, ours)
			}()
			for _, p := range pieces {
				select {
				case <-time.After(pause):
				case <-left:
					return
				}
				_, _ = io.WriteString(ours, p)
			}
			<-left
		}()
		return theirs, nil
	}
}

func answering(pause time.Duration) func(context.Context) (net.Conn, error) {
	return script(pause, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(granted), granted))
}

// TestTime checks how long servers are waited for: the request timeout is for
// all of them.
func TestTime(t *testing.T) {
	const hour = time.Hour
	trickle := script(time.Second, "HTTP/1.1 200 OK\r\n", "A: b\r\n", "A: b\r\n", "\r\n", "{", "\"ttl\"", ":", "60", "}")
	for _, c := range []struct {
		name    string
		servers []func(context.Context) (net.Conn, error)
		took    [2]time.Duration // between which times, since the first server is any
		want    string           // empty: it is granted
	}{
		{"at once", []func(context.Context) (net.Conn, error){answering(0)}, [2]time.Duration{0, 0}, ""},
		{"slow", []func(context.Context) (net.Conn, error){answering(4999 * time.Millisecond)}, [2]time.Duration{4999 * time.Millisecond, 4999 * time.Millisecond}, ""},
		{"hangs", []func(context.Context) (net.Conn, error){answering(hour)}, [2]time.Duration{5 * time.Second, 5 * time.Second}, "no answer within 5s"},
		{"trickles", []func(context.Context) (net.Conn, error){trickle}, [2]time.Duration{5 * time.Second, 5 * time.Second}, "no answer within 5s"},
		{"never connects", []func(context.Context) (net.Conn, error){swallows}, [2]time.Duration{2 * time.Second, 2 * time.Second}, "context deadline exceeded"},
		{"all hang", []func(context.Context) (net.Conn, error){answering(hour), answering(hour), answering(hour), answering(hour)}, [2]time.Duration{5 * time.Second, 5 * time.Second}, "no answer within 1.25s"},
		{"one hangs", []func(context.Context) (net.Conn, error){answering(hour), answering(time.Second)}, [2]time.Duration{time.Second, 3500 * time.Millisecond}, ""},
		{"one is not there", []func(context.Context) (net.Conn, error){refuses, answering(4999 * time.Millisecond / 2)}, [2]time.Duration{2499 * time.Millisecond, 2500 * time.Millisecond}, ""},
		{"none is there", []func(context.Context) (net.Conn, error){refuses, refuses}, [2]time.Duration{0, 0}, "connection refused"},
		{"only one of four answers", []func(context.Context) (net.Conn, error){answering(hour), refuses, answering(hour), answering(time.Second)}, [2]time.Duration{time.Second, 4125 * time.Millisecond}, ""},
	} {
		for range 8 { // who is first is by chance
			synctest.Test(t, func(t *testing.T) {
				n := network{}
				conf := config(&journal{})
				for i, s := range c.servers {
					host := fmt.Sprintf("host%d:80", i)
					conf.Addresses = append(conf.Addresses, host)
					n[host] = s
				}
				conf.Dial = n.dial
				begun := time.Now()
				g, err := client(t, conf).Query(t.Context(), me)
				if took := time.Since(begun); took < c.took[0] || took > c.took[1] {
					t.Errorf("%s: took %s", c.name, took)
				}
				switch {
				case c.want == "" && (err != nil || g.Permissions() != 1):
					t.Errorf("%s: %+v, %v", c.name, g, err)
				case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "auth server") != len(c.servers)):
					t.Errorf("%s: %v", c.name, err)
				}
			})
		}
	}
}

// TestServers checks that each of several is enough, whichever is asked first,
// and that what it logs is when one goes, and when it has come back to stay.
func TestServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var status [2]int
		n, hosts := network{}, [2]string{"a:80", "b:80"}
		for i, host := range hosts {
			n[host] = func(ctx context.Context) (net.Conn, error) {
				return script(0, fmt.Sprintf("HTTP/1.1 %d it\r\nContent-Length: %d\r\n\r\n%s", status[i], len(granted), granted))(ctx)
			}
		}
		j := &journal{}
		conf := config(j, hosts[0], hosts[1])
		conf.Dial = n.dial
		c := client(t, conf)
		// query asks often enough that each has been the first, then checks the log.
		query := func(good bool, want ...string) {
			t.Helper()
			for range 50 {
				if _, err := c.Query(t.Context(), me); (err == nil) != good {
					t.Fatal(err)
				}
			}
			text := j.take()
			for _, w := range want {
				if strings.Count(text, w) != 1 {
					t.Errorf("not once stands %q in\n%s", w, text)
				}
			}
			if n := strings.Count(text, "\n"); n != len(want) {
				t.Errorf("%d lines, want %d:\n%s", n, len(want), text)
			}
		}
		gone := func(i int, why string) string {
			return fmt.Sprintf("level=WARN msg=\"auth server gives no answer; clients that need one are refused\" server=http://%s/auth error=%q\n", hosts[i], why)
		}
		back := func(i int) string {
			return fmt.Sprintf("level=INFO msg=\"auth server answers again\" server=http://%s/auth\n", hosts[i])
		}
		status = [2]int{200, 200}
		query(true)
		status[0] = 500
		query(true, gone(0, "status 500"))
		status[1] = 502
		query(false, gone(1, "status 502"))
		time.Sleep(10 * time.Second)
		status[0] = 403 // it refuses, so it is there
		query(false, back(0))
		for range 20 { // it comes and goes
			status[1] = 200
			query(true)
			time.Sleep(9 * time.Second)
			status[1] = 502
			query(false)
		}
		status = [2]int{200, 200}
		query(true)
		time.Sleep(10 * time.Second)
		query(true, back(1))
	})
}

// TestCancelled checks that the end of a context ends a query at once, and is
// nothing that a server is blamed for.
func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		conf := config(j, "a:80", "b:80")
		conf.Dial = network{"a:80": answering(time.Hour), "b:80": swallows}.dial
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("the daemon ends"))
		defer cancel()
		begun := time.Now()
		g, err := client(t, conf).Query(ctx, me)
		if took := time.Since(begun); took != time.Second || err == nil || err.Error() != "the daemon ends" {
			t.Errorf("after %s: %+v, %v", took, g, err)
		}
		if text := j.take(); text != "" {
			t.Errorf("logged %s", text)
		}
		time.Sleep(conf.ConnectTimeout) // net/http goes on connecting until then
	})
}

func TestLongSecret(t *testing.T) {
	conf := config(&journal{}, "a:80")
	conf.Dial = func(context.Context, string, string) (net.Conn, error) { t.Error("asked"); return nil, io.EOF }
	if _, err := client(t, conf).Query(t.Context(), auth.Request{Secret: strings.Repeat("x", 65537)}); err == nil {
		t.Error("accepted")
	}
}

// TestCrowd has more clients ask at once than a server is asked for: 64. It takes
// a second for each answer, so the crowd comes in four parts.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve := answering(time.Second)
		conf := config(&journal{}, "a:80")
		conf.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return serve(ctx) }
		c := client(t, conf)
		var all sync.WaitGroup
		begun := time.Now()
		for range 3*64 + 8 {
			all.Go(func() {
				if _, err := c.Query(t.Context(), me); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(begun); took != 4*time.Second {
			t.Errorf("all were answered in %s", took)
		}
	})
}
