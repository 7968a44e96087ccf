package lookupd_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/logtest"
	"github.com/millrace-mq/millrace/lookupd"
	"github.com/millrace-mq/millrace/protocol"
)

// journal is a log that can be read while it is written.
type journal struct{ logtest.Lines }

func (j *journal) count(what string) int { return strings.Count(j.String(), what) }

// strangers is how many connections may be in the lobby.
const strangers = 1024

// TestThousandsOfSilentConnections opens many more connections than there is room
// for, and leaves them. Daemons get in all the while, those who were in stay, and
// the log says it once.
func TestThousandsOfSilentConnections(t *testing.T) {
	const silent, daemons = 5000, 20
	const old, young = silent - strangers - daemons, silent - strangers/2
	s := lookupd.DefaultSettings()
	s.TCPAddress, s.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
	var log journal
	d, err := lookupd.Listen(s, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	run(t, d)

	var joined []*peer
	var readersOfOld, readers sync.WaitGroup
	conns := make([]net.Conn, silent)
	ended := make([]bool, silent)
	for i := range silent {
		if i%(silent/daemons) == 0 {
			joined = append(joined, join(t, d, "a"))
		}
		conn, err := net.Dial("tcp", d.TCPAddr().String())
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns[i] = conn
		if i%2 == 1 {
			_, _ = io.WriteString(conn, protocol.MagicV1+"IDENT")
		}
		wg := &readers
		if i < old {
			wg = &readersOfOld
		}
		wg.Go(func() {
			_, err := io.Copy(io.Discard, conn)
			ended[i] = err == nil || !os.IsTimeout(err)
			_ = conn.Close()
		})
	}
	for _, p := range joined {
		p.say("PING")
	}
	// Those for which there is room are the last that came. It may be that the
	// daemon has not taken all of them yet, so it is not known where they begin.
	readersOfOld.Wait()
	for _, conn := range conns[old:] {
		_ = conn.SetReadDeadline(time.Now())
	}
	readers.Wait()
	if slices.Contains(ended[:old], false) {
		t.Error("some that came early were not closed")
	}
	if slices.Contains(ended[young:], true) {
		t.Error("some that came last were closed")
	}
	if n, slow := log.count("say who they are were closed"), log.count("not said who it is in time"); n != 1 || slow != 0 {
		t.Errorf("the log has %d lines of it, and %d of those that were too slow", n, slow)
	}
	if lines := log.count("\n"); lines > 2*daemons+10 {
		t.Errorf("the log has %d lines:\n%.5000s", lines, log.String())
	}
}

// TestTenSecondsToIdentify lets peers take their time in all ways. They have ten
// seconds in all.
func TestTenSecondsToIdentify(t *testing.T) {
	whole := protocol.MagicV1 + identify(identity("a"))
	line := protocol.MagicV1 + "IDENTIFY"
	for name, c := range map[string]struct {
		at   string // said at once
		drip string // said byte by byte, one a second
	}{
		"nothing":            {},
		"a byte":             {at: " "},
		"the magic":          {at: protocol.MagicV1},
		"drops of the magic": {drip: protocol.MagicV1},
		"drops of a line":    {at: line[:6], drip: line[6:]},
		"no end of a line":   {drip: protocol.MagicV1 + strings.Repeat("X", 20)},
		"drops of the size":  {at: line + "\n", drip: "\x00\x00\x01"},
		"drops of the body":  {at: whole[:40], drip: whole[40:60]},
		"pings alone":        {at: protocol.MagicV1, drip: strings.Repeat("PING\n", 4)},
		"what looks like TLS, which is not there": {at: "\x16\x03\x01"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, lookupd.DefaultSettings(), func(b *bubble) {
				p := newPeer(b.t, b.tcp.dial())
				began := time.Now()
				p.send(c.at)
				gone := make(chan time.Duration, 1)
				go func() {
					_, _ = io.Copy(io.Discard, p)
					gone <- time.Since(began)
				}()
				for i := range c.drip {
					time.Sleep(time.Second)
					if _, err := io.WriteString(p, c.drip[i:i+1]); err != nil {
						break
					}
				}
				if took := <-gone; took != 10*time.Second {
					t.Errorf("closed after %s", took)
				}
				b.expectHosts("/nodes", "")
			})
		})
	}
}

