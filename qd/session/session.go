package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
)

// session is one V2 connection.
type session struct {
	server   *Server
	settings *Settings // as they were when it came
	conn     net.Conn
	log      *slog.Logger
	layers   // between conn and the protocol; they change only before SUB

	// Owned by the reading goroutine.
	in        input
	state     protocol.State
	heartbeat time.Duration // 0 is off
	lastHeard time.Time     // when the last whole command had come
	nextBeat  time.Time
	heard     bool // a command has come since lastHeard
	active    bool // one that was no NOP
	topic     *broker.Topic
	pubs      publishes
	fins      []uint64
	consumer  *broker.Consumer // nil before SUB
	credit    int              // that RDY gave it last
	delivered chan struct{}    // closed when the delivering goroutine has ended
	limits    identified
	rights    rights

	out output

	number     uint64       // never another's of the server
	lastActive atomic.Int64 // when the last commands but NOPs had been carried out, ns since the Unix epoch

	mu     sync.Mutex // guards client
	client Client
}

// identified is what IDENTIFY can change.
type identified struct {
	msgTimeout    time.Duration
	bufferSize    int
	bufferTimeout time.Duration
	extended      bool          // the client speaks the extension
	start         *broker.Place // where a channel begins that SUB makes; nil is NSQ's rule
}

// errSilent ends a connection that has not said anything for two heartbeats.
var errSilent = errors.New("no command within two heartbeats")

// errLine ends a connection whose command line has no end.
var errLine = errors.New("command line too long")

// past is a deadline that wakes a read at once.
var past = time.Unix(1, 0)

const (
	// grace is how long a client is given to read what is still sent to it when
	// its connection ends.
	grace = 5 * time.Second
	// stopGrace is likewise when all connections end: docker kills ten seconds after
	// SIGTERM, of which a drain and a stop take seven at their defaults, and what is
	// to be written to disk comes last.
	stopGrace = time.Second
)

func newSession(s *Server, conn net.Conn, number uint64) *session {
	now, settings := time.Now(), s.settings.Load()
	c := &session{
		server:   s,
		settings: settings,
		number:   number,
		conn:     conn,
		layers:   layers{from: conn, to: conn},
		log:      s.log.With("client", conn.RemoteAddr().String()),
		state:    protocol.StateInit,
		limits: identified{
			msgTimeout: settings.MsgTimeout, bufferSize: defaultOutputBufferSize, bufferTimeout: settings.OutputBufferTimeout,
		},
		heartbeat: defaultHeartbeat,
		lastHeard: now,
		nextBeat:  now.Add(2 * defaultHeartbeat), // none before the magic
		out:       output{drained: make(chan struct{}, 1), patience: defaultHeartbeat},
		client: Client{
			RemoteAddress: conn.RemoteAddr().String(), State: protocol.StateInit, Connected: now, MsgTimeout: settings.MsgTimeout,
			Connection: number,
		},
	}
	c.lastActive.Store(now.UnixNano())
	return c
}

// Client describes the connection.
func (s *session) Client() Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.client
	c.PubCounts = maps.Clone(c.PubCounts)
	c.LastActive = time.Unix(0, s.lastActive.Load())
	return c
}

// disconnect ends the connection at once, whatever it is at: run sees it as lost.
// A client that does not read would take long to hear of it, since what it has
// been sent comes before: so that is thrown away.
func (s *session) disconnect() {
	s.log.Info("closing a client's connection, as was asked for")
	if c, ok := s.conn.(interface{ SetLinger(sec int) error }); ok {
		_ = c.SetLinger(0)
	}
	_ = s.conn.Close()
}

// run serves the connection until either side ends it or ctx does.
func (s *session) run(ctx context.Context) {
	ctx = audit.NewContext(ctx, s)
	// For a client that does not read what it is sent when ctx has ended.
	cut := time.AfterFunc(time.Hour, func() { _ = s.conn.Close() })
	cut.Stop()
	defer cut.Stop()
	// A read under way is woken by its deadline. The reader looks at ctx after
	// each time that it sets the deadline, so it cannot miss this.
	defer context.AfterFunc(ctx, func() {
		_ = s.conn.SetReadDeadline(past)
		cut.Reset(stopGrace)
	})()
	s.log.Debug("connected")
	err := s.converse(ctx)
	refused, ok := errors.AsType[*protocol.Error](err)
	if ok {
		s.respond(protocol.FrameError, refused.Error())
	}
	s.finish()
	s.part(ok || ctx.Err() != nil, err)
	_ = s.conn.Close()
	switch {
	case ok && refused.Draining(): // of each publisher, and again until it has gone elsewhere
		s.log.Debug("connection closed: draining")
	case ok && refused.RetryAfter() > 0: // the limits say so once a minute
		s.log.Debug("connection closed: it publishes too fast", "error", short(refused.Error()))
	case ok:
		s.log.Warn("connection closed after an error", "error", short(refused.Loggable()))
	case errors.Is(err, errSilent), errors.Is(err, errLine), isBroken(err):
		s.log.Info("connection closed", "reason", err)
	default:
		s.log.Debug("disconnected", "reason", err)
	}
}

