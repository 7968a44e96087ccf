package millrace

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// maxAnswer bounds the answer to a command, in bytes: IDENTIFY's, the longest,
// has a few hundred. Whoever claims more is no daemon, and gets no memory.
const maxAnswer = 64 << 10

// maxDialing is how many handshakes a dialer has under way: a lookupd that lists
// daemons by the thousand, dead or invented, must not take all the files that
// the program may open.
const maxDialing = 256

// A dialer makes connections that are greeted: connected, identified, with the
// layers that were asked for, authorized, and subscribed if that is wanted.
type dialer struct {
	dial         Dialer
	timeout      time.Duration
	writeTimeout time.Duration
	heartbeat    time.Duration // 0: not asked for
	identify     protocol.IdentifyRequest
	layers       layers
	secret       string        // for AUTH
	subscribe    []byte        // a command to say last; may be empty
	dialing      chan struct{} // holds a token for each handshake under way
}

// connect dials address and is greeted, within the dialer's timeout once it is its turn.
func (d *dialer) connect(ctx context.Context, address string) (*conn, error) {
	return d.connectAt(ctx, address, "")
}

// connectAt is connect, with the place where a channel is to begin that subscribing
// makes; "" is the one that identify has.
func (d *dialer) connectAt(ctx context.Context, address, place string) (*conn, error) {
	select {
	case d.dialing <- struct{}{}:
		defer func() { <-d.dialing }()
	case <-ctx.Done():
		return nil, fmt.Errorf("connecting to %s: %w", address, context.Cause(ctx))
	}
	late := fmt.Errorf("no answer within %v: %w", d.timeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, late)
	defer cancel()
	nc, err := d.dial(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	// The handshake is stopped by its context through the connection.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	g := greeting{ctx: ctx, dialer: d, place: place, conn: d.newConn(nc, address)}
	err = g.run()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("greeting %s: %w", address, err)
	}
	return g.conn, nil
}

func (d *dialer) newConn(nc net.Conn, address string) *conn {
	c := &conn{
		nc: nc, address: address, writeTimeout: d.writeTimeout, silence: 2 * d.heartbeat,
		kick: make(chan struct{}, 1), dying: make(chan struct{}),
	}
	if c.silence == 0 {
		c.silence = 2 * defaultHeartbeat
	}
	c.stack = stack{from: socket{nc, c}, to: socket{nc, c}}
	return c
}

// greeting is the handshake, before any loop runs. It reads exact frames and
// nothing behind them: what follows may belong to a layer that is not there yet.
type greeting struct {
	ctx    context.Context
	dialer *dialer
	place  string // where a channel is to begin, if not where the dialer has it
	conn   *conn
}

// run goes through NSQ's order: each layer is confirmed by an OK that comes
// through it.
func (g *greeting) run() error {
	c, d := g.conn, g.dialer
	if err := g.identify(); err != nil {
		return err
	}
	if d.layers.tls != nil {
		if !c.info.TLSv1 {
			return mismatch{errors.New("the daemon does not offer TLS, which is asked for: give it a certificate and key, or speak to it without")}
		}
		if err := g.in("the TLS handshake", c.secure(d.layers.tls)); err != nil {
			return orMismatch(err)
		}
		if err := g.confirmed("TLS"); err != nil {
			return orMismatch(err)
		}
	}
	if how := d.layers.granted(&c.info); how != None {
		if err := c.compress(how, c.info.DeflateLevel); err != nil {
			return err
		}
		if err := g.confirmed("compression"); err != nil {
			return err
		}
	}
	if c.info.AuthRequired {
		shows := d.layers.tls != nil && (len(d.layers.tls.Certificates) > 0 || d.layers.tls.GetClientCertificate != nil)
		if d.secret == "" && !shows {
			return errNoSecret
		}
	}
	if c.info.AuthRequired && d.secret != "" { // else the certificate says who we are
		if _, err := g.exchange("AUTH", protocol.AppendAuth(nil, []byte(d.secret))); err != nil {
			return err
		}
	}
	if len(d.subscribe) > 0 {
		if _, err := g.exchange("SUB", d.subscribe); err != nil {
			return err
		}
	}
	c.soon = time.NewTimer(time.Hour)
	c.soon.Stop()
	return nil
}

// orMismatch says of an error of TLS that it is one, if it tells what either side thinks
// of the other. A daemon that does not believe our certificate says so by an alert, which
// in TLS 1.3 comes after the handshake.
func orMismatch(err error) error {
	_, unbelieved := errors.AsType[*tls.CertificateVerificationError](err)
	if e, ok := errors.AsType[*net.OpError](err); unbelieved || ok && e.Op == "remote error" {
		return mismatch{err}
	}
	return err
}

