package millrace

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Message is one delivery of a message. Given to a Handler or taken from
// Reader.Messages, it stays valid for as long as the program holds it: neither it
// nor its Body is ever used again by the Reader, so both may be kept, and Body
// even written to, after the handler has returned. For a BatchHandler's, see there.
//
// Messages that were received together share memory. One that is held keeps up
// to a few hundred KB of its neighbours; Clone it to keep it for long.
//
// One that a program has made itself, to test its handler, can be answered
// without effect.
type Message struct {
	ID        protocol.MessageID
	Timestamp time.Time // of its publication, by the daemon's clock
	Attempts  uint16    // deliveries so far, this one included; stays at 65535
	Body      []byte
	Address   string // the qd that it came from, as host:port

	line     *line // nil if a program made it
	later    bool  // it was given up, and a batch's answer is not its
	answered atomic.Bool
}

// Finish tells the daemon that the message is done with. A message is answered
// once: after Finish or Requeue both do nothing, and what the handler returns
// does not matter. They never block, may be called from any goroutine, and do
// nothing when the message's connection is gone: the daemon delivers it again.
func (m *Message) Finish() { m.finish(now) }

func (m *Message) finish(u urgency) {
	if m.answer() {
		m.line.finish(m.ID, u)
	}
}

// Requeue gives the message back, to be delivered again after delay, which the
// daemon caps at its longest (an hour by default). A negative delay stands for
// the one that a failed handler gets; see ReaderConfig.RequeueDelay.
func (m *Message) Requeue(delay time.Duration) { m.requeue(delay, now) }

func (m *Message) requeue(delay time.Duration, u urgency) {
	if !m.answer() {
		return
	}
	if delay < 0 {
		delay = m.line.reader.requeueDelay(m.Attempts)
	}
	m.line.requeue(m.ID, delay, u)
}

// answer reports whether it is the caller who answers the message.
func (m *Message) answer() bool { return m.answered.CompareAndSwap(false, true) && m.line != nil }

// Touch restarts the daemon's message timeout, for a message that takes long.
// After the message was answered it does nothing. A Reader touches by itself
// what its handlers have; see ReaderConfig.TouchFor.
func (m *Message) Touch() {
	if !m.answered.Load() && m.line != nil {
		m.line.touch(m.ID)
	}
}

// Timeout is for how long the daemon that the message came from waits for its answer: if there
// is none, nor a Touch, it delivers the message again. 0 if a program has made the message.
func (m *Message) Timeout() time.Duration {
	if m.line == nil {
		return 0
	}
	return m.line.timeout
}

// MaxTimeout is for how long after its delivery Touch can keep a message: then the daemon
// delivers it again. 0 if a program has made the message.
func (m *Message) MaxTimeout() time.Duration {
	if m.line == nil {
		return 0
	}
	return m.line.longest
}

// FinishAll finishes messages, at less cost than one by one. Those that are neighbours and
// came from the same daemon cost least.
func FinishAll(messages []*Message) {
	for len(messages) > 0 {
		l, n := messages[0].line, 1
		for n < len(messages) && messages[n].line == l {
			n++
		}
		if l != nil {
			l.finishEach(messages[:n])
		}
		messages = messages[n:]
	}
}

// Clone returns a copy with a Body of its own, which is the caller's for good.
// Answering it has no effect: it is the message itself that is answered.
func (m *Message) Clone() *Message {
	return &Message{ID: m.ID, Timestamp: m.Timestamp, Attempts: m.Attempts, Body: bytes.Clone(m.Body), Address: m.Address}
}

// Handler handles messages. Handle is called by as many goroutines at once as
// the Reader's Concurrency says.
//
// nil finishes the message; ErrAnswerLater (or an error that wraps it) leaves it
// in flight; any other error requeues it, and so does a panic, which is logged
// and goes no further. The context outlives Run's by ReaderConfig.ShutdownTimeout
// at most, so that a handler can complete its work when the Reader is told to end.
type Handler interface {
	Handle(ctx context.Context, m *Message) error
}

// HandlerFunc is a Handler of one function.
type HandlerFunc func(ctx context.Context, m *Message) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, m *Message) error { return f(ctx, m) }

// BatchHandler handles messages many at a time, at least one. HandleBatch is called
// by as many goroutines at once as the Reader's Concurrency says.
//
// What it returns is the answer to those that it did not answer itself: nil finishes
// them, an error requeues them, and so does a panic. The slice, the messages and their
// bodies are the Reader's, which uses them again after HandleBatch has returned, so that
// nothing is allocated for a message; Message.Clone keeps one. With ErrAnswerLater (or
// an error that wraps it) they all stay valid for good, and those not answered yet stay
// in flight. A program built with the race detector finds what it keeps by mistake
// overwritten.
type BatchHandler interface {
	HandleBatch(ctx context.Context, batch []*Message) error
}

// BatchHandlerFunc is a BatchHandler of one function.
type BatchHandlerFunc func(ctx context.Context, batch []*Message) error

// HandleBatch calls f.
func (f BatchHandlerFunc) HandleBatch(ctx context.Context, batch []*Message) error {
	return f(ctx, batch)
}

// Start is where a channel begins that is made by subscribing.
type Start uint8

const (
	StartLatest   Start = iota // with what is published from then on, as in NSQ
	StartEarliest              // with the earliest message that the topic keeps
)
