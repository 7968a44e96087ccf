package session_test

import (
	"bytes"
	"compress/flate"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/layer"
	"github.com/millrace-mq/millrace/qd/session"
)

// TestNegotiation asks for layers in all ways, of daemons with all settings.
func TestNegotiation(t *testing.T) {
	a := trust(t)
	type request = protocol.IdentifyRequest
	type answer = protocol.IdentifyResponse
	both := "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression"
	for name, c := range map[string]struct {
		set     func(*session.Settings)
		ask     request
		want    answer
		refused string
	}{
		"nothing":             {ask: request{}, want: answer{DeflateLevel: 6}},
		"a level alone":       {ask: request{DeflateLevel: 3}, want: answer{DeflateLevel: 6}},
		"a level":             {ask: request{Deflate: true, DeflateLevel: 3}, want: answer{Deflate: true, DeflateLevel: 3}},
		"no level":            {ask: request{Deflate: true}, want: answer{Deflate: true, DeflateLevel: 6}},
		"a negative level":    {ask: request{Deflate: true, DeflateLevel: -2}, want: answer{Deflate: true, DeflateLevel: 6}},
		"too high a level":    {ask: request{Deflate: true, DeflateLevel: 12}, want: answer{Deflate: true, DeflateLevel: 9}},
		"a low limit":         {func(s *session.Settings) { s.MaxDeflateLevel = 2 }, request{Deflate: true}, answer{Deflate: true, DeflateLevel: 2}, ""},
		"both":                {ask: request{Deflate: true, Snappy: true}, refused: both},
		"both, one off":       {func(s *session.Settings) { s.Deflate = false }, request{Deflate: true, Snappy: true}, answer{Snappy: true, DeflateLevel: 6}, ""},
		"both, the other off": {func(s *session.Settings) { s.Snappy = false }, request{Deflate: true, Snappy: true}, answer{Deflate: true, DeflateLevel: 6}, ""},
		"tls":                 {ask: request{TLSv1: true, Snappy: true}, want: answer{TLSv1: true, Snappy: true, DeflateLevel: 6}},
		"no certificates":     {func(s *session.Settings) { s.TLS = nil }, request{TLSv1: true}, answer{DeflateLevel: 6}, ""},
		"a place":             {func(s *session.Settings) { s.Region, s.Zone = "r", "z" }, request{}, answer{DeflateLevel: 6, TopologyRegion: "r", TopologyZone: "z"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer stuck(t)()
				s := tlsLimits(a)
				if c.set != nil {
					c.set(&s)
				}
				l := newListener()
				start(t, s, l)
				p := newClient(t, l.dial("c", 1<<20))
				if c.refused != "" {
					c.ask.FeatureNegotiation = true
					p.say(string(asking(t, c.ask)))
					p.wants(c.refused, "closed")
					return
				}
				p.identify(c.ask, a.client)
				got := answer{
					TLSv1: p.info.TLSv1, Snappy: p.info.Snappy, Deflate: p.info.Deflate, DeflateLevel: p.info.DeflateLevel,
					TopologyRegion: p.info.TopologyRegion, TopologyZone: p.info.TopologyZone,
				}
				if got != c.want {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
				p.say(pub("t", "x"))
				p.wants("OK")
			})
		})
	}
}

