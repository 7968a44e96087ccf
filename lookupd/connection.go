package lookupd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	// strangerTimeout is how long a connection may take to identify itself, in
	// all: TLS, magic and IDENTIFY.
	strangerTimeout = 10 * time.Second
	// lingerTimeout and lingerBytes bound how long we listen to a peer that
	// has been told an error. Closing while its bytes are unread would reset
	// the connection, and the reset can overtake the error.
	lingerTimeout = time.Second
	lingerBytes   = 1 << 20
	// stopGrace is how long a stop waits for a peer to take its last replies.
	stopGrace = time.Second

	tlsHello = 0x16 // the first byte of a TLS connection; V1's magic begins with a space
)

var (
	errTLS   = errors.New("TLS handshake")
	errPlain = protocol.Errorf(protocol.EInvalid, "this lookupd takes daemons over TLS alone: connect with TLS (qd --lookupd-tls), or start lookupd without --tls-required and --tls-client-auth-policy")
)

// connection is a peer's connection, and how long it may take for what it does.
// Its goroutine owns it, but for the deadlines and Close.
type connection struct {
	net.Conn          // as the peer is spoken to: raw, or TLS over it
	raw      net.Conn // as it was accepted
	ctx      context.Context
}

// arm gives the peer the time d for what comes next; none once ctx has ended.
func (c *connection) arm(d time.Duration) {
	_ = c.raw.SetDeadline(time.Now().Add(d))
	if c.ctx.Err() != nil {
		c.hurry() // it may have been called before the deadline was set
	}
}

// hurry has the peer say nothing more. What it was answered is still sent. It
// may be called by anyone, at any time.
func (c *connection) hurry() {
	now := time.Now()
	_ = c.raw.SetReadDeadline(now.Add(-time.Second))
	_ = c.raw.SetWriteDeadline(now.Add(stopGrace))
}

// secured is the state of TLS; nil without.
func (c *connection) secured() *tls.ConnectionState {
	if t, ok := c.Conn.(*tls.Conn); ok {
		state := t.ConnectionState()
		return &state
	}
	return nil
}