// TestALateRefusalIsTold has a peer identify itself just in time, and refused when
// the time is over.
func TestALateRefusalIsTold(t *testing.T) {
	s := lookupd.DefaultSettings()
	s.Policy = &gate{welcome: "nobody", delay: 4 * time.Second}
	inBubble(t, s, func(b *bubble) {
		p := newPeer(b.t, b.tcp.dial())
		time.Sleep(9 * time.Second)
		p.send(protocol.MagicV1 + identify(identity("a")))
		if got := p.reply(); got != "E_UNAUTHORIZED only nobody is welcome" {
			b.t.Errorf("told %s", got)
		}
	})
}

// TestALastMoment identifies itself just in time, and stays.
func TestALastMoment(t *testing.T) {
	inBubble(t, lookupd.DefaultSettings(), func(b *bubble) {
		p := newPeer(b.t, b.tcp.dial())
		time.Sleep(10*time.Second - 1)
		p.identify("a")
		time.Sleep(time.Minute)
		p.say("PING")
	})
}

// TestUnreadReplies has a daemon that asks and does not listen.
func TestUnreadReplies(t *testing.T) {
	s := lookupd.DefaultSettings()
	inBubble(t, s, func(b *bubble) {
		p := b.join("deaf")
		p.send("REGISTER t\nPING\n")
		time.Sleep(s.PeerTimeout - 1)
		b.expectHosts("/lookup?topic=t", "deaf")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		b.expectHosts("/lookup?topic=t", "")
		p.expectEOF()
	})
}

// TestAStopEndsHTTPFirst has an answer under way when a stop comes. It has the
// daemons that there are, who are heard until it has been read.
func TestAStopEndsHTTPFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tcp, web := newPipe(), newPipe()
		d := lookupd.New(lookupd.DefaultSettings(), tcp, web, testLog(t))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		p, client := newPeer(t, tcp.dial()), newPeer(t, web.dial())
		p.identify("a")
		p.say("REGISTER t")
		client.send("GET /lookup?topic=t HTTP/1.1\r\nHost: lookupd\r\n\r\n")
		synctest.Wait()
		stop()
		time.Sleep(time.Second / 2) // of the second that it has
		p.say("PING")
		answer, err := io.ReadAll(client.in)
		if err != nil || !strings.Contains(string(answer), `"broadcast_address":"a"`) {
			t.Errorf("answered %s, %v", answer, err)
		}
		p.expectEOF()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestAStopWaitsForNobodyWhoAsksNothing has HTTP connections that have not sent a
// request when a stop comes.
func TestAStopWaitsForNobodyWhoAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := newPipe()
		d := lookupd.New(lookupd.DefaultSettings(), newPipe(), web, testLog(t))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		silent, begun := newPeer(t, web.dial()), newPeer(t, web.dial())
		begun.send("GET /nodes HT")
		synctest.Wait()
		began := time.Now()
		stop()
		silent.expectEOF()
		begun.expectEOF()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took >= time.Second {
			t.Errorf("the stop took %s", took)
		}
	})
}

// TestAStopAnswersWhatWasSaid ends a lookupd with replies under way, to one who
// takes them and one who does not.
func TestAStopAnswersWhatWasSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tcp := newPipe()
		d := lookupd.New(lookupd.DefaultSettings(), tcp, newPipe(), testLog(t))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		polite, deaf, silent := newPeer(t, tcp.dial()), newPeer(t, tcp.dial()), newPeer(t, tcp.dial())
		for _, p := range []*peer{polite, deaf} {
			p.identify("a")
			p.send("REGISTER t\nPING\nREGISTER u\nREGISTER half")
		}
		synctest.Wait()
		began := time.Now()
		stop()
		synctest.Wait()
		for range 3 {
			if got := polite.reply(); got != "OK" {
				t.Errorf("told %q", got)
			}
		}
		polite.expectEOF()
		silent.expectEOF()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("the stop took %s", took)
		}
	})
}
