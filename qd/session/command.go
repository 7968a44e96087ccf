package session

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
)

// finLine is the length of a FIN line: by far the most frequent one.
const finLine = len("FIN ") + protocol.IDLength + len("\n")

// next carries out the next command if it has come whole; more is false if
// not. Publishes and FINs are gathered, to be carried out by commit.
func (s *session) next(ctx context.Context) (more bool, err error) {
	if b := s.in.bytes(); len(b) >= finLine && binary.BigEndian.Uint32(b) == 'F'<<24|'I'<<16|'N'<<8|' ' &&
		b[finLine-1] == '\n' && s.state != protocol.StateInit {
		if id, ok := protocol.ParseID(b[4 : finLine-1]); ok {
			// A client may finish a message because it has published another. If
			// that fails, the FIN behind it must not count.
			if s.pubs.commands > 0 {
				if err := s.commit(ctx); err != nil {
					return false, err
				}
			}
			s.in.start += finLine
			s.heard, s.active = true, true
			s.fins = append(s.fins, id)
			return true, nil
		}
	}
	n, err := s.in.line()
	if n == 0 || err != nil {
		return false, err
	}
	if err := s.needsTLS(s.in.bytes()[:n-1]); err != nil {
		return false, err
	}
	line, refused := protocol.ParseLine(s.in.bytes()[: n-1 : n-1])
	if refused == nil && line.Beyond && !s.limits.extended {
		refused = protocol.Errorf(protocol.EInvalid, "invalid command %s", line.Name)
	}
	if refused != nil {
		return false, refused
	}
	if err := line.Check(s.state); err != nil && !(line.Verb == protocol.Sub && s.state == protocol.StateInit) {
		return false, err
	}
	if line.Body {
		return s.withBody(ctx, line, n)
	}
	s.in.start += n
	s.heard = true
	if line.Verb == protocol.Nop {
		return true, nil
	}
	s.active = true
	// What was gathered came first.
	if err := s.commit(ctx); err != nil {
		return false, err
	}
	return true, s.perform(ctx, line)
}

