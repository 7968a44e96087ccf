package lookupd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

const (
	// magicTimeout is how long a connection may take to say which protocol it
	// speaks. Until then it costs us a file descriptor and a goroutine.
	magicTimeout = 10 * time.Second
	// lingerTimeout and lingerBytes bound how long we listen to a peer that
	// has been told an error. Closing while its bytes are unread would reset
	// the connection, and the reset can overtake the error.
	lingerTimeout = time.Second
	lingerBytes   = 1 << 20
	// maxAcceptPause is the longest wait for the machine to have room for a
	// connection again.
	maxAcceptPause = time.Second
)

// peerServer is the TCP face: it holds a conversation with each daemon.
type peerServer struct {
	dir     *directory
	self    protocol.PeerInfo
	timeout time.Duration // silence after which a connection is closed
	log     *slog.Logger
}

// serve answers the connections of l until ctx ends, and returns nil then, or
// until l fails. It closes l and returns when the last conversation is over.
func (p *peerServer) serve(ctx context.Context, l net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	defer closeWith(ctx, l)()

	var pause time.Duration
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			wg.Go(func() { p.handle(ctx, conn) })
		case ctx.Err() != nil:
			return nil
		case passing(err):
			if pause == 0 {
				p.log.Warn("cannot take connections for now", "error", err)
			}
			pause = min(pause+5*time.Millisecond, maxAcceptPause)
			wait(ctx, pause)
		default:
			return fmt.Errorf("accepting daemons on %s: %w", l.Addr(), err)
		}
	}
}

// passing reports whether a failure to accept is likely to pass: the peer gave
// up first, or the machine is out of something that it will have again.
func passing(err error) bool {
	for _, no := range []syscall.Errno{syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// closeWith closes c when ctx ends or when the returned function is called,
// whichever comes first. The function returns when c is closed and nothing is
// left behind.
func closeWith(ctx context.Context, c io.Closer) func() {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = c.Close()
	})
	return func() {
		if !stop() {
			<-done
			return
		}
		_ = c.Close()
	}
}

// handle holds one conversation and closes conn after it.
func (p *peerServer) handle(ctx context.Context, conn net.Conn) {
	defer closeWith(ctx, conn)()

	remote := conn.RemoteAddr().String()
	err := p.converse(conn, remote)
	switch refused, told := errors.AsType[*protocol.Error](err); {
	case ctx.Err() != nil: // we hung up
	case told:
		p.log.Warn("connection refused", "remote", remote, "told", refused)
		linger(conn)
	case err != nil:
		p.log.Warn("connection lost", "remote", remote, "error", err)
	}
}

func (p *peerServer) converse(conn net.Conn, remote string) error {
	_ = conn.SetDeadline(time.Now().Add(magicTimeout))
	var magic [len(protocol.MagicV1)]byte
	if _, err := io.ReadFull(conn, magic[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // a port check
		}
		return fmt.Errorf("reading which protocol it speaks: %w", err)
	}
	s := newSession(conn, conn)
	s.dir, s.self, s.remote, s.log = p.dir, p.self, remote, p.log
	if string(magic[:]) != protocol.MagicV1 {
		refused := protocol.Errorf(protocol.EBadProtocol, "")
		return errors.Join(refused, s.reply([]byte(refused.Error())), s.out.Flush())
	}
	err := s.converse(func() { _ = conn.SetDeadline(time.Now().Add(p.timeout)) })
	s.leave()
	return err
}

// linger reads away what a peer still sends, within bounds, once it has been
// told that this is the end.
func linger(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = conn.SetDeadline(time.Now().Add(lingerTimeout))
	_, _ = io.CopyN(io.Discard, conn, lingerBytes)
}
