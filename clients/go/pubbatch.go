package millrace

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// pubBatch is what a Writer sends in one command. Messages published singly are
// gathered in one; a publish of several has one of its own, which is whole.
// Who changes it holds Writer.mu, once the Writer has it.
type pubBatch struct {
	topic   string
	body    []byte  // as MPUB has it: the count, filled in at last, then each message's size and bytes
	entries []entry // one for each message, or a single one for all
	whole   bool    // stored together or not at all
	size    load
	largest int       // bytes of its largest message
	due     time.Time // of a deferred message; zero: at once
	began   time.Time // when its first message was accepted
	seq     uint64    // its place in the order in which batches were closed

	callbacks   load            // of entries with a done
	cancellable bool            // some context may end
	waits       bool            // its contexts and its deadline are watched, because nobody takes it for now
	watches     []func() bool   // end that
	storing     bool            // it is being put into the spool, and must stay as it is
	cause       error           // why the last attempt failed
	doubt       *UncertainError // set once an attempt may have stored it
	lane        *lane           // that it was sent on; nil while it is not
	end         int64           // of its command, counted in bytes of the lane
	generation  *generation     // for Flush; nil for what comes from the spool
	replay      *replay         // the record of the spool that it comes from, or nil

	list       *batchList // that it is in, if any
	next, prev *pubBatch
}

// load is how much of a Writer's bounds something takes.
type load struct{ messages, bytes int }

func (l load) plus(m load) load  { return load{l.messages + m.messages, l.bytes + m.bytes} }
func (l load) minus(m load) load { return load{l.messages - m.messages, l.bytes - m.bytes} }

// entry is one publish: a message, or all messages of a whole batch.
type entry struct {
	ctx  context.Context // nil once nobody waits any more: it is not to be sent again
	done func(error)     // of an asynchronous publish, if somebody wants to know
	wait *waiter         // of a synchronous one
	size load
}

// waiter is where a synchronous publish waits. It is used again once its outcome
// was received.
type waiter struct {
	outcome chan error // has room for one
	batch   *pubBatch  // that it is in; guarded by Writer.mu, nil once the outcome is decided
}

// reset makes a batch, old or new, an empty one.
func (b *pubBatch) reset(topic string) {
	clear(b.entries)
	*b = pubBatch{topic: topic, body: append(b.body[:0], 0, 0, 0, 0), entries: b.entries[:0], watches: b.watches[:0]}
}

// add appends a message, copying it.
func (b *pubBatch) add(body []byte, e entry) {
	e.size = load{1, len(body)}
	b.body = binary.BigEndian.AppendUint32(b.body, uint32(len(body)))
	b.body = append(b.body, body...)
	b.enlist(e)
}

// addWhole appends all messages of a whole batch, copying them.
func (b *pubBatch) addWhole(bodies [][]byte, e entry) {
	b.whole = true
	e.size.messages = len(bodies)
	for _, body := range bodies {
		e.size.bytes += len(body)
		b.largest = max(b.largest, len(body))
	}
	b.body = protocol.AppendBatch(b.body[:0], bodies)
	b.enlist(e)
}

// fill makes an empty batch, whole or not, one of count messages that lie as an
// MPUB has them, which nobody waits for.
func (b *pubBatch) fill(count int, messages []byte) {
	b.body = append(b.body[:0], messages...)
	if b.whole {
		b.enlist(entry{ctx: context.Background(), size: load{count, len(messages) - 4 - 4*count}})
	}
	for rest, body := messages[4:], []byte(nil); len(rest) > 0; {
		body, rest = protocol.Next(rest)
		if b.largest = max(b.largest, len(body)); !b.whole {
			b.enlist(entry{ctx: context.Background(), size: load{1, len(body)}})
		}
	}
}

func (b *pubBatch) enlist(e entry) {
	if e.wait != nil {
		e.wait.batch = b
	}
	if e.done != nil {
		b.callbacks = b.callbacks.plus(e.size)
	}
	if !b.cancellable && e.ctx != nil && e.ctx.Done() != nil {
		b.cancellable = true
	}
	if !b.whole {
		b.largest = max(b.largest, e.size.bytes)
	}
	b.size = b.size.plus(e.size)
	b.entries = append(b.entries, e)
}