// converse reads and carries out commands until one of them, or the
// connection, fails.
func (s *session) converse(ctx context.Context) error {
	if err := s.magic(ctx); err != nil {
		return err
	}
	for {
		var err error
		for more := true; more && err == nil; {
			more, err = s.next(ctx)
		}
		// What came before a bad command is carried out, and answered first.
		if failed := s.commit(ctx); failed != nil {
			return failed
		}
		if err != nil {
			return err
		}
		if err := s.flush(); err != nil {
			return err
		}
		if err := s.fill(ctx); err != nil {
			if half := s.halfCommand(); half != nil && (isEnd(err) || err == errSilent) {
				return half
			}
			return err
		}
	}
}

func (s *session) magic(ctx context.Context) error {
	if err := s.beat(ctx); err != nil { // arms the deadline
		return err
	}
	for s.in.buffered() < len(protocol.MagicV2) {
		if err := s.fill(ctx); err != nil {
			return err
		}
	}
	if string(s.in.take(len(protocol.MagicV2))) != protocol.MagicV2 {
		return &protocol.Error{Code: protocol.EBadProtocol}
	}
	s.lastHeard = time.Now()
	s.nextBeat = s.lastHeard.Add(s.heartbeat)
	return s.beat(ctx)
}

// fill reads more of what the client sends, and sends the heartbeats that
// become due meanwhile.
func (s *session) fill(ctx context.Context) error {
	if s.heard {
		s.heard, s.lastHeard = false, time.Now()
		if s.active {
			s.active = false
			s.lastActive.Store(s.lastHeard.UnixNano())
		}
	}
	for {
		n, err := s.receive()
		if n > 0 {
			s.in.filled(n)
			if s.guarded() {
				s.rights.at = time.Now()
			}
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err == nil {
				err = io.ErrNoProgress
			}
			return err
		}
		s.shrink()
		if err := s.beat(ctx); err != nil {
			return err
		}
	}
}

// beat sends a heartbeat if one is due, and arms the deadline for the next.
func (s *session) beat(ctx context.Context) error {
	now := time.Now()
	deadline := time.Time{}
	if s.heartbeat > 0 {
		silence := s.lastHeard.Add(2 * s.heartbeat)
		if !now.Before(silence) {
			return errSilent
		}
		if !now.Before(s.nextBeat) {
			s.nextBeat = now.Add(s.heartbeat)
			if err := s.recheck(ctx, now); err != nil {
				return err
			}
			s.respond(protocol.FrameResponse, protocol.Heartbeat)
			s.out.beat()
			if err := s.flush(); err != nil {
				return err
			}
		}
		deadline = s.nextBeat
		if silence.Before(deadline) {
			deadline = silence
		}
	}
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	// Who ends ctx or changes the rules moves the deadline, so these are looked at after
	// it has been set.
	if err := s.mayStay(now); err != nil {
		return err
	}
	return ctx.Err()
}

// shrink gives up the memory that an idle connection does not need: a batch of
// a million messages must not cost a list of a million for ever.
func (s *session) shrink() {
	s.in.shrink()
	s.fins, s.pubs.bodies, s.pubs.later = nil, nil, nil // all empty: commit comes before every read
}

// finish sends what is still to be sent and lets go of everything that the
// connection holds.
func (s *session) finish() {
	s.rights.abandon()
	if s.consumer == nil {
		s.out.patience, s.out.deadline = grace, time.Time{}
		_ = s.flush()
		return
	}
	s.out.end()
	_ = s.conn.SetWriteDeadline(time.Now().Add(grace))
	s.consumer.Wake()
	<-s.delivered
	if err := s.consumer.Close(); err != nil {
		s.log.Error("cannot leave the channel", "topic", s.consumer.Topic(), "channel", s.consumer.Channel(), "error", err)
	}
}
