package lookupd

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// maxAcceptPause is the longest wait for the machine to have room for a
// connection again.
const maxAcceptPause = time.Second

// peerServer is the TCP face: it holds a conversation with each daemon.
type peerServer struct {
	dir     *directory
	timeout atomic.Int64 // ns of silence after which a daemon's connection is closed
	tls     *tls.Config  // nil is none
	needTLS bool
	policy  access.Policy // nil allows everything
	audit   *audit.Writer // nil: there is no audit log
	log     *slog.Logger
	sparing *httpapi.Sparing // for what anybody on the network can have logged

	// What a peer is told of us: who speaks V1 alone, and who its extension.
	toPlain, toExtended []byte

	connections *limit.Connections
	most        atomic.Pointer[registry.Most] // that a daemon may register

	lobby  lobby
	warned once // of addresses that lead nowhere
	counts *counts
}

func newPeerServer(dir *directory, self protocol.PeerInfo, timeout time.Duration, log *slog.Logger) *peerServer {
	plain := self
	plain.Extended, plain.HTTPSPort = false, 0
	p := &peerServer{
		dir: dir, log: log, sparing: httpapi.NewSparing(log),
		toPlain: describeSelf(plain), toExtended: describeSelf(self),
		counts: newCounts(), connections: limit.NewConnections(0, 0),
	}
	p.most.Store(new(registry.Most))
	p.timeout.Store(int64(timeout))
	return p
}

// patience is the silence after which a daemon's connection is closed.
func (p *peerServer) patience() time.Duration { return time.Duration(p.timeout.Load()) }

// accept hands the connections of l to handle until ctx ends, and returns nil
// then, or until l fails, and returns why. It closes l.
func (p *peerServer) accept(ctx context.Context, l net.Listener, handle func(net.Conn, *stranger)) error {
	var turned sync.WaitGroup
	defer turned.Wait()
	defer l.Close()
	defer whenEnded(ctx, func() { _ = l.Close() })()

	var pause time.Duration
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			if err := p.letIn(conn); err != nil {
				p.connections.TurnAway(&turned, conn, inV1(err))
				continue
			}
			handle(conn, p.lobby.enter(conn)) // here, for their order
		case ctx.Err() != nil:
			return nil
		case passing(err):
			p.sparing.Warn("cannot take connections for now: if files are what is short, raise the limit of open files", "error", err)
			// Strangers must not keep out daemons by what they take of it.
			if !p.lobby.closeOldest(0) {
				pause = min(pause+5*time.Millisecond, maxAcceptPause)
				wait(ctx, pause)
			}
		default:
			return fmt.Errorf("accepting daemons on %s: %w", l.Addr(), err)
		}
	}
}

// letIn counts a connection, which Leaves when it ends, or returns why there is no room for
// it. Strangers must not keep out daemons: they go first.
func (p *peerServer) letIn(conn net.Conn) error {
	from := limit.RemoteOf(conn.RemoteAddr().String())
	err := p.connections.Enter(from, func() bool { return p.lobby.closeOldest(0) })
	if err == nil {
		return nil
	}
	cause := causeFull
	if many, ok := errors.AsType[*limit.TooManyError](err); ok && !many.From.Local() {
		cause = causeAddress
	}
	p.counts.refused.add(cause)
	p.sparing.Warn("connections are refused", "client", from, "error", err)
	return err
}

// inV1 is what a daemon is told that was not let in.
func inV1(why error) []byte {
	text := protocol.Errorf(protocol.EInvalid, "%s", why).Error()
	// #nosec G115 -- a line that we say
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
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

// describeSelf is what peers are told of us.
func describeSelf(self protocol.PeerInfo) []byte {
	data, err := json.Marshal(self)
	if err != nil {
		return []byte(protocol.OK) // what NSQ falls back to
	}
	return data
}

// tendEvery is how often it is looked whether lost daemons are to be forgotten.
const tendEvery = 5 * time.Second

// tend forgets what is to be forgotten, and logs what has been held back, until
// ctx ends.
func (p *peerServer) tend(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, tendEvery)
		p.sparing.Settle()
		p.expire(ctx)
	}
}

// expire forgets what daemons had that have been away for too long.
func (p *peerServer) expire(ctx context.Context) {
	for n := step; n == step && ctx.Err() == nil; {
		p.dir.change(func(r *registry.Registry, now time.Time) { n = r.Expire(now, step) })
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// whenEnded calls f when ctx ends, unless the returned function is called
// before. That one returns when f is not running and will not be.
func whenEnded(ctx context.Context, f func()) (cancel func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}
