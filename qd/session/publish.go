package session

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
)

var errNotInFlight = queue.ErrNotInFlight

// publishes are the PUBs and MPUBs, or the DPUBs, of one read, all to one topic,
// that are stored together. The bodies lie in the read buffer.
type publishes struct {
	topic    string
	bodies   [][]byte
	later    []broker.Later // in place of bodies
	commands int
	verb     protocol.Verb // of the last one; of all, if publishes are limited
}

// withBody carries out a command that has a body, if it has come whole. n is
// the length of its line.
func (s *session) withBody(ctx context.Context, l protocol.Line, n int) (more bool, err error) {
	topic := ""
	var delay time.Duration
	if l.Verb != protocol.Identify && l.Verb != protocol.Auth {
		if !s.sameTopic(l.Args[0]) {
			topic = string(l.Args[0])
			if !protocol.ValidName(topic) {
				return false, badTopic(l, topic)
			}
		}
	}
	if l.Verb == protocol.DPub {
		if delay, err = s.delay(l.Args[1]); err != nil {
			return false, err
		}
	}
	// NSQ's order: a batch's body may be large, and is not waited for.
	if l.Verb == protocol.MPub {
		if err := s.mayPublish(ctx, l); err != nil {
			return false, err
		}
	}
	b := s.in.bytes()[n:]
	if len(b) < 4 {
		return false, nil
	}
	// #nosec G115 -- sizes are signed in the protocol; checkSize refuses what is negative. A batch is bounded
	size := int(int32(binary.BigEndian.Uint32(b)))
	if err := s.checkSize(l, size); err != nil {
		return false, err
	}
	if len(b)-4 < size {
		return false, nil
	}
	body := b[4 : 4+size : 4+size]
	if isMessage(l.Verb) {
		if err := s.mayPublish(ctx, l); err != nil {
			return false, err
		}
	}
	if topic != "" || l.Verb == protocol.Identify || l.Verb == protocol.Auth ||
		s.pubs.commands > 0 && ((l.Verb == protocol.DPub) != (len(s.pubs.later) > 0) || l.Verb != s.pubs.verb && s.server.Limits.Publishing()) {
		if err := s.commit(ctx); err != nil {
			return false, err
		}
		if topic != "" {
			s.pubs.topic = topic
		}
	}
	s.in.start += n + 4 + size
	s.heard, s.active = true, true
	switch l.Verb {
	case protocol.Identify:
		return true, s.identify(ctx, body)
	case protocol.Auth:
		return true, s.authenticate(ctx, string(body))
	}
	return true, asError(s.gather(l.Verb, body, delay))
}

// sameTopic reports whether the name is that of the last publish, which was
// found valid then.
func (s *session) sameTopic(name []byte) bool { return string(name) == s.pubs.topic && len(name) > 0 }

// badTopic repeats NSQ's slip of naming the code twice for MPUB: its clients
// have been told so for ten years.
func badTopic(l protocol.Line, topic string) *protocol.Error {
	text := ""
	if l.Verb == protocol.MPub {
		text = protocol.EBadTopic + " "
	}
	return protocol.Errorf(protocol.EBadTopic, "%s%s topic name %q is not valid", text, l.Name, topic)
}