// linger reads away what a peer still sends, within bounds, once it has been
// told that this is the end.
func (c *connection) linger() {
	c.arm(lingerTimeout)
	for _, conn := range []net.Conn{c.Conn, c.raw} {
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
	_, _ = io.CopyN(io.Discard, c.raw, lingerBytes)
}

// serve is handle for a connection that was letIn.
func (p *peerServer) serve(ctx context.Context, conn net.Conn, here *stranger) {
	defer p.connections.Leave(limit.RemoteOf(conn.RemoteAddr().String()))
	p.handle(ctx, conn, here)
}

// handle holds one conversation, with one who is in the lobby, and closes conn
// after it.
func (p *peerServer) handle(ctx context.Context, conn net.Conn, here *stranger) {
	p.counts.accepted.Add(1)
	c := &connection{Conn: conn, raw: conn, ctx: ctx}
	defer func() { _ = c.Close() }()
	c.arm(strangerTimeout)
	defer whenEnded(ctx, c.hurry)()
	defer func() { p.lobby.leave(here) }()

	s := session{peerServer: p, ctx: ctx, remote: conn.RemoteAddr(), arm: c.arm, admit: func() bool { return p.lobby.leave(here) }}
	talks, err := p.open(c, &s)
	if talks && err == nil {
		err = s.converse()
	}
	if s.peer != nil {
		s.leave(err)
	}
	if ctx.Err() != nil {
		return // we hung up, and all that was registered goes
	}
	told := p.complain(&s, here, err)
	if told && s.peer != nil {
		here = p.lobby.enter(conn) // or they could become too many
	}
	if told {
		c.linger()
	}
}

// open takes the first bytes of a connection, which tell whether it speaks TLS,
// and the magic. It reports whether there are any: many only look whether the
// port is open. Nothing is allocated for a peer that says nothing.
func (p *peerServer) open(c *connection, s *session) (talks bool, err error) {
	var magic [len(protocol.MagicV1)]byte
	n, err := io.ReadFull(c, magic[:1])
	switch {
	case errors.Is(err, io.EOF):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading the first byte: %w", err)
	case magic[0] == tlsHello && p.tls != nil:
		secured := tls.Server(&begun{Conn: c.raw, first: magic[0]}, p.tls)
		if err := secured.Handshake(); err != nil {
			return true, fmt.Errorf("%w: %w", errTLS, err)
		}
		c.Conn = secured
		n = 0
	}
	if _, err := io.ReadFull(c, magic[n:]); err != nil {
		return true, fmt.Errorf("reading which protocol it speaks: %w", err)
	}
	s.begin(c, access.Of(s.remote.String(), c.secured()))
	switch {
	case string(magic[:]) != protocol.MagicV1:
		return true, fmt.Errorf("it began with %s: %w", spoken(magic[:]), s.refuse(protocol.Errorf(protocol.EBadProtocol, "")))
	case p.needTLS && !s.who.TLS:
		return true, s.refuse(errPlain)
	}
	return true, nil
}

// spoken is what somebody speaks who does not begin as V1 does, for whoever looks for
// the mistake.
func spoken(magic []byte) string {
	if magic[0] == tlsHello {
		return "TLS, and there is no --tls-cert"
	}
	return strconv.QuoteToASCII(string(magic))
}

// begun is a connection whose first byte has been read already.
type begun struct {
	net.Conn
	first byte
	taken bool
}

func (b *begun) Read(p []byte) (int, error) {
	if b.taken || len(p) == 0 {
		return b.Conn.Read(p)
	}
	p[0], b.taken = b.first, true
	return 1, nil
}

// SetWriteDeadline does nothing: TLS would give its farewell five seconds of its own,
// which a stop would wait for. How long a peer has is for connection to say.
func (b *begun) SetWriteDeadline(time.Time) error { return nil }

// complain logs and counts how a conversation ended, if it did not end well, and
// reports whether there is something that the peer should have the time to read.
func (p *peerServer) complain(s *session, here *stranger, err error) (told bool) {
	if err == nil {
		return false
	}
	from := s.remote.String()
	refused, told := errors.AsType[*protocol.Error](err)
	stranger := s.peer == nil
	switch {
	case stranger && !told && !p.lobby.holds(here):
		p.counts.refused.add(causeCrowded)
		p.sparing.Warn("connections that do not say who they are were closed, the oldest first, to have room for daemons: see who opens them",
			"limit", maxStrangers, "client", from)
	case told:
		p.counts.refused.add(causeOf(refused))
		p.sparing.Warn("peer refused", "code", refused.Code, "client", from, "node", s.name(), "reason", clip(strings.Replace(err.Error(), refused.Error(), refused.Loggable(), 1)))
	case errors.Is(err, errLine):
		p.counts.refused.add(causeLine)
		p.sparing.Warn("connection closed: a line without end", "client", from, "node", s.name())
	case errors.Is(err, errTLS):
		p.counts.refused.add(causeTLS)
		p.sparing.Warn("peer refused", "code", "TLS", "client", from, "error", err)
		return true // an alert, which the client may send more before it reads
	case stranger && errors.Is(err, os.ErrDeadlineExceeded):
		p.counts.refused.add(causeSlow)
		p.sparing.Warn("connection closed: it has not said who it is in time", "timeout", strangerTimeout, "client", from)
	case !stranger && errors.Is(err, os.ErrDeadlineExceeded):
		p.counts.refused.add(causeSilent) // that the daemon left, and why, is logged
	case stranger:
		p.sparing.Warn("connection lost before it said who it is", "client", from, "error", err)
	}
	return told
}

// clip is text for the log, of which peers decide how long it is.
func clip(text string) string {
	const most = 300
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
