package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// handshakeTimeout bounds each step before the streaming.
const handshakeTimeout = 10 * time.Second

// conn is a V2 connection that has identified itself. One goroutine at a time
// may read from it; several may write.
type conn struct {
	net.Conn // the socket
	info     protocol.IdentifyResponse

	from io.Reader // what the topmost layer gives
	to   io.Writer // what TLS or the socket takes
	pack flusher   // on top of it; nil without compression

	// packing has writers take turns, which a socket and TLS do by themselves: the
	// answer to a heartbeat may come beside a publish.
	packing sync.Mutex

	// woken is called by a Read that a deadline has ended, which then goes on. If
	// it is nil, the error is returned.
	woken func() error
}

func (c *conn) Read(b []byte) (int, error) { return c.from.Read(b) }

// Write writes b so that the broker gets all of it.
func (c *conn) Write(b []byte) (int, error) {
	if c.pack == nil {
		return c.to.Write(b)
	}
	c.packing.Lock()
	defer c.packing.Unlock()
	n, err := c.pack.Write(b)
	if err == nil {
		err = c.pack.Flush()
	}
	return n, err
}

// Identify connects to the broker at addr, asks what it is, and disconnects.
func Identify(ctx context.Context, addr string) (protocol.IdentifyResponse, error) {
	c, err := dial(ctx, addr, Layers{})
	if err != nil {
		return protocol.IdentifyResponse{}, err
	}
	return c.info, c.Close()
}

// dial connects and identifies with nothing but what every client sends and what
// the layers want, so that the broker's own defaults are measured.
func dial(ctx context.Context, addr string, layers Layers) (*conn, error) {
	d := net.Dialer{Timeout: handshakeTimeout}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	c := &conn{Conn: nc, from: nc, to: nc}
	body, err := json.Marshal(protocol.IdentifyRequest{
		ClientID: "bench", Hostname: "bench", UserAgent: "millrace-bench", FeatureNegotiation: true,
		TLSv1: layers.TLS != nil, Snappy: layers.Snappy, Deflate: layers.Deflate > 0, DeflateLevel: layers.Deflate,
	})
	if err != nil {
		return nil, fmt.Errorf("building IDENTIFY: %w", err)
	}
	answer, err := c.ask(protocol.AppendIdentify([]byte(protocol.MagicV2), body))
	if err == nil {
		err = json.Unmarshal(answer, &c.info)
	}
	if err == nil {
		err = layers.granted(c.info)
	}
	if err == nil {
		err = c.upgrade(ctx, layers)
	}
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("identifying to %s: %w", addr, err)
	}
	return c, nil
}

// ask sends a command, unless it is empty, and returns the data of the next frame
// that is no heartbeat.
func (c *conn) ask(command []byte) ([]byte, error) {
	_ = c.SetDeadline(time.Now().Add(handshakeTimeout))
	defer func() { _ = c.SetDeadline(time.Time{}) }()
	if len(command) > 0 {
		if _, err := c.Write(command); err != nil {
			return nil, err
		}
	}
	for {
		t, data, err := protocol.ReadFrame(c, nil, maxFrame)
		switch {
		case err != nil:
			return nil, err
		case t == protocol.FrameError:
			return nil, refused(data)
		case t != protocol.FrameResponse:
			return nil, fmt.Errorf("the broker sent a %s where a response was due", t)
		case string(data) != protocol.Heartbeat:
			return data, nil
		}
	}
}

// refused turns the data of an error frame into what the user is told.
func refused(data []byte) error {
	return fmt.Errorf("the broker answered %w", protocol.ParseError(data))
}

// during closes the connection when ctx ends, which wakes whoever reads or
// writes it. The returned function ends the watch and the connection.
func (c *conn) during(ctx context.Context) (end func()) {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return func() {
		stop()
		_ = c.Close()
	}
}

// lastWords returns why a write failed: the error frame that a broker sends
// before it closes, if there is one, rather than the broken write.
func (c *conn) lastWords(f *frames, broken error) error {
	c.woken = nil
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	for {
		for t, data, ok := f.next(); ok; t, data, ok = f.next() {
			if t == protocol.FrameError {
				return refused(data)
			}
		}
		if f.fill() != nil {
			return broken
		}
	}
}

// because returns why a connection failed: the end of ctx, which closes it,
// before whatever the socket said about that.
func because(ctx context.Context, err error, doing string) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if isRefusal(err) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: the connection broke: %w", doing, err)
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*protocol.Error](err)
	return ok || errors.Is(err, errAnswer)
}
