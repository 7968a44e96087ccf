package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// wire is a connection of protocol V2 as raw as it gets: the tests that use it
// want to know what was sent, and when, without a client library in between.
type wire struct {
	net.Conn
	r   *bufio.Reader
	buf []byte
}

func newWire(c net.Conn) *wire {
	return &wire{c, bufio.NewReaderSize(c, 64<<10), make([]byte, 4<<10)}
}

// dial connects, and identifies with a message timeout if that is not 0.
func dial(address string, msgTimeout time.Duration) (*wire, error) {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	w := newWire(c)
	body, err := json.Marshal(protocol.IdentifyRequest{ClientID: "e2e", MsgTimeout: int(msgTimeout.Milliseconds())})
	if err == nil {
		err = w.say(protocol.AppendIdentify([]byte("  V2"), body), protocol.OK)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("identifying: %w", err), c.Close())
	}
	return w, nil
}

// say sends a command and wants an answer.
func (w *wire) say(command []byte, answer string) error {
	if _, err := w.Write(command); err != nil {
		return err
	}
	t, data, err := w.frame()
	if err == nil && (t != protocol.FrameResponse || string(data) != answer) {
		err = fmt.Errorf("the answer is %v %q, want %q", t, data, answer)
	}
	return err
}

// subscribe subscribes and asks for messages.
func (w *wire) subscribe(topic, channel string, ready int) error {
	if err := w.say(protocol.AppendSub(nil, topic, channel), protocol.OK); err != nil {
		return err
	}
	_, err := w.Write(protocol.AppendRdy(nil, ready))
	return err
}

// frame reads the next frame that is no heartbeat, which it answers. The data
// are valid until the next one.
func (w *wire) frame() (protocol.FrameType, []byte, error) {
	for {
		t, data, err := protocol.ReadFrame(w.r, w.buf, 2<<20)
		if err != nil || t != protocol.FrameResponse || string(data) != protocol.Heartbeat {
			return t, data, err
		}
		if _, err := w.Write(protocol.AppendNop(nil)); err != nil {
			return t, nil, err
		}
	}
}

// pause waits, and reports whether ctx is still on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// keepTrying calls f again and again, because the daemon is down now and then,
// until ctx ends.
func keepTrying(ctx context.Context, f func(context.Context) error) {
	for ctx.Err() == nil {
		if f(ctx) != nil {
			pause(ctx, 5*time.Millisecond)
		}
	}
}
