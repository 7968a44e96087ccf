package lookupd

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// session is a conversation in V1 after the magic, on one connection. Its
// goroutine owns it.
type session struct {
	dir    *directory
	self   protocol.PeerInfo // what a peer is told of us
	remote string
	log    *slog.Logger

	in   *bufio.Reader
	out  *bufio.Writer
	peer *registry.Peer // nil until IDENTIFY
}

// commands is protocol V1: what may be said, and whether only after IDENTIFY.
// Every command has one reply, and every error ends the conversation.
var commands = map[string]struct {
	identified bool
	run        func(s *session, args []string) ([]byte, *protocol.Error)
}{
	"IDENTIFY":   {run: (*session).identify},
	"PING":       {run: (*session).ping},
	"REGISTER":   {identified: true, run: (*session).register},
	"UNREGISTER": {identified: true, run: (*session).unregister},
}

// leaveStep is how many registrations of a lost daemon are taken back under one
// lock: a fraction of a millisecond's work.
const leaveStep = 500

var replyOK = []byte(protocol.OK)

// newSession returns a session that reads from r and writes to w. Replies are
// written when r is next read, so that a daemon which sends its registrations
// without waiting gets the replies to all that one read brought in one write.
func newSession(r io.Reader, w io.Writer) *session {
	out := bufio.NewWriter(w)
	return &session{in: bufio.NewReaderSize(flushFirst{r, out}, protocol.MaxLine), out: out}
}

// converse carries on the conversation until an end of it: err is nil when the
// peer hung up between two commands, and a *protocol.Error when it was told
// one. arm is called before each command and sets the time it has.
func (s *session) converse(arm func()) (err error) {
	for {
		arm()
		line, err := readLine(s.in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		data, refused := s.answer(line)
		if refused != nil {
			data = []byte(refused.Error())
		}
		if err := s.reply(data); err != nil {
			return err
		}
		if refused != nil {
			return errors.Join(refused, s.out.Flush())
		}
	}
}

func (s *session) answer(line []byte) ([]byte, *protocol.Error) {
	name, args := splitLine(line)
	command, known := commands[name]
	if !known {
		return nil, protocol.Errorf(protocol.EInvalid, "invalid command %s", name)
	}
	if command.identified && s.peer == nil {
		return nil, protocol.Errorf(protocol.EInvalid, "client must IDENTIFY")
	}
	return command.run(s, args)
}

func (s *session) reply(data []byte) error {
	_, err := s.out.Write(binary.BigEndian.AppendUint32(s.out.AvailableBuffer(), uint32(len(data))))
	if err == nil {
		_, err = s.out.Write(data)
	}
	if err != nil {
		return fmt.Errorf("writing a reply: %w", err)
	}
	return nil
}

func (s *session) identify([]string) ([]byte, *protocol.Error) {
	if s.peer != nil {
		return nil, protocol.Errorf(protocol.EInvalid, "cannot IDENTIFY again")
	}
	info, refused := readIdentify(s.in)
	if refused != nil {
		return nil, refused
	}
	data, err := json.Marshal(s.self)
	if err != nil {
		s.log.Error("cannot describe ourselves to a daemon", "error", err)
		data = replyOK // what NSQ falls back to
	}
	s.dir.change(func(r *registry.Registry, now time.Time) { s.peer = r.Join(info, s.remote, now) })
	s.log.Info("daemon joined", "daemon", s.peer, "remote", s.remote, "version", info.Version)
	return data, nil
}

func (s *session) ping([]string) ([]byte, *protocol.Error) {
	if s.peer != nil {
		s.dir.change(func(r *registry.Registry, now time.Time) { r.Seen(s.peer, now) })
	}
	return replyOK, nil
}

func (s *session) register(args []string) ([]byte, *protocol.Error) {
	topic, channel, refused := names("REGISTER", args)
	if refused != nil {
		return nil, refused
	}
	var news bool
	s.dir.change(func(r *registry.Registry, _ time.Time) {
		news = r.Register(s.peer, registry.Registration{Topic: topic, Channel: channel})
	})
	if news {
		s.log.Debug("registered", "daemon", s.peer, "topic", topic, "channel", channel)
	}
	return replyOK, nil
}

func (s *session) unregister(args []string) ([]byte, *protocol.Error) {
	topic, channel, refused := names("UNREGISTER", args)
	if refused != nil {
		return nil, refused
	}
	var had bool
	s.dir.change(func(r *registry.Registry, _ time.Time) { had = r.Unregister(s.peer, topic, channel, 0) })
	if had {
		s.log.Debug("unregistered", "daemon", s.peer, "topic", topic, "channel", channel)
	}
	return replyOK, nil
}

// leave takes back all that the session has registered.
func (s *session) leave() {
	if s.peer == nil {
		return
	}
	topics := 0
	for n := leaveStep; n == leaveStep; topics += n {
		s.dir.change(func(r *registry.Registry, now time.Time) { n = r.Leave(s.peer, now, leaveStep) })
	}
	s.log.Info("daemon left", "daemon", s.peer, "remote", s.remote, "topics", topics)
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
	return f.Reader.Read(p)
}