// asError keeps a nil *protocol.Error from becoming an error that is not nil.
func asError(e *protocol.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// perform carries out a command without a body.
func (s *session) perform(ctx context.Context, l protocol.Line) error {
	switch l.Verb {
	case protocol.Sub:
		return s.subscribe(ctx, l)
	case protocol.Rdy:
		return asError(s.ready(l))
	case protocol.Fin:
		return asError(s.fin(l.Args[0]))
	case protocol.Req:
		return asError(s.requeue(l))
	case protocol.Touch:
		return asError(s.touch(l.Args[0]))
	case protocol.Seek:
		return s.seek(ctx, l)
	case protocol.Cls:
		s.consumer.SetReady(0)
		s.setState(protocol.StateClosing)
		s.respond(protocol.FrameResponse, protocol.CloseWait)
	}
	return nil
}

func (s *session) setState(state protocol.State) {
	s.state = state
	s.mu.Lock()
	s.client.State = state
	s.mu.Unlock()
}

func (s *session) subscribe(ctx context.Context, l protocol.Line) error {
	if s.heartbeat == 0 {
		return protocol.Errorf(protocol.EInvalid, "cannot SUB with heartbeats disabled")
	}
	if err := l.Check(s.state); err != nil {
		return err
	}
	topic, channel := string(l.Args[0]), string(l.Args[1])
	if !protocol.ValidName(topic) {
		return protocol.Errorf(protocol.EBadTopic, "SUB topic name %q is not valid", topic)
	}
	if !protocol.ValidName(channel) {
		return protocol.Errorf(protocol.EBadChannel, "SUB channel name %q is not valid", channel)
	}
	if err := s.maySubscribe(ctx, l, topic, channel); err != nil {
		return err
	}
	consumer, err := s.join(ctx, topic, channel)
	if err != nil {
		return protocol.Errorf(protocol.ESubFailed, "SUB failed %s", err)
	}
	// What was answered so far is written before the delivering goroutine
	// takes over the writing.
	if err := s.flush(); err != nil {
		_ = consumer.Close()
		return protocol.Errorf(protocol.ESubFailed, "SUB failed %s", err)
	}
	s.consumer = consumer
	s.setState(protocol.StateSubscribed) // from now on Recheck wakes it
	s.respond(protocol.FrameResponse, protocol.OK)
	s.delivered = make(chan struct{})
	go s.deliver() // ends before run does: finish waits for it
	return s.mayStay(time.Now())
}

func (s *session) join(ctx context.Context, topic, channel string) (*broker.Consumer, error) {
	all, who := s.server.Limits, s.called()
	for {
		var k *broker.Consumer
		err := all.Channel(who, topic, channel, func() (*broker.Topic, error) {
			t, err := all.Topic(who, topic, func() (*broker.Topic, error) { return s.server.broker.Topic(ctx, topic) })
			if err == nil {
				k, err = t.Subscribe(channel, s, s.membership())
			}
			return t, err
		})
		if !errors.Is(err, broker.ErrGone) {
			return k, err
		}
		// It was deleted between the two calls; the next try makes a new one.
	}
}

// membership is what the client has asked for by IDENTIFY.
func (s *session) membership() broker.Membership {
	s.mu.Lock()
	defer s.mu.Unlock()
	return broker.Membership{
		Timeout:    s.limits.msgTimeout,
		SampleRate: s.client.SampleRate,
		Near:       s.server.broker.Nearness(s.client.TopologyRegion, s.client.TopologyZone),
		Limit:      s.settings.MaxChannelConsumers,
		Start:      s.limits.start,
	}
}

func (s *session) ready(l protocol.Line) *protocol.Error {
	if s.state == protocol.StateClosing {
		return nil
	}
	n := int64(1)
	if l.N > 0 {
		var ok bool
		if n, ok = protocol.ParseCount(l.Args[0]); !ok {
			return protocol.Errorf(protocol.EInvalid, "RDY could not parse count %s", l.Args[0])
		}
	}
	if n > s.settings.MaxRdyCount {
		return protocol.Errorf(protocol.EInvalid, "RDY count %d out of range 0-%d", n, s.settings.MaxRdyCount)
	}
	s.credit = int(n)
	s.consumer.SetReady(s.credit)
	return nil
}

// fin takes the FINs that next does not: those in an unusual form.
func (s *session) fin(arg []byte) *protocol.Error {
	if len(arg) != protocol.IDLength {
		return protocol.Errorf(protocol.EInvalid, "invalid message ID")
	}
	id, ok := protocol.ParseID(arg)
	if !ok {
		s.answerFailed(protocol.EFinFailed, "FIN", arg, errNotInFlight)
		return nil
	}
	s.fins = append(s.fins, id)
	return nil
}

func (s *session) requeue(l protocol.Line) *protocol.Error {
	arg := l.Args[0]
	if len(arg) != protocol.IDLength {
		return protocol.Errorf(protocol.EInvalid, "invalid message ID")
	}
	delay, ok := protocol.ParseMillis(l.Args[1])
	if !ok {
		return protocol.Errorf(protocol.EInvalid, "REQ could not parse timeout %s", l.Args[1])
	}
	err := errNotInFlight
	if id, ok := protocol.ParseID(arg); ok {
		err = s.consumer.Requeue(id, min(delay, s.settings.MaxReqTimeout))
	}
	if err != nil {
		s.answerFailed(protocol.EReqFailed, "REQ", arg, err)
	}
	return nil
}

func (s *session) touch(arg []byte) *protocol.Error {
	if len(arg) != protocol.IDLength {
		return protocol.Errorf(protocol.EInvalid, "invalid message ID")
	}
	err := errNotInFlight
	if id, ok := protocol.ParseID(arg); ok {
		err = s.consumer.Touch(id)
	}
	if err != nil {
		s.answerFailed(protocol.ETouchFailed, "TOUCH", arg, err)
	}
	return nil
}

// seek moves the channel. It takes the right that SUB does: whoever consumes may as
// well finish everything, or leave it all unfinished. The OK comes before the first
// message from the new place, so that the client knows what it holds in vain.
func (s *session) seek(ctx context.Context, l protocol.Line) error {
	if err := s.maySubscribe(ctx, l, s.consumer.Topic(), s.consumer.Channel()); err != nil {
		return err
	}
	place := short(string(l.Args[0])) // too long, it is none
	to, err := broker.ParsePlace(place)
	if err == nil {
		s.consumer.SetReady(0)
		defer func() { s.consumer.SetReady(s.credit) }()
		err = s.consumer.Seek(to)
	}
	if err != nil {
		s.answerFailed(protocol.ESeekFailed, "SEEK", []byte(place), err)
		return nil
	}
	s.respond(protocol.FrameResponse, protocol.OK)
	return s.awaitTaken(0)
}

// answerFailed reports that a message could not be answered, or a channel moved,
// which does not end the connection.
func (s *session) answerFailed(code, verb string, arg []byte, err error) {
	s.respond(protocol.FrameError, protocol.Errorf(code, "%s %s failed %s", verb, arg, err).Error())
}
