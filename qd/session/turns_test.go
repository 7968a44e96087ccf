package session_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// TestShares has consumers that wait for the same messages: each gets the same
// part of them within a tenth, be they published one by one or in batches.
func TestShares(t *testing.T) {
	for _, c := range []struct{ batch, ready int }{{1, 1}, {1, 20}, {1, 2500}, {10, 2500}, {100, 2500}} {
		t.Run(fmt.Sprintf("batches of %d, RDY %d", c.batch, c.ready), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { share(t, c.batch, c.ready) })
		})
	}
}

func share(t *testing.T, batch, ready int) {
	const consumers, messages = 5, 5000
	l := newListener()
	d := start(t, limits(), l)
	counts := make([]int, consumers)
	var all []*conn
	for i := range counts {
		c := l.dial(fmt.Sprint("c", i), 1<<20)
		tell(t, c, fmt.Sprintf("%sSUB t ch\nRDY %d\n", protocol.MagicV2, ready))
		all = append(all, c)
		go finishAll(c, &counts[i]) // ends with the connection
	}
	p := l.dial("p", 1<<20)
	tell(t, p, protocol.MagicV2)
	bodies := numbered(batch, 20)
	for range messages / batch {
		tell(t, p, mpub("t", bodies...))
		synctest.Wait()
	}
	for _, n := range counts {
		if n < messages/consumers*9/10 || n > messages/consumers*11/10 {
			t.Errorf("%d messages went to %v", messages, counts)
			break
		}
	}
	if d.depth("t") != 0 {
		t.Errorf("%d messages are left", d.depth("t"))
	}
	for _, c := range append(all, p) {
		_ = c.Close()
	}
}

// finishAll finishes what comes, and counts it.
func finishAll(c *conn, n *int) {
	var buf [4096]byte
	for {
		kind, data, err := protocol.ReadFrame(c, buf[:], 1<<20)
		if err != nil {
			return
		}
		if kind == protocol.FrameMessage {
			m, _ := protocol.ParseMessage(data)
			*n++
			_, _ = c.Write(protocol.AppendFin(nil, m.ID))
		}
	}
}

// TestDeafNeighbour has a consumer that waits for messages with others, but
// whose connection is stuck: a heartbeat to it cannot be written. A message
// that comes now must go to somebody else, and at once.
func TestDeafNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room = 1000
		l := newListener()
		d := start(t, limits(), l)
		p := l.dial("p", 1<<20)
		tell(t, p, protocol.MagicV2)

		deaf := l.dial("deaf", room)
		patient := string(protocol.AppendIdentify(nil, []byte(`{"msg_timeout":900000}`)))
		tell(t, deaf, protocol.MagicV2+patient+"SUB t ch\nRDY 2500\n")
		synctest.Wait()
		// What fills the connection but for less than two heartbeats.
		ok, beat := protocol.FrameHeaderSize+len(protocol.OK), protocol.FrameHeaderSize+len(protocol.Heartbeat)
		tell(t, p, pub("t", strings.Repeat("x", room-2*ok-protocol.MessageOverhead-2*beat+1)))
		synctest.Wait()
		hearing := l.dial("hearing", 1<<20)
		tell(t, hearing, protocol.MagicV2+"SUB t ch\nRDY 2500\n")
		synctest.Wait()
		for range 59 {
			time.Sleep(time.Second)
			for _, c := range []*conn{deaf, hearing, p} {
				tell(t, c, "NOP\n")
			}
		}
		time.Sleep(time.Second) // the second heartbeat is under way to the deaf one
		tell(t, hearing, "FIN 00000000000000aa\n")
		synctest.Wait() // so that the deaf one has waited longest
		for i := range 3 {
			tell(t, p, pub("t", "x"))
			synctest.Wait()
			if n := d.heldBy("hearing"); n != i+1 {
				t.Fatalf("of %d messages %d came to the consumer that reads", i+1, n)
			}
		}
		for _, c := range []*conn{deaf, hearing, p} {
			_ = c.Close()
		}
	})
}
