package session_test

import (
	"crypto/rand"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/session"
)

// named is what the server says of the connection with the address.
func (d *daemon) named(remote string) (c session.Client) {
	d.t.Helper()
	for _, c := range d.server.Clients() {
		if c.RemoteAddress == remote {
			return c
		}
	}
	d.t.Fatalf("%s is not connected", remote)
	return c
}

// TestDisconnect ends the connection of a consumer that reads nothing of what is
// being written to it, over all layers: at once, and what it held is another's.
func TestDisconnect(t *testing.T) {
	a := trust(t)
	random := make([]byte, 400_000)
	_, _ = rand.Read(random)
	for name, ask := range stacks(6) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer stuck(t)()
				l := newListener()
				d := start(t, tlsLimits(a), l)
				deaf := newClient(t, l.dial("deaf", 64<<10))
				deaf.identify(ask, a.client)
				deaf.say("SUB t ch\nRDY 2500\n")
				p := newClient(t, l.dial("p", 4<<20))
				p.say(mpub("t", string(random[:200_000]), string(random[200_000:])))
				p.wants("OK")
				synctest.Wait()
				if n := d.heldBy("deaf"); n == 0 {
					t.Fatal("it holds nothing")
				}
				other := newClient(t, l.dial("other", 4<<20))
				other.say("SUB t ch\nRDY 2500\n")
				other.wants("OK")

				begun, number := time.Now(), d.named("deaf").Connection
				if !d.server.Disconnect(number) {
					t.Fatal("it is not known")
				}
				got := map[string]bool{other.read(): true, other.read(): true}
				if !got[string(random[:200_000])] || !got[string(random[200_000:])] {
					t.Error("what it held does not come")
				}
				synctest.Wait()
				if took := time.Since(begun); took > 0 {
					t.Errorf("it took %v", took)
				}
				if n := len(d.server.Clients()); n != 2 {
					t.Errorf("%d are connected", n)
				}
				if d.server.Disconnect(number) {
					t.Error("it can be disconnected twice")
				}
				if n := d.named("other").Connection; n == number || d.named("p").Connection == n {
					t.Errorf("the others are %d and %d, it was %d", n, d.named("p").Connection, number)
				}
			})
		})
	}
}

// TestDisconnectIdle ends connections that do nothing: before they have said
// anything, as publishers, as consumers, and in the midst of a command.
func TestDisconnectIdle(t *testing.T) {
	for name, says := range map[string]string{
		"nothing": "", "magic": protocol.MagicV2, "publisher": protocol.MagicV2 + mpub("t", "x"),
		"consumer": protocol.MagicV2 + "SUB t ch\nRDY 1\n", "half a command": protocol.MagicV2 + "PUB t\n\x00\x00\x00\x09abc",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer stuck(t)()
				l := newListener()
				d := start(t, limits(), l)
				conn := l.dial("c", 1<<10)
				if _, err := conn.Write([]byte(says)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				begun := time.Now()
				if !d.server.Disconnect(d.named("c").Connection) {
					t.Fatal("it is not known")
				}
				synctest.Wait()
				if n := len(d.server.Clients()); n > 0 || time.Since(begun) > 0 {
					t.Errorf("%d are connected after %v", n, time.Since(begun))
				}
			})
		})
	}
}

// TestDisconnectReset: over TCP the client hears of it at once, though megabytes
// that it has not read lie between.
func TestDisconnectReset(t *testing.T) {
	d, addr := loopback(t, limits())
	p := newClient(t, dial(t, addr))
	p.say(mpub("t", string(make([]byte, 1<<20)), string(make([]byte, 1<<20)), string(make([]byte, 1<<20))))
	p.wants("OK")
	conn := dial(t, addr)
	deaf := newClient(t, conn)
	deaf.say("SUB t ch\nRDY 2500\n")
	remote := conn.LocalAddr().String()
	patiently(t, "it holds messages", func() bool { return d.heldBy(remote) == 3 })
	if !d.server.Disconnect(d.named(remote).Connection) {
		t.Fatal("it is not known")
	}
	patiently(t, "its end", func() bool { return len(d.server.Clients()) == 1 && d.heldBy(remote) == 0 })
	// What was being sent is cut off: it would come again, and could not be answered.
	if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v", err)
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// patiently waits until something is so.
func patiently(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// TestLastActive: what a client says counts as its being active, but for the NOPs
// by which it answers heartbeats.
func TestLastActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer stuck(t)()
		l := newListener()
		d := start(t, limits(), l)
		begun := time.Now()
		c := newClient(t, l.dial("c", 1<<20))
		expect := func(what string, want time.Duration) {
			t.Helper()
			synctest.Wait()
			if got := d.named("c").LastActive.Sub(begun); got != want {
				t.Errorf("%s: it was active at %v, want %v", what, got, want)
			}
		}
		expect("connected", 0)
		time.Sleep(time.Second)
		c.say("SUB t ch\nRDY 1\n")
		c.wants("OK")
		expect("subscribed", time.Second)
		heard := make(chan []byte)
		go func() { heard <- c.message("x") }() // answers heartbeats meanwhile
		time.Sleep(10 * time.Minute)
		expect("idle", time.Second)
		p := newClient(t, l.dial("p", 1<<20))
		p.say(mpub("t", "x"))
		p.wants("OK")
		_ = p.conn.Close()
		fin := <-heard
		expect("sent a message", time.Second)
		if c.beats == 0 {
			t.Fatal("there was no heartbeat")
		}
		time.Sleep(time.Second)
		for i, command := range []string{string(fin), "RDY 2\n", mpub("t2", "y"), "NOP\n", "NOP\nRDY 3\nNOP\n"} {
			time.Sleep(time.Second)
			c.say(command)
			at := time.Since(begun)
			if command == "NOP\n" {
				at -= time.Second
			}
			expect(command[:3], at)
			if i == 2 {
				c.wants("OK")
			}
		}
	})
}
