package session_test

import (
	"bufio"
	"compress/flate"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/layer"
	"github.com/millrace-mq/millrace/qd/session"
)

// client is the far end of a connection with layers.
type client struct {
	t    testing.TB
	conn net.Conn
	tls  *tls.Conn // nil without
	from io.Reader // the topmost layer
	to   io.Writer
	push func() error // flushes compression
	r    *bufio.Reader
	info protocol.IdentifyResponse

	writing sync.Mutex // heartbeats are answered by who reads

	beats  int
	silent bool // does not answer heartbeats
}

// trusted is an authority, and the settings of a server and of a client that
// have certificates of it.
type trusted struct {
	*securetest.Authority
	server, client *tls.Config
}

func trust(t testing.TB) trusted {
	t.Helper()
	a, err := securetest.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	server, err := a.Pair("server")
	if err != nil {
		t.Fatal(err)
	}
	alice, err := a.Pair("alice")
	if err != nil {
		t.Fatal(err)
	}
	return trusted{
		a, &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: a.Pool()},
		&tls.Config{RootCAs: a.Pool(), ServerName: "server", Certificates: []tls.Certificate{alice}},
	}
}

// tlsLimits are nsqd's defaults, with TLS and compression of every level.
func tlsLimits(a trusted) session.Settings {
	s := limits()
	s.TLS, s.Snappy, s.Deflate, s.MaxDeflateLevel = a.server, true, true, 9
	return s
}

// newClient says the magic on conn.
func newClient(t testing.TB, conn net.Conn) *client {
	t.Helper()
	c := &client{t: t, conn: conn, from: conn, to: conn, push: func() error { return nil }, r: bufio.NewReader(conn)}
	t.Cleanup(func() { _ = conn.Close() })
	c.say(protocol.MagicV2)
	return c
}

// identify asks for layers and sets up those that it gets.
func (c *client) identify(ask protocol.IdentifyRequest, config *tls.Config) {
	c.t.Helper()
	ask.FeatureNegotiation = true
	c.say(string(asking(c.t, ask)))
	c.answered(config)
}

func asking(t testing.TB, ask protocol.IdentifyRequest) []byte {
	t.Helper()
	body, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	return protocol.AppendIdentify(nil, body)
}

// answered reads the answer to IDENTIFY and sets up layers.
func (c *client) answered(config *tls.Config) {
	c.t.Helper()
	text := c.read()
	if err := json.Unmarshal([]byte(text), &c.info); err != nil {
		c.t.Fatalf("IDENTIFY is answered with %q", text)
	}
	if c.info.TLSv1 {
		c.tls = tls.Client(c.conn, config)
		if err := c.tls.Handshake(); err != nil {
			c.t.Fatalf("shaking hands: %v", err)
		}
		c.from, c.to = c.tls, c.tls
		c.r = bufio.NewReader(c.from)
		c.wants(protocol.OK)
	}
	if c.info.Snappy || c.info.Deflate {
		c.compress(c.info.Snappy, c.info.DeflateLevel)
		c.wants(protocol.OK)
	}
}

// compress puts compression on top; deflate is the standard library's.
func (c *client) compress(snappy bool, level int) {
	c.t.Helper()
	if snappy {
		w := layer.NewSnappyWriter(c.to)
		c.from, c.to, c.push = layer.NewSnappyReader(c.r), w, w.Flush
	} else {
		w, err := flate.NewWriter(c.to, level)
		if err != nil {
			c.t.Fatal(err)
		}
		c.from, c.to, c.push = flate.NewReader(c.r), w, w.Flush
	}
	c.r = bufio.NewReaderSize(c.from, 1<<16)
}

func (c *client) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n, err := c.to.Write(b)
	if err == nil {
		err = c.push()
	}
	return n, err
}

func (c *client) say(text string) {
	c.t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		c.t.Fatalf("saying %.40q: %v", text, err)
	}
}

// next returns the next frame that is not a heartbeat, which it answers.
func (c *client) next() (kind protocol.FrameType, data []byte, err error) {
	for {
		kind, data, err = protocol.ReadFrame(c.r, nil, 16<<20)
		if err != nil || string(data) != protocol.Heartbeat {
			return kind, data, err
		}
		if c.beats++; !c.silent {
			_, _ = c.Write([]byte("NOP\n"))
		}
	}
}

// read is the next frame as text: a message is its body, and "closed" the end
// of the connection. TLS must announce the end; Deflate cannot.
func (c *client) read() string {
	kind, data, err := c.next()
	switch {
	case errors.Is(err, io.EOF), c.info.Deflate && errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case err != nil:
		return err.Error()
	case kind == protocol.FrameMessage:
		m, err := protocol.ParseMessage(data)
		if err != nil {
			return err.Error()
		}
		return string(m.Body)
	}
	return string(data)
}

func (c *client) wants(want ...string) {
	c.t.Helper()
	for i, w := range want {
		if got := c.read(); got != w {
			c.t.Fatalf("frame %d is %.100q, want %.100q", i+1, got, w)
		}
	}
}

// message reads a message and returns its FIN.
func (c *client) message(want string) []byte {
	c.t.Helper()
	kind, data, err := c.next()
	if err != nil || kind != protocol.FrameMessage {
		c.t.Fatalf("%s %.100q, %v came in place of a message", kind, data, err)
	}
	m, err := protocol.ParseMessage(data)
	if err != nil || string(m.Body) != want {
		c.t.Fatalf("message %.100q came, want %.100q: %v", m.Body, want, err)
	}
	return protocol.AppendFin(nil, m.ID)
}

// stacks are all combinations of layers, with these levels of deflate. The tests
// have one: levels differ in what package layer does, and are compared there.
func stacks(levels ...int) map[string]protocol.IdentifyRequest {
	all := map[string]protocol.IdentifyRequest{}
	for name, secure := range map[string]bool{"": false, "tls+": true} {
		all[name+"plain"] = protocol.IdentifyRequest{TLSv1: secure}
		all[name+"snappy"] = protocol.IdentifyRequest{TLSv1: secure, Snappy: true}
		for _, level := range levels {
			all[fmt.Sprintf("%sdeflate%d", name, level)] = protocol.IdentifyRequest{TLSv1: secure, Deflate: true, DeflateLevel: level}
		}
	}
	return all
}

// stuck ends the process if a bubble waits for what never comes: its clock
// would run for ever.
func stuck(t testing.TB) (stop func() bool) {
	return time.AfterFunc(time.Hour, func() { panic(t.Name() + " waits for an hour") }).Stop
}
