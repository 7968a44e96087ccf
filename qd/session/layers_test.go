package session_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// layered is a daemon with a connection to it for each use, all with the same
// layers.
type layered struct {
	*daemon
	trusted
	t   *testing.T
	l   *listener
	ask protocol.IdentifyRequest
}

// dial connects and sets up the layers, with a heartbeat each second.
func (s *layered) dial() *client {
	s.t.Helper()
	c := newClient(s.t, s.l.dial("c", 4<<20))
	ask := s.ask
	ask.HeartbeatInterval = 1000
	c.identify(ask, s.client)
	if c.info.TLSv1 != ask.TLSv1 || c.info.Snappy != ask.Snappy || c.info.Deflate != ask.Deflate {
		s.t.Fatalf("asked for %+v, got %+v", ask, c.info)
	}
	return c
}

func (s *layered) subscribe(topic string) *client {
	s.t.Helper()
	c := s.dial()
	c.say("SUB " + topic + " ch\nRDY 500\n")
	c.wants("OK")
	return c
}

// TestLayers has every stack of layers do everything, in a bubble of its own:
// what does not come at once makes the clock move, which is noticed.
func TestLayers(t *testing.T) {
	a := trust(t)
	for name, ask := range stacks(6) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer stuck(t)()
				l := newListener()
				s := &layered{start(t, tlsLimits(a), l), a, t, l, ask}
				begun := time.Now()
				s.many()
				s.large()
				s.small()
				s.alone()
				s.refused()
				if took := time.Since(begun); took > 0 {
					t.Errorf("something was held back for %s", took)
				}
				s.idle()
				s.stopped()
			})
		})
	}
}

// many passes batches through.
func (s *layered) many() {
	p, c := s.dial(), s.subscribe("many")
	bodies := numbered(1500, 200)
	for i := 0; i < len(bodies); i += 500 {
		p.say(mpub("many", bodies[i:i+500]...))
		p.wants("OK")
	}
	var fins []byte
	for i, b := range bodies {
		if fins = append(fins, c.message(b)...); i%100 == 99 {
			c.say(string(fins))
			fins = fins[:0]
		}
	}
	c.say("CLS\n")
	c.wants("CLOSE_WAIT")
	synctest.Wait()
	if n := s.depth("many"); n != 0 {
		s.t.Errorf("%d messages are left", n)
	}
	_, _ = p.conn.Close(), c.conn.Close()
}

// large passes a message through that is larger than every buffer.
func (s *layered) large() {
	p, c := s.dial(), s.subscribe("large")
	var text strings.Builder
	for i := 0; text.Len() < 400_000; i++ {
		fmt.Fprintf(&text, "%x", i*i*i)
	}
	p.say(pub("large", text.String()))
	p.wants("OK")
	c.say(string(c.message(text.String())))
	_, _ = p.conn.Close(), c.conn.Close()
}

// small publishes one by one, without waiting.
func (s *layered) small() {
	p := s.dial()
	const n = 200
	go func() { // ends once all is written
		for _, b := range numbered(n, 20) {
			_, _ = p.Write([]byte(pub("small", b)))
		}
	}()
	for range n {
		p.wants("OK")
	}
	if got := s.depth("small"); got != n {
		s.t.Errorf("%d of %d are there", got, n)
	}
	_ = p.conn.Close()
}

// alone publishes on a consumer's own connection, so that answers and messages
// go together.
func (s *layered) alone() {
	c := s.subscribe("alone")
	for _, b := range numbered(20, 100) {
		c.say(pub("alone", b))
		got := []string{c.read(), c.read()}
		if !(got[0] == "OK" && got[1] == b || got[1] == "OK" && got[0] == b) {
			s.t.Fatalf("%q came, want OK and the message", got)
		}
	}
	_ = c.conn.Close()
}

// refused makes mistakes, with more to come behind them.
func (s *layered) refused() {
	c := s.subscribe("refused")
	c.say("FIN 0123456789abcdef\n")
	c.wants("E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight")
	c.say("HELLO\n" + strings.Repeat("x", 20_000))
	c.wants("E_INVALID invalid command HELLO", "closed")

	p := s.dial()
	p.say(pub("refused", "x") + pub("!", "x"))
	p.wants("OK", `E_BAD_TOPIC PUB topic name "!" is not valid`, "closed")
}

// idle does nothing for a while, answers heartbeats, and then does not.
func (s *layered) idle() {
	for _, dial := range []func() *client{s.dial, func() *client { return s.subscribe("idle") }} {
		c := dial()
		go func() { // ends when all is read
			time.Sleep(10*time.Second + time.Millisecond)
			_, _ = c.Write([]byte(pub("other", "x")))
		}()
		c.wants("OK")
		if c.beats != 10 {
			s.t.Errorf("%d heartbeats came in 10 seconds", c.beats)
		}
		begun := time.Now()
		c.silent = true
		if got := c.read(); got != "closed" && got != "unexpected EOF" { // what is silent is not told
			s.t.Errorf("%q came, want the end", got)
		}
		if took := time.Since(begun); took != 2*time.Second {
			s.t.Errorf("it was let be silent for %s", took)
		}
	}
}

