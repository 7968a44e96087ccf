package session_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// TestErrorArrives checks that a client learns why it is cut off, though it
// went on sending: a reset would throw the error away.
func TestErrorArrives(t *testing.T) {
	_, addr := loopback(t, limits())
	rubbish := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct{ said, want string }{
		"command": {"HELLO\n", "E_INVALID invalid command HELLO"},
		"name":    {"SUB ! ch\n", `E_BAD_TOPIC SUB topic name "!" is not valid`},
		"size":    {"PUB t\n\xff\xff\xff\xff", "E_BAD_MESSAGE PUB invalid message body size -1"},
		"huge":    {"MPUB t\n\x7f\xff\xff\xff", "E_BAD_BODY MPUB body too big 2147483647 > 5242880"},
		"state":   {"SUB t ch\nSUB t ch\n", "OK"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				p := connect(t, addr)
				go func() { _, _ = io.WriteString(p.TCPConn, c.said+rubbish) }() // ends with the connection
				p.wants(c.want)
				if name == "state" {
					p.wants("E_INVALID cannot SUB in current state")
				}
				_ = p.Close()
			}
		})
	}
}

func TestWrongMagic(t *testing.T) {
	_, addr := loopback(t, limits())
	for _, magic := range []string{"  V1", "HELO", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00", strings.Repeat("\x00", 1<<16)} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, magic); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		all, err := io.ReadAll(c)
		if want := protocol.AppendFrame(nil, protocol.FrameError, "E_BAD_PROTOCOL"); !bytes.Equal(all, want) || err != nil {
			t.Errorf("after %.10q came %q, %v", magic, all, err)
		}
	}
}

// TestEndlessLine sends a line without an end: the connection is closed, and
// nothing is said.
func TestEndlessLine(t *testing.T) {
	_, addr := loopback(t, limits())
	p := connect(t, addr)
	_ = p.SetWriteDeadline(time.Now().Add(patience))
	sent := 0
	for _, err := p.Write(bytes.Repeat([]byte{'x'}, 1<<16)); err == nil; sent++ {
		_, err = p.Write(bytes.Repeat([]byte{'x'}, 1<<16))
	}
	if got := p.read(); got != "closed" && got != "reset" {
		t.Errorf("%d times 64 KiB into a line came %q", sent, got)
	}
}

// TestLongMistake repeats a mistake to who has made it, and not in the log: it may be
// part of a message.
func TestLongMistake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newListener()
		d := startLogged(t, limits(), l, slog.New(slog.NewTextHandler(&log, nil)))
		wrong := strings.Repeat("x", 16_000)
		c := newClient(t, l.dial("c", 1<<20))
		c.say(wrong + "\n")
		c.wants("E_INVALID invalid command "+wrong, "closed")
		d.stop()
		if said := log.String(); !strings.Contains(said, "E_INVALID invalid command (not shown)") || strings.Contains(said, "xx") {
			t.Errorf("logged: %.2000s", said)
		}
	})
}

// TestHalfPublish leaves in the middle of a publish, in each way that there
// is. Nothing of it may be stored, and the topic not even be there.
func TestHalfPublish(t *testing.T) {
	d, addr := loopback(t, limits())
	whole := map[string]string{
		"PUB": pub("half", "0123456789"), "MPUB": mpub("half", "0123456789", "0123456789"),
		"DPUB": string(protocol.AppendDPub(nil, "half", time.Second, []byte("0123456789"))),
	}
	for name, text := range whole {
		for _, cut := range []int{3, strings.Index(text, "\n") + 1, len(text) - 15, len(text) - 1} {
			for _, leave := range []func(p *peer){
				func(p *peer) { _ = p.Close() },
				func(p *peer) { _ = p.SetLinger(0); _ = p.Close() },
				func(p *peer) { _ = p.CloseWrite(); _, _ = io.Copy(io.Discard, p) },
			} {
				p := connect(t, addr)
				p.say(pub("whole", name))
				p.wants("OK")
				p.say(text[:cut])
				leave(p)
			}
		}
	}
	d.disconnected(0)
	if n := d.depth("whole"); n != 3*4*3 {
		t.Errorf("%d whole messages are there, want %d", n, 3*4*3)
	}
	if _, err := d.broker.Find("half"); err == nil {
		t.Errorf("half a publish made a topic, with %d messages", d.depth("half"))
	}
}

