package session

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/layer"
)

// handshakeLimit is how long a client may take to set up TLS.
const handshakeLimit = 5 * time.Second

// layers is what lies between a socket and the protocol: TLS if asked for, and
// upon it Snappy or Deflate if asked for.
type layers struct {
	tls    *tls.Conn // nil without TLS
	from   io.Reader // what the topmost layer gives
	to     io.Writer // what it takes
	unpack layer.Reader
	pack   layer.Writer // both nil without compression
}

// brokenError ends a connection on which a layer has met what is not its own.
type brokenError struct {
	doing string
	err   error
}

func (e *brokenError) Error() string { return e.doing + ": " + e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

func isBroken(err error) bool {
	_, ok := errors.AsType[*brokenError](err)
	return ok
}

// isEnd reports whether the client has ended what it sends. Over TLS many do so
// without saying that they do.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// opened reads what TLS has opened, and marks errors that are its own. Above it
// there may be others, which are not.
type opened struct{ *tls.Conn }

func (o opened) Read(b []byte) (int, error) {
	n, err := o.Conn.Read(b)
	if _, socket := errors.AsType[net.Error](err); err == nil || socket || isEnd(err) || errors.Is(err, net.ErrClosed) {
		return n, err
	}
	return n, &brokenError{"TLS", err}
}

// needsTLS refuses a command line, given without its newline, that must not be
// said before TLS is up.
func (s *session) needsTLS(line []byte) error {
	if !s.settings.TLSRequired || s.tls != nil {
		return nil
	}
	name, _, _ := bytes.Cut(bytes.TrimSuffix(line, []byte{'\r'}), []byte{' '})
	if string(name) == "IDENTIFY" {
		return nil
	}
	return protocol.Errorf(protocol.EInvalid, "cannot %s in current state (TLS required)", name)
}

// receive reads once, into the room that input has.
func (s *session) receive() (int, error) {
	if s.unpack != nil {
		// There is no room set aside while there is nothing, so that shrink can
		// do its work on an idle line.
		if err := s.unpack.Await(); err != nil {
			return 0, err
		}
	}
	n, err := s.from.Read(s.in.space())
	if _, ok := errors.AsType[*layer.StreamError](err); ok {
		err = &brokenError{"decompressing", err}
	}
	return n, err
}

// upgrade sends what is pending, the answer to IDENTIFY being last, and sets up
// the layers. Each is confirmed by an OK that goes through it. What
// the client has sent behind IDENTIFY is for the first of them.
func (s *session) upgrade(ctx context.Context, u upgrade) error {
	if !u.tls && !u.snappy && !u.deflate {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	ahead := &ahead{s.conn, s.from, bytes.Clone(s.in.bytes())}
	s.in, s.from = input{}, ahead
	if u.tls {
		if err := s.secure(ctx, ahead); err != nil {
			return err
		}
		if err := s.confirm(); err != nil {
			return err
		}
	}
	if !u.snappy && !u.deflate {
		return nil
	}
	if err := s.compress(ctx, u); err != nil {
		return err
	}
	return s.confirm()
}

func (s *session) confirm() error {
	s.respond(protocol.FrameResponse, protocol.OK)
	return s.flush()
}

// secure shakes hands. The heartbeats wait for it.
func (s *session) secure(ctx context.Context, conn net.Conn) error {
	limit := time.Now().Add(handshakeLimit)
	_ = s.conn.SetReadDeadline(limit)
	_ = s.conn.SetWriteDeadline(limit)
	c := tls.Server(conn, s.settings.TLS)
	if err := c.HandshakeContext(ctx); err != nil {
		// Who has said something else than TLS can be told so; nobody else can.
		if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && e.Conn != nil {
			return protocol.Errorf(protocol.EIdentifyFailed, "IDENTIFY failed %s", err)
		}
		return &brokenError{"TLS handshake", err}
	}
	s.out.deadline = time.Time{}
	_ = s.conn.SetWriteDeadline(time.Time{})
	s.tls, s.from, s.to = c, opened{c}, c
	state := c.ConnectionState()
	s.mu.Lock()
	s.client.TLS = true
	s.client.TLSVersion = versionName(state.Version)
	s.client.TLSCipherSuite = tls.CipherSuiteName(state.CipherSuite)
	s.client.TLSNegotiatedProtocol = state.NegotiatedProtocol
	if len(state.PeerCertificates) > 0 {
		s.client.CommonName = short(state.PeerCertificates[0].Subject.CommonName)
	}
	s.mu.Unlock()
	// However long it took, the client was not silent, and the OK that it waits for
	// comes before a heartbeat.
	s.rights.rules = nil // a certificate may say more
	s.lastHeard = time.Now()
	s.nextBeat = s.lastHeard.Add(s.heartbeat)
	return s.beat(ctx) // arms the deadline anew
}

// versionName is NSQ's name of a version, which has no space.
func versionName(v uint16) string {
	return fmt.Sprintf("TLS1.%d", int(v)-tls.VersionTLS10)
}

func (s *session) compress(ctx context.Context, u upgrade) (err error) {
	if u.snappy {
		s.pack, s.unpack = layer.NewSnappyWriter(s.to), layer.NewSnappyReader(s.from)
	} else {
		if s.pack, err = layer.NewDeflateWriter(s.to, u.level); err != nil {
			return protocol.Errorf(protocol.EIdentifyFailed, "IDENTIFY failed %s", err)
		}
		s.unpack = layer.NewDeflateReader(s.from, func() error { return s.beat(ctx) })
	}
	s.from, s.to = s.unpack, s.pack
	s.mu.Lock()
	s.client.Snappy, s.client.Deflate = u.snappy, u.deflate
	s.mu.Unlock()
	return nil
}

// part ends the layers. politely is set when it is this side that ends the
// connection: then it reads on for a moment. Closing a connection with
// unread bytes resets it, and the client would lose what was sent to it last: an
// error, or the OKs of its publishes.
func (s *session) part(politely bool, err error) {
	if s.pack != nil {
		s.pack.Close()
		s.unpack.Close()
	}
	if s.tls != nil && (politely || isEnd(err)) {
		_ = s.tls.CloseWrite() // within five seconds
	}
	if !politely {
		return
	}
	if c, ok := s.conn.(interface{ CloseWrite() error }); !ok || c.CloseWrite() != nil {
		return
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, _ = io.CopyN(io.Discard, s.conn, 16<<20)
}

// ahead is a connection, or what its topmost layer gives, of which something
// has been read already.
type ahead struct {
	net.Conn
	from  io.Reader
	bytes []byte
}

func (a *ahead) Read(b []byte) (int, error) {
	if len(a.bytes) == 0 {
		return a.from.Read(b)
	}
	n := copy(b, a.bytes)
	a.bytes = a.bytes[n:]
	return n, nil
}
