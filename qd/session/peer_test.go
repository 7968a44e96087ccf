package session_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// patience is how long a peer waits for what must come at once.
const patience = 20 * time.Second

// peer is a client on a real socket.
type peer struct {
	t testing.TB
	*net.TCPConn
	r *bufio.Reader
}

// connect opens a connection and says the magic. It is closed when the test
// ends, before the daemon stops.
func connect(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	p := &peer{t, c.(*net.TCPConn), bufio.NewReader(c)}
	p.say(protocol.MagicV2)
	return p
}

func (p *peer) say(text string) {
	p.t.Helper()
	_ = p.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(p, text); err != nil {
		p.t.Fatalf("saying %.40q: %v", text, err)
	}
}

// next returns the next frame that is not a heartbeat. A message is its body.
func (p *peer) next() (kind protocol.FrameType, text string, err error) {
	for {
		_ = p.SetReadDeadline(time.Now().Add(patience))
		kind, data, err := protocol.ReadFrame(p.r, nil, 16<<20)
		if err != nil {
			return kind, "", err
		}
		if string(data) == protocol.Heartbeat {
			p.say("NOP\n")
			continue
		}
		return kind, string(data), nil
	}
}

// wants reads frames and compares them, responses and errors by their text and
// messages by their bodies. "closed" is the end of the connection.
func (p *peer) wants(want ...string) {
	p.t.Helper()
	for i, w := range want {
		if got := p.read(); got != w {
			p.t.Fatalf("frame %d is %q, want %q", i+1, got, w)
		}
	}
}

func (p *peer) read() string {
	kind, text, err := p.next()
	switch {
	case errors.Is(err, io.EOF):
		return "closed"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case err != nil:
		return err.Error()
	case kind == protocol.FrameMessage:
		m, err := protocol.ParseMessage([]byte(text))
		if err != nil {
			return err.Error()
		}
		return string(m.Body)
	}
	return text
}

func pub(topic, body string) string {
	return string(protocol.AppendPub(nil, topic, []byte(body)))
}

func mpub(topic string, bodies ...string) string {
	all := make([][]byte, len(bodies))
	for i, b := range bodies {
		all[i] = []byte(b)
	}
	return string(protocol.AppendMPub(nil, topic, all))
}

// numbered returns n bodies, each of size bytes.
func numbered(n, size int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%0*d", size, i)
	}
	return all
}
