// Package session speaks protocol V2 with clients: it reads their commands,
// answers them, and sends them messages.
//
// A connection has one goroutine that reads. All commands that one read
// brought are handled together: their publishes are stored under one lock,
// their FINs settled under one lock, their answers written at once. A
// connection that subscribes gets a second goroutine that delivers, and that
// from then on does all writing: it takes a run of messages from the channel
// and writes it as it lies, without delay and without a buffer of its own,
// until the channel has nothing more or the client's credit is used up.
//
// There are no timers: heartbeats are sent when the reader's deadline, armed
// once an interval, passes.
package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/auth"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/limits"
)

// Settings are the limits and defaults that connections have. They mean what
// nsqd's flags of the same names mean.
type Settings struct {
	MaxMsgSize           int // bytes
	MaxBodySize          int // bytes
	MsgTimeout           time.Duration
	MaxMsgTimeout        time.Duration
	MaxReqTimeout        time.Duration
	MaxHeartbeatInterval time.Duration
	MaxRdyCount          int64
	MaxChannelConsumers  int // of a channel; 0 is any number

	// What clients may ask for in IDENTIFY. Messages are never held back to
	// fill a buffer, so these are checked and told but change nothing.
	OutputBufferTimeout    time.Duration
	MinOutputBufferTimeout time.Duration
	MaxOutputBufferTimeout time.Duration
	MaxOutputBufferSize    int

	// TLS is nil if there is none. With TLSRequired a client may say nothing but
	// IDENTIFY before it is up.
	TLS         *tls.Config
	TLSRequired bool
	// Compression that clients may ask for; the level is from 1 to 9.
	Snappy, Deflate bool
	MaxDeflateLevel int

	// Access and Auth say what clients may do; what either allows is allowed. Without
	// both, which are nil then, clients may do everything.
	Access *access.File
	Auth   *auth.Client
	// Failures delays the answers to those who show many wrong secrets; nil makes
	// NewServer make its own.
	Failures *access.Failures

	// Region and Zone are where the daemon is. Clients are told.
	Region, Zone string
}

// The values that nsqd gives a client that does not ask for others.
const (
	defaultHeartbeat        = 30 * time.Second
	defaultOutputBufferSize = 16 << 10
)

// Server serves V2 connections.
type Server struct {
	settings atomic.Pointer[Settings] // for connections to come; never written to
	// Limits are what clients may have of what is there for all. They are set before Accept.
	Limits *limits.Limits
	broker *broker.Broker
	log    *slog.Logger
	// sparing is for what anybody on the network can have logged.
	sparing *httpapi.Sparing

	accepted atomic.Uint64 // connections so far: the number of the last one

	mu       sync.Mutex
	sessions map[uint64]*session // by number
}

// NewServer returns a Server for the topics of b, without limits.
func NewServer(s Settings, b *broker.Broker, log *slog.Logger) *Server {
	if s.Failures == nil {
		s.Failures = new(access.Failures)
	}
	server := &Server{Limits: limits.New(limits.Settings{}, b, log), broker: b, log: log, sparing: httpapi.NewSparing(log), sessions: make(map[uint64]*session)}
	server.SetSettings(s)
	return server
}

// SetSettings replaces the settings for connections that come from now on. Those that
// are there keep what they were told.
func (s *Server) SetSettings(of Settings) { s.settings.Store(&of) }

// Settings are those of connections that come now.
func (s *Server) Settings() Settings { return *s.settings.Load() }

// Accept takes connections from l until ctx ends, and closes l. The
// connections live on until sessions ends: then what they were answered is
// still sent, and they are closed. Accept returns when the last one is. It
// returns nil when ctx ended it.
func (s *Server) Accept(ctx, sessions context.Context, l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.letIn(sessions, &wg, conn)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting connections on %s: %w", l.Addr(), err)
		default: // most likely too many open files: it passes
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("cannot accept a connection", "address", l.Addr(), "error", err, "retry_in", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
}

// Clients describes all connections.
func (s *Server) Clients() []Client {
	s.mu.Lock()
	all := make([]*session, 0, len(s.sessions))
	for _, c := range s.sessions {
		all = append(all, c)
	}
	s.mu.Unlock()
	clients := make([]Client, len(all))
	for i, c := range all {
		clients[i] = c.Client()
	}
	return clients
}

// Disconnect closes the connection with the number that its Client has, as if it
// had been lost: what it holds is ready for others. It does not wait until that has
// been seen to. It returns false if there is no such connection, or none any more.
func (s *Server) Disconnect(connection uint64) bool {
	s.mu.Lock()
	c := s.sessions[connection]
	s.mu.Unlock()
	if c == nil {
		return false
	}
	c.disconnect()
	return true
}

// Recheck has connections look at the access file's rules, which have changed: those
// of consumers that have lost their right end within moments, not at the next
// heartbeat.
func (s *Server) Recheck() {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.sessions))
	s.mu.Unlock()
	for _, c := range all {
		if c.consumes() {
			_ = c.conn.SetReadDeadline(past)
		}
	}
}

// consumes reports whether the client has subscribed. Until then it asks for each
// thing that it does, and a deadline that has passed would end a TLS handshake.
func (s *session) consumes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client.State == protocol.StateSubscribed || s.client.State == protocol.StateClosing
}

// letIn serves a connection if there is room for it.
func (s *Server) letIn(ctx context.Context, wg *sync.WaitGroup, conn net.Conn) {
	all, from := s.Limits.TCP, limit.RemoteOf(conn.RemoteAddr().String())
	if err := all.Enter(from, nil); err != nil {
		s.sparing.Warn("connections are refused", "client", from, "error", err)
		refused := protocol.Errorf(protocol.EInvalid, "%s", err)
		all.TurnAway(wg, conn, protocol.AppendFrame(nil, protocol.FrameError, refused.Error()))
		return
	}
	wg.Go(func() {
		defer all.Leave(from)
		s.serve(ctx, conn)
	})
}

func (s *Server) serve(ctx context.Context, conn net.Conn) {
	c := newSession(s, conn, s.accepted.Add(1))
	s.mu.Lock()
	s.sessions[c.number] = c
	s.mu.Unlock()
	c.run(ctx)
	s.mu.Lock()
	delete(s.sessions, c.number)
	s.mu.Unlock()
}