func (g *greeting) identify() error {
	request := g.dialer.identify
	if g.place != "" {
		request.Extension = &protocol.ExtensionRequest{ChannelStart: g.place}
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	c, began := g.conn, time.Now()
	answer, err := g.exchange("IDENTIFY", protocol.AppendIdentify([]byte(protocol.MagicV2), body))
	if err != nil {
		return err
	}
	c.roundTrip = time.Since(began)
	if string(answer) != protocol.OK { // which is all that a daemon of old says, or a sketch of one
		if err := json.Unmarshal(answer, &c.info); err != nil {
			return fmt.Errorf("IDENTIFY: not a daemon's answer, %.40q: %w", answer, err)
		}
	}
	if c.info.MaxRdyCount <= 0 {
		c.info.MaxRdyCount = 2500
	}
	c.info.MaxRdyCount = min(c.info.MaxRdyCount, math.MaxInt32)
	if c.info.MsgTimeout <= 0 {
		c.info.MsgTimeout = time.Minute.Milliseconds()
	}
	c.info.MsgTimeout = min(c.info.MsgTimeout, math.MaxInt64/int64(time.Millisecond))
	c.extension = c.info.Extension
	return nil
}

// exchange writes a command and reads its answer, which is the caller's. An
// error frame is returned as a *protocol.Error.
func (g *greeting) exchange(what string, command []byte) ([]byte, error) {
	if err := g.conn.say(command); err != nil {
		return nil, g.in(what, err)
	}
	return g.answer(what)
}

func (g *greeting) confirmed(what string) error {
	answer, err := g.answer(what)
	if err == nil && string(answer) != protocol.OK {
		err = g.in(what, fmt.Errorf("answered by %.40q instead of %s", answer, protocol.OK))
	}
	return err
}

func (g *greeting) answer(what string) ([]byte, error) {
	for {
		t, data, err := g.conn.readAnswer()
		switch {
		case err != nil:
			return nil, g.in(what, err)
		case t == protocol.FrameError:
			return nil, g.in(what, protocol.ParseError(data))
		case t != protocol.FrameResponse:
			return nil, g.in(what, fmt.Errorf("%w: its answer is a %v", errNotQD, t))
		case string(data) != protocol.Heartbeat:
			return data, nil
		}
		if err := g.conn.say(protocol.AppendNop(nil)); err != nil {
			return nil, g.in(what, err)
		}
	}
}

// in says at which step of the handshake err came. When the handshake's time is
// up, the socket is closed under it: then that is the reason.
func (g *greeting) in(step string, err error) error {
	if err == nil {
		return nil
	}
	if g.ctx.Err() != nil {
		err = context.Cause(g.ctx)
	}
	return fmt.Errorf("%s: %w", step, err)
}

// say writes a command at once.
func (c *conn) say(command []byte) error {
	_, err := c.to.Write(command)
	return err
}

// readAnswer reads one frame. Its data is the caller's.
func (c *conn) readAnswer() (protocol.FrameType, []byte, error) {
	var head [4]byte
	switch _, err := io.ReadFull(c, head[:]); {
	case err == io.EOF:
		return 0, nil, fmt.Errorf("the connection was closed without an answer: %w", err)
	case err != nil:
		return 0, nil, err
	}
	if err := foreign(head); err != nil {
		return 0, nil, err
	}
	t, data, err := protocol.ReadFrame(io.MultiReader(bytes.NewReader(head[:]), c), nil, maxAnswer)
	if err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("the connection was closed in the middle of the answer: %w", err)
	}
	return t, data, err
}

// errNoSecret is a right that is missing, as the daemon's E_UNAUTHORIZED is.
var errNoSecret error = mismatch{errors.New("the daemon requires AUTH: an AuthSecret must be set")}

// errNotQD is what the address of something else earns, such as a lookupd's.
var errNotQD error = mismatch{errors.New("what answers is not a queue daemon's TCP side")}

// foreign tells by the first bytes of an answer, which are a frame's size if it
// is a daemon's, who else gives it.
func foreign(head [4]byte) error {
	size := binary.BigEndian.Uint32(head[:])
	switch {
	case string(head[:]) == "HTTP":
		return fmt.Errorf("%w but an HTTP server: give the daemon's TCP address (port 4150 by default)", errNotQD)
	case (head[0] == 0x15 || head[0] == 0x16) && head[1] == 3: // an alert, or a handshake
		return fmt.Errorf("%w: it speaks TLS from the first byte, and a daemon's TLS begins after IDENTIFY", errNotQD)
	case size < 4 || size > maxAnswer:
		return fmt.Errorf("%w: an answer of %d bytes, not 4 to %d", errNotQD, size, maxAnswer)
	}
	return nil
}
