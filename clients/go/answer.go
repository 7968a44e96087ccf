package millrace

import (
	"slices"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Answers are appended to a line's output; nothing here blocks. They do nothing
// once the connection has failed, for the daemon has the messages back.

func (l *line) finish(id protocol.MessageID, u urgency) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	before := len(l.out)
	l.out = protocol.AppendFin(l.out, id)
	l.appendedLocked(before, u)
	l.counts.finished++
	l.settleLocked(1)
}

func (l *line) requeue(id protocol.MessageID, delay time.Duration, u urgency) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	before := len(l.out)
	l.out = protocol.AppendReq(l.out, id, delay)
	l.appendedLocked(before, u)
	l.counts.requeued++
	l.settleLocked(1)
}

// finLength is how many bytes a FIN has.
const finLength = len("FIN ") + protocol.IDLength + len("\n")

// finishAll finishes those messages of the line's that are not answered yet,
// with one lock and one growth of the output for all.
func (l *line) finishAll(messages []Message, u urgency) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	out := slices.Grow(l.out, finLength*len(messages))
	for i := range messages {
		if m := &messages[i]; !m.later && m.answer() {
			out = protocol.AppendFin(out, m.ID)
			n++
		}
	}
	l.answeredLocked(out, n, u, &l.counts.finished)
}

// finishEach is finishAll for messages that were answered later.
func (l *line) finishEach(messages []*Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	out := slices.Grow(l.out, finLength*len(messages))
	for _, m := range messages {
		if m.answer() {
			out = protocol.AppendFin(out, m.ID)
			n++
		}
	}
	l.answeredLocked(out, n, now, &l.counts.finished)
}

// requeueAll is finishAll for giving back. A negative delay is as in Message.Requeue.
func (l *line) requeueAll(messages []Message, delay time.Duration, u urgency) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	out := l.out
	for i := range messages {
		m := &messages[i]
		if m.later || !m.answer() {
			continue
		}
		n++
		if delay < 0 {
			out = protocol.AppendReq(out, m.ID, l.reader.requeueDelay(m.Attempts))
		} else {
			out = protocol.AppendReq(out, m.ID, delay)
		}
	}
	l.answeredLocked(out, n, u, &l.counts.requeued)
}

// answeredLocked takes out, the output with the answers to n messages behind it.
func (l *line) answeredLocked(out []byte, n int, u urgency, count *uint64) {
	if l.err != nil || n == 0 {
		return
	}
	before := len(l.out)
	l.out = out
	l.appendedLocked(before, u)
	// #nosec G115 -- counts of messages and clients: never negative
	*count += uint64(n)
	l.settleLocked(n)
}

func (l *line) touch(id protocol.MessageID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	before := len(l.out)
	l.out = protocol.AppendTouch(l.out, id)
	l.appendedLocked(before, now)
	l.appetite.kept = time.Now()
	l.counts.touched++
}

// expired notes that n messages were dropped because the daemon has taken them
// back.
func (l *line) expired(n int) {
	if n == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// #nosec G115 -- counts of messages and clients: never negative
	l.counts.expired += uint64(n)
	l.settleLocked(n)
}

// gaveUp notes that a message was delivered too often to be handled.
func (l *line) gaveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.givenUp++
}
