package null

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// start runs a null broker for the test and returns a way to connect to it.
func start(t *testing.T, size int) (connect func() net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, l, size) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the null broker ended with %v", err)
		}
	})
	return func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
}

func send(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, c net.Conn) (protocol.FrameType, string) {
	t.Helper()
	typ, data, err := protocol.ReadFrame(c, nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return typ, string(data)
}

// Answers come one for each publish, wherever the commands are cut.
func TestAnswers(t *testing.T) {
	wire := []byte(protocol.MagicV2)
	wire = protocol.AppendIdentify(wire, []byte(`{"feature_negotiation":true}`))
	wire = protocol.AppendMPub(wire, "t", [][]byte{[]byte("a"), []byte("F\nF\n")})
	wire = protocol.AppendNop(wire)
	wire = protocol.AppendPub(wire, "t", []byte("x"))
	wire = protocol.AppendSub(wire, "t", "c")
	connect := start(t, 100)
	for cut := range wire {
		c := connect()
		send(t, c, wire[:cut])
		send(t, c, wire[cut:])
		if _, data := read(t, c); !strings.Contains(data, `"version":"`+Version+`"`) {
			t.Fatalf("cut at %d: IDENTIFY was answered %q", cut, data)
		}
		for range 3 {
			if typ, data := read(t, c); typ != protocol.FrameResponse || data != "OK" {
				t.Fatalf("cut at %d: %s %q", cut, typ, data)
			}
		}
		_ = c.Close()
	}
}

func TestRefusals(t *testing.T) {
	connect := start(t, 100)
	for command, code := range map[string]string{
		"GIVE me\n":  protocol.EInvalid,
		"RDY 2501\n": protocol.EInvalid,
		"MPUB t\n\x00\x00\x00\x0a\x00\x00\x00\x02\x00\x00\x00\x01ab": protocol.EBadMessage,
		"PUB t\n\xff\xff\xff\xff":                                    protocol.EBadBody,
	} {
		c := connect()
		send(t, c, []byte(protocol.MagicV2+command))
		if typ, data := read(t, c); typ != protocol.FrameError || !strings.HasPrefix(data, code) {
			t.Errorf("%q: %s %q, want %s", command, typ, data, code)
		}
		if n, err := io.Copy(io.Discard, c); n > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: %d more bytes, %v", command, n, err)
		}
	}
}

// A consumer never has more than its RDY unfinished; FINs renew the credit;
// nothing comes after CLOSE_WAIT.
func TestCredit(t *testing.T) {
	c := start(t, 30)()
	send(t, c, protocol.AppendRdy(protocol.AppendSub([]byte(protocol.MagicV2), "t", "c"), 3))
	if _, data := read(t, c); data != "OK" {
		t.Fatalf("SUB was answered %q", data)
	}
	message := func() (fin []byte) {
		typ, data := read(t, c)
		m, err := protocol.ParseMessage([]byte(data))
		if typ != protocol.FrameMessage || err != nil || len(m.Body) != 30 {
			t.Fatalf("%s %q, %v", typ, data, err)
		}
		return protocol.AppendFin(nil, m.ID)
	}
	fin := message()
	message()
	message()
	// The OK of a publish shows that no fourth message was under way.
	send(t, c, protocol.AppendPub(nil, "t", []byte("x")))
	if _, data := read(t, c); data != "OK" {
		t.Fatalf("%q came without credit", data)
	}
	send(t, c, append(fin, fin...))
	message()
	message()
	send(t, c, protocol.AppendCls(nil))
	if _, data := read(t, c); data != protocol.CloseWait {
		t.Fatalf("CLS was answered %q", data)
	}
	send(t, c, protocol.AppendPub(fin, "t", []byte("x")))
	if _, data := read(t, c); data != "OK" {
		t.Fatalf("%q came after CLOSE_WAIT", data)
	}
}