func (s *session) delay(arg []byte) (time.Duration, error) {
	ms, ok := protocol.ParseCount(arg)
	if !ok {
		return 0, protocol.Errorf(protocol.EInvalid, "DPUB could not parse timeout %s", arg)
	}
	if most := s.settings.MaxReqTimeout.Milliseconds(); ms > most {
		return 0, protocol.Errorf(protocol.EInvalid, "DPUB timeout %d out of range 0-%d", ms, most)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// checkSize checks a body's size before anything is kept for it.
func (s *session) checkSize(l protocol.Line, size int) error {
	if isMessage(l.Verb) {
		return checkRange(protocol.EBadMessage, l.Name, "message", "message body", size, s.settings.MaxMsgSize)
	}
	return checkRange(protocol.EBadBody, l.Name, "body", "body", size, s.settings.MaxBodySize)
}

// isMessage reports whether the body of a command is one message.
func isMessage(v protocol.Verb) bool { return v == protocol.Pub || v == protocol.DPub }

func checkRange(code, name, big, small string, size, most int) error {
	switch {
	case size > most:
		return protocol.Errorf(code, "%s %s too big %d > %d", name, big, size, most)
	case size <= 0:
		return protocol.Errorf(code, "%s invalid %s size %d", name, small, size)
	}
	return nil
}

// halfCommand is what a client is told that has ended, or fallen silent, in
// the middle of a command's body; nil if it was not in one.
func (s *session) halfCommand() *protocol.Error {
	n, err := s.in.line()
	if n == 0 || err != nil {
		return nil
	}
	l, refused := protocol.ParseLine(s.in.bytes()[: n-1 : n-1])
	if refused != nil || !l.Body {
		return refused
	}
	code, what := protocol.EBadBody, "body"
	if isMessage(l.Verb) {
		code, what = protocol.EBadMessage, "message body"
	}
	body := s.in.bytes()[n:]
	if len(body) < 4 {
		return protocol.Errorf(code, "%s failed to read %s size", l.Name, what)
	}
	if l.Verb == protocol.MPub {
		if _, _, err := protocol.CheckBatch(body[4:], s.settings.MaxMsgSize, s.settings.MaxBodySize); err != nil {
			return err
		}
	}
	return protocol.Errorf(code, "%s failed to read %s", l.Name, what)
}

// gather adds a publish to what commit will store. The delay is a DPUB's.
func (s *session) gather(verb protocol.Verb, body []byte, delay time.Duration) *protocol.Error {
	switch verb {
	case protocol.DPub:
		s.pubs.later = append(s.pubs.later, broker.Later{Body: body, Delay: delay})
	case protocol.MPub:
		count, _, err := protocol.CheckBatch(body, s.settings.MaxMsgSize, s.settings.MaxBodySize)
		if err != nil {
			return err
		}
		rest := body[4:]
		for range count {
			body, rest = protocol.Next(rest)
			s.pubs.bodies = append(s.pubs.bodies, body)
		}
	default:
		s.pubs.bodies = append(s.pubs.bodies, body)
	}
	s.pubs.commands++
	s.pubs.verb = verb
	return nil
}

// commit stores the publishes gathered, and settles the FINs.
func (s *session) commit(ctx context.Context) error {
	if len(s.fins) > 0 {
		s.consumer.Finish(s.fins, func(i int, err error) {
			id := protocol.FormatID(s.fins[i])
			s.answerFailed(protocol.EFinFailed, "FIN", id[:], err)
		})
		s.fins = s.fins[:0]
	}
	if s.pubs.commands == 0 {
		return nil
	}
	stored, commands := len(s.pubs.bodies)+len(s.pubs.later), s.pubs.commands
	err := s.admit(ctx)
	if err == nil {
		err = s.storeAll(ctx)
	}
	clear(s.pubs.bodies)
	clear(s.pubs.later)
	s.pubs.bodies, s.pubs.later, s.pubs.commands = s.pubs.bodies[:0], s.pubs.later[:0], 0
	if err != nil {
		refused := publishFailed(s.pubs.verb, err)
		if !s.outlives(err) {
			return refused
		}
		for range commands {
			s.respond(protocol.FrameError, refused.Error())
		}
		return nil
	}
	s.published(stored)
	s.okays(commands)
	return nil
}

// storeAll stores what was gathered.
func (s *session) storeAll(ctx context.Context) error {
	if len(s.pubs.later) == 0 {
		return s.store(ctx, func(t *broker.Topic) error { return t.Publish(s.pubs.bodies) })
	}
	return s.store(ctx, func(t *broker.Topic) error { return t.DeferAll(s.pubs.later) })
}

// store calls publish with the topic, made anew if it was deleted.
func (s *session) store(ctx context.Context, publish func(*broker.Topic) error) error {
	for {
		if s.topic == nil || s.topic.Name() != s.pubs.topic {
			t, err := s.server.broker.Find(s.pubs.topic)
			if err != nil { // who creates it is of interest
				t, err = s.server.Limits.Topic(s.called(), s.pubs.topic, func() (*broker.Topic, error) {
					return s.server.broker.TopicToPublish(ctx, s.pubs.topic, len(s.pubs.later) > 0)
				})
			}
			if err != nil {
				return err
			}
			s.topic = t
		}
		err := publish(s.topic)
		if !errors.Is(err, broker.ErrGone) {
			return err
		}
		s.topic = nil
	}
}

// published counts what the connection has published.
func (s *session) published(n int) {
	s.mu.Lock()
	if s.client.PubCounts == nil {
		s.client.PubCounts = make(map[string]uint64)
	}
	// #nosec G115 -- sizes are signed in the protocol; checkSize refuses what is negative. A batch is bounded
	s.client.PubCounts[s.pubs.topic] += uint64(n)
	s.mu.Unlock()
}
