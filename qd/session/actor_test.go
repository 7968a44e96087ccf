package session_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/millrace-mq/millrace/protocol"
)

// actor is the client's end of a connection in a conversation.
type actor struct {
	name  string
	trust *tls.Config // of its TLS, which it sets up when that is granted; nil without

	mu     sync.Mutex // guards what follows
	conn   wire
	heard  []heard
	silent bool // does not answer heartbeats, and writes them down instead
	left   bool // has closed the connection
	closed bool // has seen the other end close it
}

// wire is what a net.TCPConn and our own conn have in common.
type wire interface {
	net.Conn
	CloseWrite() error
}

// heard is a frame as it came, or the end of the connection.
type heard struct {
	at   time.Time
	kind protocol.FrameType
	data []byte
	err  error
}

// listen writes down what comes until the connection ends.
func (a *actor) listen() {
	conn := a.wire()
	for {
		kind, data, err := protocol.ReadFrame(conn, nil, 16<<20)
		a.mu.Lock()
		silent, left := a.silent, a.left
		if kind == protocol.FrameResponse && string(data) == protocol.Heartbeat && !silent && err == nil {
			a.mu.Unlock()
			_, _ = conn.Write(protocol.AppendNop(nil))
			continue
		}
		if !left {
			a.heard = append(a.heard, heard{time.Now(), kind, data, err})
		}
		a.closed = err != nil
		if err == nil && a.trust != nil && bytes.Contains(data, []byte(`"tls_v1":true`)) {
			conn = tls.Client(conn, a.trust) // shakes hands when it is first used
			a.conn = conn
		}
		a.mu.Unlock()
		if err != nil {
			_ = conn.Close()
			return
		}
	}
}

func (a *actor) wire() wire {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conn
}

func (a *actor) take() []heard {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.heard
	a.heard = nil
	return all
}

// say writes to the daemon. What the daemon does not read because it has hung
// up meanwhile is lost without an error.
func (a *actor) say(text []byte) error {
	a.mu.Lock()
	gone, conn := a.closed || a.left, a.conn
	a.mu.Unlock()
	if gone {
		return errors.New("the connection has ended")
	}
	_, _ = conn.Write(text)
	return nil
}

func (a *actor) mute() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silent = true
}

func (a *actor) leave() {
	a.mu.Lock()
	a.left = true
	conn := a.conn
	a.mu.Unlock()
	_ = conn.Close()
}

// render writes a frame for people, messages by their bodies.
func (s *stage) render(h heard) string {
	switch {
	case errors.Is(h.err, io.EOF):
		return "closed"
	case h.err != nil:
		return "broken: " + h.err.Error()
	case h.kind == protocol.FrameMessage:
		m, err := protocol.ParseMessage(h.data)
		if err != nil {
			return err.Error()
		}
		body, id := string(m.Body), m.ID.String()
		s.ids[body], s.bodies[id] = id, body
		return fmt.Sprintf("%q attempts=%d", body, m.Attempts)
	}
	text := string(h.data)
	for id, body := range s.bodies {
		text = strings.ReplaceAll(text, id, "<"+body+">")
	}
	if len(text) > 500 {
		text = fmt.Sprintf("%s… (%d bytes)", text[:40], len(text))
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		text = strconv.Quote(text)
	}
	if h.kind == protocol.FrameError {
		return "error " + text
	}
	return text
}

// unseen finds references to messages that have not been delivered.
var unseen = regexp.MustCompile(`<[^>]*>`)

// commands translates what stands in a script into bytes.
func (s *stage) commands(said string) (text []byte, err error) {
	for body, id := range s.ids {
		said = strings.ReplaceAll(said, "<"+body+">", id)
	}
	if unknown := unseen.FindString(said); unknown != "" {
		return nil, fmt.Errorf("nobody has seen %s", unknown)
	}
	for one := range strings.SplitSeq(said, " | ") {
		if text, err = appendCommand(text, one); err != nil {
			return nil, err
		}
	}
	return text, nil
}

func appendCommand(text []byte, one string) ([]byte, error) {
	if json := strings.Index(one, "{"); json >= 0 && strings.HasPrefix(one, "IDENTIFY ") {
		return protocol.AppendIdentify(text, []byte(one[json:])), nil
	}
	line, rest, _ := strings.Cut(one, ` "`)
	bodies, err := quoted(strings.TrimPrefix(one[len(line):], " "), rest != "")
	if err != nil {
		return nil, err
	}
	if line == "RAW" {
		return append(text, bodies[0]...), nil
	}
	text = append(append(text, line...), '\n')
	switch {
	case strings.HasPrefix(line, "MPUB"):
		text = binary.BigEndian.AppendUint32(text, uint32(protocol.BatchSize(bodies)))
		text = protocol.AppendBatch(text, bodies)
	case len(bodies) > 0:
		text = binary.BigEndian.AppendUint32(text, uint32(len(bodies[0])))
		text = append(text, bodies[0]...)
	}
	return text, nil
}

// quoted reads Go strings with spaces between them; "x"*1000 is x a thousand
// times.
func quoted(text string, any bool) (all [][]byte, err error) {
	for any && text != "" {
		q, err := strconv.QuotedPrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		body, err := strconv.Unquote(q)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		text = text[len(q):]
		if times, ok := strings.CutPrefix(text, "*"); ok {
			times, text, _ = strings.Cut(times, " ")
			n, err := strconv.Atoi(times)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", times, err)
			}
			body = strings.Repeat(body, n)
		}
		all = append(all, []byte(body))
		text = strings.TrimPrefix(text, " ")
	}
	return all, nil
}
