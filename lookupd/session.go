package lookupd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// session is a conversation in V1 after the magic, on one connection. Its
// goroutine owns it.
type session struct {
	*peerServer
	ctx    context.Context // ends when the lookupd stops
	remote net.Addr
	who    access.Who
	rules  *access.Rules       // by which it was found that the peer may register
	arm    func(time.Duration) // gives the peer that time for its next command
	admit  func() bool         // takes the connection out of the lobby; false if it has been closed

	in       *bufio.Reader
	out      *bufio.Writer
	peer     *registry.Peer // nil until IDENTIFY
	extended bool           // V1's extension is spoken
	revived  time.Time      // when it was heard of although it had been superseded, until that is looked into

	refusedBy *registry.Most // by which it was refused registrations that it has not been asked for again; nil if none
	madeRoom  bool           // it has unregistered something since
}

// command is one of V1's. Every one has one reply, and every error ends the
// conversation; one that is told to the peer is a *protocol.Error.
type command struct {
	identified bool // legal after IDENTIFY alone
	extended   bool // there only in the extension
	run        func(s *session, args []string) ([]byte, error)
}

// commands is protocol V1: what may be said.
var commands = map[string]command{
	"IDENTIFY":   {run: (*session).identify},
	"PING":       {run: (*session).ping},
	"REGISTER":   {identified: true, run: (*session).register},
	"UNREGISTER": {identified: true, run: (*session).unregister},
	"STATE":      {extended: true, run: (*session).state},
	"SYNCED":     {extended: true, run: (*session).synced},
}

const (
	// step is how many registrations are taken apart under one lock: a fraction
	// of a millisecond's work.
	step = 500
	// policyTimeout is how long a policy may take to decide: less than a peer has,
	// so that it can still be told.
	policyTimeout = 5 * time.Second
	// bufferSize is what a connection reads and writes at once, in bytes. A
	// command has a hundred or so.
	bufferSize = 4 << 10
)

var (
	replyOK     = []byte(protocol.OK)
	replyResync = []byte(protocol.Resync)

	errCrowded = errors.New("closed to make room")
)

// begin has the session speak on conn with who. Replies are written when conn is
// next read, so that a daemon which sends its registrations without waiting gets
// the replies to all that one read brought in one write.
func (s *session) begin(conn io.ReadWriter, who access.Who) {
	s.who = who
	s.out = bufio.NewWriterSize(conn, bufferSize)
	s.in = bufio.NewReaderSize(flushFirst{conn, s.out}, bufferSize)
}