// TestClaims has many clients claim large bodies of which nothing comes: what
// the daemon sets aside for them is in proportion to what they sent.
func TestClaims(t *testing.T) {
	const clients = 200
	d, addr := loopback(t, limits())
	before := heap()
	for i := range clients {
		p := connect(t, addr)
		p.say(pub("t", "x"))
		p.wants("OK")
		claim := []string{"PUB t\n", "MPUB t\n", "DPUB t 0\n", "IDENTIFY\n", "AUTH\n"}[i%5]
		size := map[bool]uint32{true: 1 << 20, false: 5 << 20}[claim[0] == 'P' || claim[0] == 'D']
		p.say(claim + string(binary.BigEndian.AppendUint32(nil, size)))
		if claim[0] == 'M' { // the count lies as well
			p.say("\x00\x0f\xff\xff\x00\x0f\xff\xff")
		}
	}
	d.heard(clients)
	// Both ends of 200 connections are in this figure, about 30 KB for each.
	if grown := heap() - before; grown > clients*64<<10 {
		t.Errorf("%d claims cost %d KiB each", clients, grown/clients>>10)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestBatchMemory publishes a large batch of the smallest messages: the lists
// that it takes to store them must not stay with the connection.
func TestBatchMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		d := start(t, limits(), l)
		body := "\x00\x04\x00\x00" + strings.Repeat("\x00\x00\x00\x01x", 1<<18)
		batch := "MPUB t\n" + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
		publish := func() *client {
			p := newClient(t, l.dial("p", 256<<10))
			p.say(batch)
			p.wants("OK")
			if err := d.broker.DeleteTopic("t"); err != nil {
				t.Fatal(err)
			}
			return p
		}
		_ = publish().conn.Close() // leaves the broker with blocks to use again
		synctest.Wait()
		before := heap()
		p := publish()
		time.Sleep(40 * time.Second) // the heartbeat at 30 finds it idle
		synctest.Wait()
		if grown := heap() - before; grown > 3<<20 {
			t.Errorf("an idle connection and no message are left, and %d KiB", grown>>10)
		}
		p.say(pub("t", "x"))
		p.wants("OK")
	})
}

// TestReset resets connections in the middle of what is sent to them. Nothing
// may be lost.
func TestReset(t *testing.T) {
	d, addr := loopback(t, limits())
	p := connect(t, addr)
	bodies := numbered(2000, 5000)
	for i := 0; i < len(bodies); i += 500 {
		p.say(mpub("t", bodies[i:i+500]...))
		p.wants("OK")
	}
	for i := range 20 {
		c := connect(t, addr)
		c.say("SUB t ch\nRDY 2500\n")
		_, _ = io.CopyN(io.Discard, c, int64(1000*i))
		_ = c.SetLinger(0)
		_ = c.Close()
	}
	d.disconnected(1)
	c := connect(t, addr)
	c.say("SUB t ch\nRDY 2500\n")
	c.wants("OK")
	got := map[string]int{}
	for range bodies {
		got[c.read()]++
	}
	for _, b := range bodies {
		if got[b] != 1 {
			t.Fatalf("%.10s… came %d times", b, got[b])
		}
	}
	c.say("NOP\n")
	_ = c.SetLinger(0)
}

// disconnected waits until only n connections are served.
func (d *daemon) disconnected(n int) {
	d.t.Helper()
	d.eventually(fmt.Sprintf("%d connections", n), func() bool { return len(d.server.Clients()) == n })
}

// heard waits until n connections have published.
func (d *daemon) heard(n int) {
	d.t.Helper()
	d.eventually(fmt.Sprintf("%d publishers", n), func() bool {
		got := 0
		for _, c := range d.server.Clients() {
			got += len(c.PubCounts)
		}
		return got == n
	})
}

// eventually waits for something that a socket tells nobody of.
func (d *daemon) eventually(what string, is func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("never were there %s", what)
		}
	}
}