// TestIdentifyAgain asks once more for what is there, and for more.
func TestIdentifyAgain(t *testing.T) {
	a := trust(t)
	synctest.Test(t, func(t *testing.T) {
		defer stuck(t)()
		l := newListener()
		d := start(t, tlsLimits(a), l)
		c := newClient(t, l.dial("c", 1<<20))
		c.identify(protocol.IdentifyRequest{TLSv1: true}, a.client)
		c.identify(protocol.IdentifyRequest{TLSv1: true, OutputBufferSize: 4096, ClientID: strings.Repeat("i", 1<<20)}, a.client)
		if c.info.TLSv1 || c.info.OutputBufferSize != 4096 {
			t.Errorf("TLS twice: %+v", c.info)
		}
		c.identify(protocol.IdentifyRequest{TLSv1: true, Snappy: true}, a.client)
		c.identify(protocol.IdentifyRequest{Snappy: true, Deflate: true}, a.client)
		if c.info.TLSv1 || c.info.Snappy || c.info.Deflate {
			t.Errorf("layers upon layers: %+v", c.info)
		}
		c.say("NOP\n" + pub("t", "x"))
		c.wants("OK")
		got := d.server.Clients()[0]
		if !got.TLS || !got.Snappy || got.Deflate || got.TLSVersion != "TLS1.3" || got.CommonName != "alice" ||
			!strings.HasPrefix(got.TLSCipherSuite, "TLS_") {
			t.Errorf("the connection is described as %+v", got)
		}
	})
}

// TestTLSRequired says everything before TLS is up.
func TestTLSRequired(t *testing.T) {
	a := trust(t)
	synctest.Test(t, func(t *testing.T) {
		defer stuck(t)()
		s := tlsLimits(a)
		s.TLSRequired = true
		l := newListener()
		start(t, s, l)
		for name, said := range map[string]string{
			"NOP": "NOP\n", "SUB": "SUB t c\r\n", "PUB": pub("t", "x"), "MPUB": mpub("t", "x"), "DPUB": "DPUB t 0\n",
			"AUTH": "AUTH\n", "RDY": "RDY 1\n", "FIN": "FIN 0123456789abcdef\n", "CLS": "CLS\n", "HELLO": "HELLO\r\n",
		} {
			c := newClient(t, l.dial("c", 1<<20))
			c.identify(protocol.IdentifyRequest{Snappy: true}, nil) // is not refused
			c.say(said)
			c.wants("E_INVALID cannot "+name+" in current state (TLS required)", "closed")
		}
		c := newClient(t, l.dial("c", 1<<20))
		c.identify(protocol.IdentifyRequest{TLSv1: true}, a.client)
		c.say(pub("t", "x"))
		c.wants("OK")
	})
}

// TestHandshakes has clients that ask for TLS and then do something else.
func TestHandshakes(t *testing.T) {
	a := trust(t)
	for name, c := range map[string]struct {
		do   func(t *testing.T, d *daemon, c *client)
		took time.Duration
		log  int // lines about it
	}{
		"silence": {func(_ *testing.T, _ *daemon, c *client) { c.wants("closed") }, 5 * time.Second, 1},
		"half":    {func(_ *testing.T, _ *daemon, c *client) { c.say("\x16\x03\x01\x02\x00\x01"); c.wants("closed") }, 5 * time.Second, 1},
		"text": {func(_ *testing.T, _ *daemon, c *client) {
			c.say("NOP\nNOP\n")
			c.wants("E_IDENTIFY_FAILED IDENTIFY failed tls: first record does not look like a TLS handshake", "closed")
		}, 0, 1},
		"a stop":    {func(_ *testing.T, d *daemon, c *client) { synctest.Wait(); d.dismiss(); c.wants("closed") }, 0, 1},
		"a parting": {func(_ *testing.T, _ *daemon, c *client) { _ = c.conn.Close() }, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer stuck(t)()
				var log bytes.Buffer
				l := newListener()
				d := startLogged(t, tlsLimits(a), l, slog.New(slog.NewTextHandler(&log, nil)))
				p := newClient(t, l.dial("p", 1<<20))
				p.say(string(asking(t, protocol.IdentifyRequest{FeatureNegotiation: true, TLSv1: true, HeartbeatInterval: 1000})))
				if answer := p.read(); answer[0] != '{' {
					t.Fatal(answer)
				}
				begun := time.Now()
				c.do(t, d, p)
				if took := time.Since(begun); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				time.Sleep(time.Second) // for what is done politely
				synctest.Wait()
				if n := strings.Count(log.String(), "connection closed"); n != c.log {
					t.Errorf("%d lines are logged: %s", n, &log)
				}
			})
		})
	}
}

