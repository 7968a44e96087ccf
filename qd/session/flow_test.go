package session_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// transcript says something of every kind on one connection that subscribes
// to what it publishes, and gives what must be answered, in order.
func transcript() (said, answers string) {
	var s, a []byte
	ok := func() { a = protocol.AppendFrame(a, protocol.FrameResponse, protocol.OK) }
	failed := func(text string) { a = protocol.AppendFrame(a, protocol.FrameError, text) }
	id, _ := protocol.ParseID([]byte("00000000000000aa"))

	s = protocol.AppendIdentify(s, []byte(`{"client_id":"x"}`))
	ok()
	for i := range 40 {
		s = protocol.AppendPub(s, fmt.Sprint("topic", i/10), bytes.Repeat([]byte{'p'}, 1+i*100))
		ok()
		if i%7 == 0 {
			s = protocol.AppendNop(s)
			s = protocol.AppendMPub(s, "topic0", [][]byte{{'a'}, bytes.Repeat([]byte{'b'}, 3000), {'\n'}})
			ok()
			s = protocol.AppendDPub(s, "other", time.Hour, []byte("FIN "))
			ok()
		}
	}
	s = protocol.AppendSub(s, "t", "ch")
	ok()
	for i := range 30 {
		s = protocol.AppendFin(s, protocol.FormatID(id))
		failed("E_FIN_FAILED FIN 00000000000000aa failed ID not in flight")
		s = protocol.AppendReq(s, protocol.FormatID(id), time.Second)
		failed("E_REQ_FAILED REQ 00000000000000aa failed ID not in flight")
		s = protocol.AppendRdy(s, i)
		s = protocol.AppendTouch(s, protocol.FormatID(id))
		failed("E_TOUCH_FAILED TOUCH 00000000000000aa failed ID not in flight")
		s = protocol.AppendPub(s, "topic1", []byte("from a consumer"))
		ok()
	}
	s = protocol.AppendCls(s)
	a = protocol.AppendFrame(a, protocol.FrameResponse, protocol.CloseWait)
	s = append(s, "BYE\n"...)
	failed("E_INVALID invalid command BYE")
	return string(s), string(a)
}

// TestCuts sends the same commands in pieces of many sizes, down to a byte:
// the answers are the same.
func TestCuts(t *testing.T) {
	said, answers := transcript()
	for _, piece := range []int{1, 2, 3, 5, 20, 21, 22, 100, 4095, 4096, 4097, 1 << 14, len(said)} {
		t.Run(fmt.Sprint(piece), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newListener()
				d := start(t, limits(), l)
				c := l.dial("c", 1<<20)
				for rest := protocol.MagicV2 + said; rest != ""; {
					n := min(piece, len(rest))
					_, _ = io.WriteString(c, rest[:n])
					rest = rest[n:]
					synctest.Wait() // so that the daemon reads piece by piece
				}
				got, err := io.ReadAll(c)
				if string(got) != answers || err != nil {
					t.Errorf("%d bytes of answers, %v, want %d:\n%q\n%q", len(got), err, len(answers), got, answers)
				}
				_ = c.Close()
				if n := d.depth("topic0"); n != 10+6*3 {
					t.Errorf("topic0 has %d messages, want %d", n, 10+6*3)
				}
			})
		})
	}
}

// TestBurst publishes a great many small messages in one go, without waiting
// for an answer.
func TestBurst(t *testing.T) {
	const n = 200_000
	d, addr := loopback(t, limits())
	p := connect(t, addr)
	one := pub("t", "x")
	go func() { _, _ = io.WriteString(p.TCPConn, strings.Repeat(one, n)) }() // ends with the connection
	want := protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK)
	got := make([]byte, n*len(want))
	_ = p.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(p.r, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, bytes.Repeat(want, n)) {
		t.Error("not every answer is OK")
	}
	if depth := d.depth("t"); depth != n {
		t.Errorf("%d messages are there, want %d", depth, n)
	}
}

// TestDeafConsumer has a consumer that never reads. It is cut off when one
// heartbeat interval has passed, and what was on its way to it goes to others.
func TestDeafConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		d := start(t, limits(), l)
		deaf := l.dial("deaf", 32<<10)
		tell(t, deaf, protocol.MagicV2+`IDENTIFY`+"\n\x00\x00\x00\x1b"+`{"heartbeat_interval":5000}`+"SUB t ch\nRDY 2500\n")
		p := l.dial("p", 64<<20)
		tell(t, p, protocol.MagicV2+mpub("t", numbered(100, 10_000)...))
		synctest.Wait()
		if n := d.broker.InFlight(); n == 0 || n == 100 {
			t.Fatalf("%d of 100 messages are on their way to a client that takes 3", n)
		}
		hearing := l.dial("hearing", 64<<20)
		tell(t, hearing, protocol.MagicV2+"SUB t ch\nRDY 2500\n")
		synctest.Wait()
		// The others are served meanwhile.
		tell(t, p, pub("u", "x"))
		synctest.Wait()
		if d.depth("u") != 1 {
			t.Error("a deaf consumer holds up a publisher")
		}

		// It does send, so that nothing but its deafness can end it.
		for range 10 {
			time.Sleep(time.Second)
			_, _ = deaf.Write(protocol.AppendNop(nil))
		}
		synctest.Wait()
		if n := len(d.server.Clients()); n != 2 {
			t.Errorf("%d connections after two intervals, want 2", n)
		}
		if n := d.broker.InFlight(); n != 100 {
			t.Errorf("%d messages are with the consumer that reads, want all 100", n)
		}
		for _, c := range []*conn{deaf, hearing, p} {
			_ = c.Close()
		}
	})
}

// TestDeafPublisher has clients that send and never read: the daemon stops
// reading from them when it has a certain amount to tell them, and cuts them
// off after a heartbeat interval.
func TestDeafPublisher(t *testing.T) {
	for name, first := range map[string]string{"publisher": "", "consumer": "SUB t ch\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const room = 64 << 10
				l := newListener()
				d := start(t, limits(), l)
				deaf := l.dial("deaf", room)
				tell(t, deaf, protocol.MagicV2+first)
				_ = deaf.SetWriteDeadline(time.Now().Add(2 * time.Minute))
				one := []byte(strings.Repeat("FIN 00000000000000aa\n", 100))
				if first == "" {
					one = []byte(strings.Repeat(pub("u", "x"), 100))
				}
				sent := 0
				for _, err := deaf.Write(one); err == nil; _, err = deaf.Write(one) {
					sent += len(one)
				}
				// 1 MiB of answers may wait, which is three times as long as what
				// they answer; the rest are buffers.
				if sent > 4<<20 {
					t.Errorf("%d bytes were taken from a client that reads nothing", sent)
				}
				synctest.Wait()
				if n := len(d.server.Clients()); n != 0 {
					t.Errorf("it is still connected")
				}
				_ = deaf.Close()
			})
		})
	}
}

func tell(t *testing.T, c *conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}
