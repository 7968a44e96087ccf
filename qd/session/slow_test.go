package session_test

import (
	"crypto/rand"
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// lateConn writes nothing before a while has passed.
type lateConn struct {
	net.Conn
	by time.Duration
}

func (c *lateConn) Write(b []byte) (int, error) {
	time.Sleep(c.by)
	c.by = 0
	return c.Conn.Write(b)
}

// TestSlowHandshake has clients that need longer than their heartbeats for what
// comes before the OK of TLS: that is what comes next, and nobody has been silent.
func TestSlowHandshake(t *testing.T) {
	a := trust(t)
	for name, c := range map[string]struct{ identify, hello time.Duration }{
		"a late IDENTIFY": {identify: 3 * time.Second},
		"a late hello":    {hello: 1500 * time.Millisecond},
		"a later hello":   {hello: 4900 * time.Millisecond},
		"both":            {identify: 59 * time.Second, hello: 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer stuck(t)()
				l := newListener()
				start(t, tlsLimits(a), l)
				p := newClient(t, l.dial("c", 1<<20))
				p.silent = true
				time.Sleep(c.identify)
				p.say(string(asking(t, protocol.IdentifyRequest{FeatureNegotiation: true, TLSv1: true, HeartbeatInterval: 1000})))
				if answer := p.read(); answer[0] != '{' {
					t.Fatal(answer)
				}
				secured := tls.Client(&lateConn{p.conn, c.hello}, a.client)
				if err := secured.Handshake(); err != nil {
					t.Fatal(err)
				}
				_, data, err := protocol.ReadFrame(secured, nil, 1<<20)
				if err != nil || string(data) != protocol.OK {
					t.Errorf("after the handshake comes %q, %v", data, err)
				}
				begun := time.Now()
				_, data, err = protocol.ReadFrame(secured, nil, 1<<20)
				if took := time.Since(begun); err != nil || string(data) != protocol.Heartbeat || took != time.Second {
					t.Errorf("then comes %q, %v, after %s", data, err, took)
				}
			})
		})
	}
}

// TestDeaf has consumers that read nothing, over all layers: they are cut off
// after a heartbeat and a half, and hold up the daemon's end for a second.
func TestDeaf(t *testing.T) {
	a := trust(t)
	random := make([]byte, 400_000)
	_, _ = rand.Read(random)
	for name, ask := range stacks(6) {
		for when, most := range map[string]time.Duration{"": 1500 * time.Millisecond, ", stop": time.Second} {
			t.Run(name+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					defer stuck(t)()
					l := newListener()
					d := start(t, tlsLimits(a), l)
					p := newClient(t, l.dial("p", 4<<20))
					p.say(mpub("t", string(random[:200_000]), string(random[200_000:])))
					p.wants("OK")
					_ = p.conn.Close()
					c := newClient(t, l.dial("c", 64<<10))
					ask.HeartbeatInterval = 1000
					c.identify(ask, a.client)
					c.say("SUB t ch\nRDY 2500\n")
					synctest.Wait() // it is being written to
					begun := time.Now()
					if when != "" {
						d.dismiss()
					}
					for len(d.server.Clients()) > 0 {
						_, _ = c.Write([]byte("NOP\n")) // nothing but its deafness can end it
						time.Sleep(50 * time.Millisecond)
					}
					if took := time.Since(begun); took < most || took > most+100*time.Millisecond {
						t.Errorf("it took %s, want %s", took, most)
					}
				})
			})
		}
	}
}