// stopped stops the daemon: what it has answered still comes.
func (s *layered) stopped() {
	p, c := s.dial(), s.subscribe("stopped")
	p.say(strings.Repeat(pub("stopped", "x"), 100))
	synctest.Wait()
	s.dismiss()
	p.wants(slicesRepeat("OK", 100)...)
	p.wants("closed")
	c.wants(slicesRepeat("x", 100)...)
	c.wants("closed")
}

func slicesRepeat(text string, n int) []string {
	return strings.Split(strings.TrimSuffix(strings.Repeat(text+"\n", n), "\n"), "\n")
}

// TestAhead says what is for the first layer right behind IDENTIFY.
func TestAhead(t *testing.T) {
	a := trust(t)
	for name, ask := range stacks(6) {
		if ask.TLSv1 || ask == (protocol.IdentifyRequest{}) {
			continue // TLS is TestAheadTLS's
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer stuck(t)()
				l := newListener()
				start(t, tlsLimits(a), l)
				c := newClient(t, l.dial("c", 4<<20))
				ask.FeatureNegotiation = true
				wire := c.conn
				var ahead bytes.Buffer
				ahead.Write(asking(t, ask))
				c.from, c.to = wire, &ahead
				c.compress(ask.Snappy, ask.DeflateLevel)
				c.say(pub("t", "first") + "SUB t ch\nRDY 1\n")
				if _, err := wire.Write(ahead.Bytes()); err != nil {
					t.Fatal(err)
				}
				_, answer, err := protocol.ReadFrame(wire, nil, 1<<16)
				if err != nil || answer[0] != '{' {
					t.Fatalf("%q, %v", answer, err)
				}
				c.wants("OK", "OK", "OK", "first")
			})
		})
	}
}

// eager is a connection that says something before what is written first, and
// reads the answer to that before what is read first.
type eager struct {
	net.Conn
	first  []byte
	answer []byte
}

func (e *eager) Write(b []byte) (int, error) {
	n := len(e.first)
	k, err := e.Conn.Write(append(e.first, b...))
	e.first = nil
	return max(k-n, 0), err
}

func (e *eager) Read(b []byte) (n int, err error) {
	if e.answer == nil {
		if _, e.answer, err = protocol.ReadFrame(e.Conn, nil, 1<<16); err != nil {
			return 0, err
		}
	}
	return e.Conn.Read(b)
}

// TestAheadTLS says IDENTIFY and TLS's first word with one write.
func TestAheadTLS(t *testing.T) {
	a := trust(t)
	synctest.Test(t, func(t *testing.T) {
		defer stuck(t)()
		l := newListener()
		start(t, tlsLimits(a), l)
		c := newClient(t, l.dial("c", 1<<20))
		e := &eager{Conn: c.conn, first: asking(t, protocol.IdentifyRequest{FeatureNegotiation: true, TLSv1: true, Snappy: true})}
		c.tls = tls.Client(e, a.client)
		if err := c.tls.Handshake(); err != nil {
			t.Fatalf("%v after %q", err, e.answer)
		}
		c.from, c.to, c.r = c.tls, c.tls, bufio.NewReader(c.tls)
		c.wants("OK")
		c.compress(true, 0)
		c.wants("OK")
		c.say(pub("t", "x"))
		c.wants("OK")
	})
}

// TestLayersMemory has many connections that have said a little, as most do: a
// compressor must not stay with each of them, which would be a megabyte.
func TestLayersMemory(t *testing.T) {
	const clients = 100
	a := trust(t)
	for name, most := range map[string]int64{"plain": 40, "snappy": 40, "deflate6": 110, "tls+plain": 110} {
		ask := stacks(6)[name]
		d, addr := loopback(t, tlsLimits(a))
		before := heap()
		all := make([]net.Conn, clients)
		for i := range all {
			var err error
			if all[i], err = net.Dial("tcp", addr); err != nil {
				t.Fatal(err)
			}
			c := newClient(t, all[i])
			c.identify(ask, a.client)
			c.say(pub("t", strings.Repeat("x", 1000)))
			c.wants("OK")
		}
		grown := (heap() - before) / clients >> 10
		t.Logf("%s: %d KiB for each", name, grown)
		if grown > most {
			t.Errorf("%s: a connection costs %d KiB, want %d at most", name, grown, most)
		}
		for _, c := range all {
			_ = c.Close()
		}
		d.disconnected(0)
	}
}