// converse carries on the conversation until an end of it: err is nil when the
// peer hung up between two commands, and a *protocol.Error when it was told
// one. Until it has identified itself the peer has no more time than it had.
func (s *session) converse() error {
	for {
		if s.peer != nil {
			s.arm(s.patience())
		}
		line, err := readLine(s.in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := s.answer(line)
		if refused, told := errors.AsType[*protocol.Error](err); told {
			return s.refuse(refused)
		}
		if err != nil {
			return err
		}
		if err := s.reply(data); err != nil {
			return err
		}
	}
}

func (s *session) answer(line []byte) ([]byte, error) {
	name, args := splitLine(line)
	command, known := commands[name]
	if !known || command.extended && !s.extended {
		s.counts.commands.add(otherCommand)
		return nil, protocol.Errorf(protocol.EInvalid, "invalid command %s", name)
	}
	s.counts.commands.add(name)
	if command.identified && s.peer == nil {
		return nil, protocol.Errorf(protocol.EInvalid, "client must IDENTIFY")
	}
	if s.peer != nil {
		if err := s.remains(name); err != nil {
			return nil, err
		}
	}
	return command.run(s, args)
}

func (s *session) reply(data []byte) error {
	// #nosec G115 -- an answer is bounded far below 4 GiB
	_, err := s.out.Write(binary.BigEndian.AppendUint32(s.out.AvailableBuffer(), uint32(len(data))))
	if err == nil {
		_, err = s.out.Write(data)
	}
	if err != nil {
		return fmt.Errorf("writing a reply: %w", err)
	}
	return nil
}

// refuse tells the peer an error, and returns it. A policy may have taken what was
// left of the peer's time, so this has its own.
func (s *session) refuse(refused *protocol.Error) error {
	s.arm(lingerTimeout)
	return errors.Join(refused, s.reply([]byte(refused.Error())), s.out.Flush())
}

// change changes the registry at a command of the peer's, which so has been
// heard of.
func (s *session) change(f func(r *registry.Registry)) {
	var twin bool
	s.dir.change(func(r *registry.Registry, now time.Time) {
		if r.Seen(s.peer, now) {
			s.revived = now
		}
		if !s.revived.IsZero() && now.Sub(s.revived) >= minPeerTimeout {
			twin, s.revived = r.HasTwin(s.peer, s.revived), time.Time{}
		}
		f(r)
	})
	if twin && s.warned.first("shared "+s.peer.String()) {
		s.log.Warn("a daemon goes on although another connection says that it is the same one: if two run on copies of one data path, "+
			"give each a data path of its own, or at least a --broadcast-address",
			"node", s.peer, "client", s.who.Remote, "instance", s.peer.Info.Instance)
	}
}

func (s *session) identify([]string) ([]byte, error) {
	if s.peer != nil {
		return nil, protocol.Errorf(protocol.EInvalid, "cannot IDENTIFY again")
	}
	info, token, err := readIdentify(s.in)
	if err != nil {
		return nil, err
	}
	s.who.Secret = token
	if err := s.allowed(); err != nil {
		return nil, err
	}
	if !s.admit() {
		return nil, errCrowded
	}
	s.extended = info.Extended
	s.dir.change(func(r *registry.Registry, now time.Time) { s.peer = r.Join(info, s.who.Remote, now) })
	s.joined(info)
	if s.extended {
		return s.toExtended, nil
	}
	return s.toPlain, nil
}

// allowed is nil if the peer may register; else what it is told.
func (s *session) allowed() error {
	ctx, cancel := context.WithTimeout(s.ctx, policyTimeout)
	defer cancel()
	s.rules = s.currentRules()
	if err := access.Ask(ctx, s.policy, s.who, access.Register, "", ""); err != nil {
		return protocol.Errorf(protocol.EUnauthorized, "%s", access.Reason(err))
	}
	return nil
}

// currentRules are those of the access file; nil without one.
func (s *session) currentRules() *access.Rules {
	if f, ok := s.policy.(*access.File); ok {
		return f.Rules()
	}
	return nil
}

// remains is allowed for a peer that has identified itself: it asks again when the
// rules have changed, and at each PING, for its token may have expired.
func (s *session) remains(command string) error {
	rules := s.currentRules()
	if rules == nil || rules == s.rules && command != "PING" {
		return nil
	}
	return s.allowed()
}

// joined logs that the daemon is here, and what is odd about it.
func (s *session) joined(info protocol.PeerInfo) {
	s.gauge(+1)
	s.tell("join", "version "+info.Version)
	s.log.Info("daemon joined", "node", s.peer, "client", s.who.Remote, "version", info.Version, "extended", s.extended, "tls", s.who.TLS)
	from, other := elsewhere(s.remote)
	if other && loopback(info.BroadcastAddress) && s.warned.first(from+" "+info.BroadcastAddress) {
		s.log.Warn("a daemon on another machine says that it is on this one, so consumers elsewhere will not find it: give it a --broadcast-address",
			"node", s.peer, "client", from)
	}
}

// gauge counts the daemon's connection, in or out.
func (s *session) gauge(n int64) {
	kind := &s.counts.plain
	if s.extended {
		kind = &s.counts.extended
	}
	kind.Add(n)
	if s.who.TLS {
		s.counts.tls.Add(n)
	}
}

func (s *session) ping([]string) ([]byte, error) {
	if s.peer == nil {
		return replyOK, nil
	}
	var resync bool
	s.change(func(r *registry.Registry) { resync = r.Resync(s.peer) })
	roomy := s.mayHaveRoom()
	if !resync && !roomy {
		return replyOK, nil
	}
	s.counts.resyncs.Add(1)
	why := "somebody else has changed it"
	if !resync {
		why = "there may be room for what it was refused"
	}
	s.log.Info("asking a daemon for all that it has", "node", s.peer, "reason", why)
	return replyResync, nil
}

// mayHaveRoom reports, once, whether registrations that were refused may be taken now, which
// nobody but us knows: the daemon does not say them again by itself.
func (s *session) mayHaveRoom() bool {
	if !s.extended || s.refusedBy == nil || !s.madeRoom && *s.refusedBy == *s.most.Load() {
		return false
	}
	s.refusedBy, s.madeRoom = nil, false
	return true
}

func (s *session) register(args []string) ([]byte, error) {
	a, err := parseRegistration("REGISTER", args, s.extended)
	if err != nil {
		return nil, err
	}
	var news bool
	var over registry.Excess
	most := s.most.Load()
	s.change(func(r *registry.Registry) {
		if over = r.Over(s.peer, a, *most); over == registry.None {
			news = r.Register(s.peer, a)
		}
	})
	if over != registry.None {
		s.refusedBy = most
		return s.tooMany(a, *most, over), nil
	}
	if news {
		s.log.Debug("registered", "node", s.peer, "topic", a.Topic, "channel", a.Channel, "generation", a.Generation, "paused", a.Paused)
	}
	return replyOK, nil
}

// tooMany is the reply to a registration that is not taken. The conversation goes on, for
// the daemon would begin it anew, with all that it has.
func (s *session) tooMany(a registry.Registration, most registry.Most, over registry.Excess) []byte {
	s.counts.refusedRegistrations.Add(1)
	s.sparing.Warn("a daemon has registered as much as it may: consumers do not find the rest there", "node", s.peer, "topic", a.Topic, "channel", a.Channel)
	if over == registry.Topics {
		return []byte(protocol.Errorf(protocol.ETooMany, "REGISTER topic %s: the daemon has registered %d topics (producer-max-topics)", a.Topic, most.Topics).Error())
	}
	return []byte(protocol.Errorf(protocol.ETooMany, "REGISTER topic %s channel %s: the daemon has registered %d channels of it (producer-max-channels)",
		a.Topic, a.Channel, most.Channels).Error())
}

func (s *session) unregister(args []string) ([]byte, error) {
	a, err := parseRegistration("UNREGISTER", args, s.extended)
	if err != nil {
		return nil, err
	}
	var had bool
	s.change(func(r *registry.Registry) { had = r.Unregister(s.peer, a.Topic, a.Channel, a.Generation) })
	if had {
		s.madeRoom = s.refusedBy != nil
		s.log.Debug("unregistered", "node", s.peer, "topic", a.Topic, "channel", a.Channel, "generation", a.Generation)
	}
	return replyOK, nil
}

func (s *session) state(args []string) ([]byte, error) {
	state := protocol.PeerState(strings.Join(args, " "))
	if !state.Valid() {
		return nil, protocol.Errorf(protocol.EInvalid, "STATE %s is none of ready, draining and failing", quote(string(state)))
	}
	var news bool
	s.change(func(r *registry.Registry) {
		news = r.State(s.peer) != state
		r.SetState(s.peer, state)
	})
	if news {
		s.log.Info("daemon says how it is", "node", s.peer, "state", state)
	}
	return replyOK, nil
}

func (s *session) synced([]string) ([]byte, error) {
	topics := 0
	for n := step; n == step; topics += n {
		s.change(func(r *registry.Registry) { n = r.Synced(s.peer, step) })
	}
	log := s.log.Debug
	if topics > 0 {
		log = s.log.Info
	}
	log("daemon has said all that it has; what it lost is taken over or deleted", "node", s.peer, "topics", topics)
	return replyOK, nil
}

// leave hides all that the daemon has registered, because of how its
// conversation ended. At a stop nothing is, for nobody can ask any more.
func (s *session) leave(why error) {
	s.gauge(-1)
	if s.ctx.Err() != nil {
		return
	}
	var replaced bool
	s.dir.read(func(r *registry.Registry, _ time.Time) { replaced = r.Superseded(s.peer) })
	for n := step; n == step; {
		s.dir.change(func(r *registry.Registry, now time.Time) { n = r.Leave(s.peer, now, step) })
	}
	log, reason := s.log.Warn, why
	switch {
	case why == nil:
		log, reason = s.log.Info, errors.New("it hung up")
	case errors.Is(why, os.ErrDeadlineExceeded):
		reason = fmt.Errorf("silent, or not reading its replies, for %s", s.patience())
	}
	s.tell("leave", reason.Error())
	log("daemon left", "node", s.peer, "client", s.who.Remote, "reason", clip(reason.Error()), "replaced", replaced)
}

// name is the daemon's, for the log; empty before IDENTIFY.
func (s *session) name() string {
	if s.peer == nil {
		return ""
	}
	return s.peer.String()
}

// flushFirst writes what is waiting before it reads more.
type flushFirst struct {
	io.Reader
	out *bufio.Writer
}

func (f flushFirst) Read(p []byte) (int, error) {
	if err := f.out.Flush(); err != nil {
		return 0, fmt.Errorf("writing replies: %w", err)
	}
	// A daemon with ten thousand registrations is work for milliseconds without a
	// wait; lookups that have come meanwhile are answered first.
	runtime.Gosched()
	return f.Reader.Read(p)
}