// mpub returns the body as MPUB has it.
func (b *pubBatch) mpub() []byte {
	binary.BigEndian.PutUint32(b.body, uint32(b.size.messages))
	return b.body
}

// appendCommand appends the command that publishes the batch at the moment at.
func (b *pubBatch) appendCommand(dst []byte, at time.Time) []byte {
	switch {
	case !b.due.IsZero():
		return protocol.AppendDPub(dst, b.topic, max(0, b.due.Sub(at)), b.body[8:])
	case b.size.messages == 1:
		return protocol.AppendPub(dst, b.topic, b.body[8:])
	}
	dst = append(append(dst, "MPUB "...), b.topic...)
	dst = append(dst, '\n')
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b.body)))
	return append(dst, b.mpub()...)
}

// take moves the entries that meet a condition, with their messages and in their
// order, to a batch that fresh makes, and returns it; nil if there are none, and
// b itself if all of them do.
func (b *pubBatch) take(condition func(i int, e *entry) bool, fresh func() *pubBatch) *pubBatch {
	var chosen []bool
	n := 0
	for i := range b.entries {
		if condition(i, &b.entries[i]) {
			if chosen == nil {
				chosen = make([]bool, len(b.entries))
			}
			chosen[i] = true
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case len(b.entries):
		return b
	}
	taken := fresh()
	b.sibling(taken)
	// What stays moves towards the front of the same memory.
	entries, rest := b.entries, b.body[4:]
	b.entries, b.body, b.size, b.callbacks, b.largest = entries[:0], b.body[:4], load{}, load{}, 0
	for i, e := range entries {
		to := b
		if chosen[i] {
			to = taken
		}
		n := 4 + e.size.bytes
		to.body = append(to.body, rest[:n]...)
		to.enlist(e)
		rest = rest[n:]
	}
	clear(entries[len(b.entries):])
	return taken
}

// stopWaiting ends what beginWaitLocked began.
func (b *pubBatch) stopWaiting() {
	for _, stop := range b.watches {
		stop()
	}
	clear(b.watches)
	b.waits, b.watches = false, b.watches[:0]
}

// doubtful returns why the batch may be stored, or nil if it certainly is not.
func (b *pubBatch) doubtful() error {
	if b.doubt == nil {
		return nil
	}
	return b.doubt.Err
}

// sibling gives a batch that takes over some of b's messages what they have in
// common.
func (b *pubBatch) sibling(s *pubBatch) {
	s.due, s.began, s.seq = b.due, b.began, b.seq
	s.cause, s.doubt, s.lane, s.replay = b.cause, b.doubt, b.lane, b.replay
}

// batchList is a list that batches are linked in; each is in one at most.
type batchList struct{ first, last *pubBatch }

// insert puts b behind at; nil stands for the front.
func (l *batchList) insert(b, at *pubBatch) {
	b.list, b.prev = l, at
	if at == nil {
		b.next, l.first = l.first, b
	} else {
		b.next, at.next = at.next, b
	}
	if b.next == nil {
		l.last = b
	} else {
		b.next.prev = b
	}
}

func (l *batchList) push(b *pubBatch) { l.insert(b, l.last) }

// pushBack puts a batch that comes back before those that were closed after it.
func (l *batchList) pushBack(b *pubBatch) {
	at := (*pubBatch)(nil)
	for o := l.first; o != nil && o.seq < b.seq; o = o.next {
		at = o
	}
	l.insert(b, at)
}

// unlink takes b out of its list.
func (b *pubBatch) unlink() {
	l := b.list
	if l == nil {
		return
	}
	if b.prev == nil {
		l.first = b.next
	} else {
		b.prev.next = b.next
	}
	if b.next == nil {
		l.last = b.prev
	} else {
		b.next.prev = b.prev
	}
	b.list, b.next, b.prev = nil, nil, nil
}
