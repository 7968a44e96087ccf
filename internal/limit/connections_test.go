package limit

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestConnections(t *testing.T) {
	one, two := RemoteOf("192.0.2.1:1"), RemoteOf("192.0.2.2:1")
	c := NewConnections(3, 2)
	enter := func(from Remote, want string) {
		t.Helper()
		got := ""
		if err := c.Enter(from, nil); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", from, got, want)
		}
	}
	enter(one, "")
	enter(RemoteOf("[::ffff:192.0.2.1]:7"), "") // the same
	enter(one, "TOO_MANY_CONNECTIONS: there are 2 from 192.0.2.1 already (max-connections-per-address)")
	enter(two, "")
	enter(two, "TOO_MANY_CONNECTIONS: there are 3 already (max-connections)")
	if got, want := c.Counts(), (Counts{3, 1, 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	c.Leave(one)
	enter(two, "")
	c.Set(1, 0)
	enter(one, "TOO_MANY_CONNECTIONS: there are 1 already (max-connections)")
	c.Set(0, 0)
	for range 100 {
		enter(one, "")
	}
	if c.Tight() {
		t.Error("it is tight without a bound")
	}
}

// Those through socket files have no address to be too many from.
func TestSocketFiles(t *testing.T) {
	c := NewConnections(3, 1)
	file := RemoteOf("/run/qd.sock")
	for range 3 {
		if err := c.Enter(file, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Enter(file, nil); err == nil || file.String() != "a socket file" {
		t.Errorf("%s: a fourth got in", file)
	}
}

// One that is ended makes room for one that comes.
func TestMakeRoom(t *testing.T) {
	c := NewConnections(1, 1)
	from := func(i int) Remote { return RemoteOf(fmt.Sprintf("192.0.2.%d:1", i)) }
	_ = c.Enter(from(1), nil)
	if err := c.Enter(from(2), func() bool { return true }); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*TooManyError](c.Enter(from(3), func() bool { return false })); !ok {
		t.Error("one got in although no room was made")
	}
	if err := c.Enter(from(2), func() bool { t.Error("asked for room for one too many from there"); return true }); err == nil {
		t.Error("a second from one address got in")
	}
	c.Leave(from(1))
	if got, want := c.Counts(), (Counts{1, 1, 1}); got != want || !c.Tight() {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Who is turned away gets to read why, though he had sent something; not more of them at once
// than there may be, and none for longer than a second.
func TestTurnAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewConnections(1, 0)
		var wg sync.WaitGroup
		began := time.Now()
		var silent []net.Conn
		for range manyFarewells {
			near, far := net.Pipe()
			c.TurnAway(&wg, far, []byte("no")) // nobody reads it
			silent = append(silent, near)
		}
		near, far := net.Pipe()
		c.TurnAway(&wg, far, []byte("no"))
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("one too many was not hung up on: %v", err)
		}
		wg.Wait()
		if took := time.Since(began); took != farewellPatience {
			t.Errorf("it took %v", took)
		}
		for _, s := range silent {
			_ = s.Close()
		}
		near, far = net.Pipe()
		c.TurnAway(&wg, far, []byte("no"))
		if text, err := io.ReadAll(near); string(text) != "no" || err != nil {
			t.Errorf("told %q, %v", text, err)
		}
		wg.Wait()
	})
}

func TestRemotes(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1:80":              "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"[2001:db8:1:2::7%eth0]:80": "2001:db8:1:2::/64",
		"[::ffff:192.0.2.1]:80":     "192.0.2.1",
		"@":                         "a socket file",
		"/run/millrace/qd.sock":     "a socket file",
		"pipe":                      "a socket file",
		"0.0.0.0:1":                 "0.0.0.0",
	} {
		if got := RemoteOf(address).String(); got != want {
			t.Errorf("%s is %s, want %s", address, got, want)
		}
	}
}
