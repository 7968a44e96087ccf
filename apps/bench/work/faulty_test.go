package work

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/millrace-mq/millrace/apps/bench/broker"
	"github.com/millrace-mq/millrace/protocol"
)

// faulty is a broker in memory that can be made to do wrong. A channel is a
// cursor into all that its topic was sent.
type faulty struct {
	// copies is how often message i is delivered; nil is once.
	copies func(i int) int
	// refuse answers this command with an error; "" refuses none.
	refuse string
	// silent takes publishes without an answer.
	silent bool
	// secure is its certificate; nil if it has no layers.
	secure *tls.Config

	mu      sync.Mutex
	changed *sync.Cond
	topics  map[string][][]byte // bodies
	cursors map[string]int      // by topic and channel
	ended   bool
}

// start serves until the test ends, and checks that every session has ended.
func (f *faulty) start(t *testing.T) broker.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.changed = sync.NewCond(&f.mu)
	f.topics, f.cursors = map[string][][]byte{}, map[string]int{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f.session(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.locked(func() { f.ended = true })
		wg.Wait()
	})
	return broker.Target{Name: "faulty", TCP: l.Addr().String()}
}

func (f *faulty) locked(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.changed.Broadcast()
}

// session reads commands until the client goes.
func (f *faulty) session(socket net.Conn) {
	c := &peer{Conn: socket, r: socket, w: socket}
	r := bufio.NewReader(c)
	gone := false
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { f.locked(func() { gone = true }); _ = c.Close() }()
	reply := func(t protocol.FrameType, text string) {
		_, _ = c.Write(protocol.AppendFrame(nil, t, text))
	}
	_, _ = r.Discard(len(protocol.MagicV2))
	for {
		text, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		line, fault := protocol.ParseLine(text[:len(text)-1])
		if fault != nil || line.Name == f.refuse {
			reply(protocol.FrameError, "E_INVALID not "+line.Name)
			// To close with something unread is a reset, and the client may lose the
			// error to it.
			_ = socket.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, socket)
			return
		}
		var body []byte
		if line.Body {
			if body, err = readBody(r); err != nil {
				return
			}
		}
		switch line.Verb {
		case protocol.Identify:
			r = f.identify(c, r, body)
		case protocol.Sub:
			topic, channel := string(line.Args[0]), string(line.Args[1])
			reply(protocol.FrameResponse, protocol.OK)
			wg.Go(func() { f.deliver(c, topic, topic+":"+channel, &gone) })
		case protocol.Cls:
			f.locked(func() { gone = true })
			wg.Wait()
			reply(protocol.FrameResponse, protocol.CloseWait)
		case protocol.Pub, protocol.MPub:
			f.publish(string(line.Args[0]), body, line.Verb == protocol.MPub)
			if !f.silent {
				reply(protocol.FrameResponse, protocol.OK)
			}
		}
	}
}

func (f *faulty) publish(topic string, body []byte, batch bool) {
	f.locked(func() {
		if !batch {
			f.topics[topic] = append(f.topics[topic], body)
			return
		}
		for rest := body[4:]; len(rest) > 0; {
			body, rest = protocol.Next(rest)
			f.topics[topic] = append(f.topics[topic], body)
		}
	})
}

// deliver sends what the cursor has not passed.
func (f *faulty) deliver(c io.Writer, topic, cursor string, gone *bool) {
	for {
		f.mu.Lock()
		for !*gone && !f.ended && f.cursors[cursor] >= len(f.topics[topic]) {
			f.changed.Wait()
		}
		if *gone || f.ended {
			f.mu.Unlock()
			return
		}
		i := f.cursors[cursor]
		f.cursors[cursor]++
		body := f.topics[topic][i]
		f.mu.Unlock()
		n := 1
		if f.copies != nil {
			n = f.copies(i)
		}
		for range n {
			_, _ = c.Write(protocol.AppendMessage(nil, 1, 1, uint64(i), body))
		}
	}
}

// readBody reads a size and as many bytes.
func readBody(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, body)
	return body, err
}
