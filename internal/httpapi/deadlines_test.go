package httpapi

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// once is a listener of one connection.
type once struct {
	net.Listener
	conn net.Conn
}

func (o once) Accept() (net.Conn, error) { return o.conn, nil }

// timers counts how often a connection's timers are really moved.
type timers struct {
	net.Conn
	moved int
}

func (c *timers) SetReadDeadline(t time.Time) error { c.moved++; return c.Conn.SetReadDeadline(t) }
func (c *timers) SetWriteDeadline(t time.Time) error {
	c.moved++
	return c.Conn.SetWriteDeadline(t)
}

// lazyPair calls test in a bubble with a lazy connection and its other end.
func lazyPair(t *testing.T, test func(t *testing.T, lazy net.Conn, moved *int, far net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		counted := &timers{Conn: near}
		lazy, err := lazyListener{once{conn: counted}}.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer lazy.Close()
		test(t, lazy, &counted.moved, far)
	})
}

// after checks that f fails with a timeout, so long after now.
func after(t *testing.T, d time.Duration, f func() error) {
	t.Helper()
	began := time.Now()
	if err := f(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(began); took != d {
		t.Errorf("timed out after %v, want %v", took, d)
	}
}

// Whatever was set before, the last deadline that was set is the one that counts.
func TestTheLastDeadlineCounts(t *testing.T) {
	past := time.Unix(1, 0)
	for name, set := range map[string][]time.Duration{ // from now; -1 is the past, 0 none
		"only":                {7 * time.Second},
		"later than before":   {time.Second, 5 * time.Second, 7 * time.Second},
		"earlier than before": {time.Hour, 10 * time.Second, 7 * time.Second},
		"up and down":         {10 * time.Second, time.Second, 7 * time.Second},
		"none between":        {time.Second, 0, 7 * time.Second},
		"past between":        {time.Second, -1, 7 * time.Second},
		"past, none between":  {time.Hour, -1, 0, 7 * time.Second},
		"beyond a header":     {-1, 0, time.Hour, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			lazyPair(t, func(t *testing.T, lazy net.Conn, _ *int, _ net.Conn) {
				for _, how := range []struct {
					set func(time.Time) error
					do  func() error
				}{
					{lazy.SetReadDeadline, func() error { _, err := lazy.Read(make([]byte, 1)); return err }},
					{lazy.SetWriteDeadline, func() error { _, err := lazy.Write([]byte("x")); return err }},
					{lazy.SetDeadline, func() error { _, err := lazy.Read(make([]byte, 1)); return err }},
				} {
					for _, d := range set {
						at := time.Now().Add(d)
						switch d {
						case 0:
							at = time.Time{}
						case -1:
							at = past
						}
						if err := how.set(at); err != nil {
							t.Fatal(err)
						}
					}
					after(t, 7*time.Second, how.do)
					after(t, 0, how.do)
				}
			})
		})
	}
}

// As net/http does it: a read that waits is woken by a deadline in the past, and
// the next one waits again.
func TestADeadlineWakesAReader(t *testing.T) {
	lazyPair(t, func(t *testing.T, lazy net.Conn, _ *int, far net.Conn) {
		for _, before := range []time.Duration{0, time.Second, time.Hour} {
			if before > 0 {
				_ = lazy.SetReadDeadline(time.Now().Add(before))
			}
			_ = lazy.SetReadDeadline(time.Now().Add(2 * time.Hour))
			woken := make(chan error)
			go func() {
				_, err := lazy.Read(make([]byte, 1))
				woken <- err
			}()
			time.Sleep(time.Minute) // beyond one that is no longer wanted
			synctest.Wait()
			_ = lazy.SetReadDeadline(time.Unix(1, 0))
			if err := <-woken; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("woken with %v", err)
			}
			_ = lazy.SetReadDeadline(time.Time{})
			go func() {
				time.Sleep(time.Hour)
				_, _ = far.Write([]byte("y"))
			}()
			if n, err := lazy.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("afterwards %d bytes, %v", n, err)
			}
		}
	})
}

// A write that a deadline interrupts which nobody wants any more goes on where
// it was.
func TestAWriteGoesOn(t *testing.T) {
	lazyPair(t, func(t *testing.T, lazy net.Conn, _ *int, far net.Conn) {
		_ = lazy.SetWriteDeadline(time.Now().Add(time.Second))
		_ = lazy.SetWriteDeadline(time.Now().Add(time.Hour))
		go func() {
			_, _ = lazy.Write([]byte("hello"))
			_ = lazy.Close()
		}()
		var got [2]byte
		if _, err := io.ReadFull(far, got[:]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		rest, err := io.ReadAll(far)
		if string(got[:])+string(rest) != "hello" || err != nil {
			t.Errorf("%q and %q, %v", got, rest, err)
		}
	})
}

// What a request costs: two moves, not ten.
func TestDeadlinesOfARequest(t *testing.T) {
	lazyPair(t, func(t *testing.T, lazy net.Conn, moved *int, _ net.Conn) {
		for range 100 {
			now := time.Now()
			for _, at := range []time.Time{now.Add(2 * time.Minute), {}, now.Add(10 * time.Second), {}, now.Add(time.Minute), time.Unix(1, 0), {}} {
				_ = lazy.SetReadDeadline(at)
			}
			for _, at := range []time.Time{now.Add(2 * time.Minute), {}} { // ours, and net/http ends it
				_ = lazy.SetWriteDeadline(at)
			}
			time.Sleep(time.Millisecond)
		}
		if *moved > 210 {
			t.Errorf("the timers were moved %d times", *moved)
		}
	})
}