// TestBombs sends streams that have no end and say nothing: little memory, and
// an end after two heartbeats.
func TestBombs(t *testing.T) {
	a := trust(t)
	const padding = "\xfe\xff\xff\x00" // and 65535 bytes
	for name, c := range map[string]struct {
		ask         protocol.IdentifyRequest
		first, more string
		took        time.Duration
		want        string
	}{
		"empty blocks": {protocol.IdentifyRequest{Deflate: true}, "", strings.Repeat("\x00\x00\x00\xff\xff", 1000), 2 * time.Second, "closed"},
		"padding":      {protocol.IdentifyRequest{Snappy: true}, "\xff\x06\x00\x00sNaPpY", padding + strings.Repeat("x", 65535), 2 * time.Second, "closed"},
		"half a block": {protocol.IdentifyRequest{Deflate: true}, deflated("PUB t\n\x00\x00\x00\x02x") + "\x00\x05\x00\xfa\xff", "", 2 * time.Second, "E_BAD_MESSAGE PUB failed to read message body"},
		"half, secure": {protocol.IdentifyRequest{Deflate: true, TLSv1: true}, deflated("PUB t\n\x00\x00\x00\x02x") + "\x00\x05\x00\xfa\xff", "", 2 * time.Second, "E_BAD_MESSAGE PUB failed to read message body"},
		"a line":       {protocol.IdentifyRequest{Deflate: true}, deflated(strings.Repeat("x", 10<<20)), "", 0, "closed"},
		"a claim":      {protocol.IdentifyRequest{Snappy: true}, packed("MPUB t\n\x7f\xff\xff\xff" + strings.Repeat("x", 1<<20)), "", 0, "E_BAD_BODY MPUB body too big 2147483647 > 5242880"},
		"garbage":      {protocol.IdentifyRequest{Snappy: true}, "PUB t\n\x00\x00\x00\x01x", "", 0, "closed"},
		"more garbage": {protocol.IdentifyRequest{Deflate: true}, "PUB t\n\x00\x00\x00\x01x", "", 0, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer stuck(t)()
				var log bytes.Buffer
				l := newListener()
				startLogged(t, tlsLimits(a), l, slog.New(slog.NewTextHandler(&log, nil)))
				p := newClient(t, l.dial("c", 1<<20))
				ask := c.ask
				ask.HeartbeatInterval = 1000
				p.identify(ask, a.client)
				conn := p.conn
				if p.tls != nil {
					conn = p.tls
				}
				before, begun := heap(), time.Now()
				pour(conn, c.first, c.more)
				p.silent = true
				if got := p.read(); got != c.want {
					t.Errorf("%q came, want %q", got, c.want)
				}
				if took := time.Since(begun); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if grown := heap() - before; grown > 4<<20 {
					t.Errorf("it takes %d KiB", grown>>10)
				}
				if n := strings.Count(log.String(), "connection closed"); n != 1 {
					t.Errorf("%d lines are logged: %s", n, &log)
				}
			})
		})
	}
}

// deflated is what a client with Deflate writes.
func deflated(text string) string {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, 6)
	_, _ = io.WriteString(z, text)
	_ = z.Flush()
	return b.String()
}

// packed is what one with Snappy writes.
func packed(text string) string {
	var b bytes.Buffer
	z := layer.NewSnappyWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Flush()
	return b.String()
}

// pour writes first, and then more again and again until the other end hangs
// up. Between two times it waits a little, so that a fake clock can move.
func pour(conn net.Conn, first, more string) {
	go func() { // ends when the connection does
		_, err := io.WriteString(conn, first)
		for more != "" && err == nil {
			time.Sleep(100 * time.Millisecond)
			_, err = io.WriteString(conn, more)
		}
	}()
}
