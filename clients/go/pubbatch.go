// #nosec G115 -- a batch is bounded far below 4 GiB, and so are its parts.

package millrace

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// pubBatch is what a Writer sends in one command. Messages published singly are
// gathered in one; a publish of several has one of its own, which is whole.
// Who changes it holds Writer.mu, once the Writer has it.
type pubBatch struct {
	topic   string
	wire    []byte  // room for the command, then each message's size and bytes; see piece
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
	loose       bool            // the lane is through with its memory
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
	*b = pubBatch{
		topic: topic, wire: slices.Grow(b.wire[:0], headLength(topic)+256)[:headLength(topic)],
		entries: b.entries[:0], watches: b.watches[:0],
	}
}

// headLength is how many bytes of wire are before the messages: for "MPUB ", the
// topic, the newline, the size and the count.
func headLength(topic string) int { return len("MPUB ") + len(topic) + 1 + 4 + 4 }

// messages are the sizes and bytes of the messages, as they are in an MPUB.
func (b *pubBatch) messages() []byte { return b.wire[headLength(b.topic):] }

// add appends a message, copying it.
func (b *pubBatch) add(body []byte, e entry) {
	e.size = load{1, len(body)}
	b.wire = binary.BigEndian.AppendUint32(b.wire, uint32(len(body)))
	b.wire = append(b.wire, body...)
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
	head := headLength(b.topic)
	b.wire = protocol.AppendBatch(slices.Grow(b.wire, e.size.bytes+4*len(bodies))[:head-4], bodies)
	b.enlist(e)
}

// fill makes an empty batch, whole or not, one of count messages that lie as an
// MPUB has them, which nobody waits for.
func (b *pubBatch) fill(count int, messages []byte) {
	b.wire = append(b.wire[:headLength(b.topic)-4], messages...)
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

// mpub returns the body of an MPUB.
func (b *pubBatch) mpub() []byte {
	body := b.wire[headLength(b.topic)-4:]
	binary.BigEndian.PutUint32(body, uint32(b.size.messages))
	return body
}

// piece returns the command that publishes the batch, which is not deferred. It lies
// in wire: what precedes the messages is filled in, as a PUB if there is only one.
func (b *pubBatch) piece() []byte {
	name, end := "MPUB ", headLength(b.topic)-8
	if b.size.messages == 1 {
		name, end = "PUB ", headLength(b.topic)
	} else {
		binary.BigEndian.PutUint32(b.wire[end:], uint32(len(b.mpub())))
	}
	start := end - len(name) - len(b.topic) - 1
	head := append(append(b.wire[start:start], name...), b.topic...)
	_ = append(head, '\n')
	return b.wire[start:]
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
	entries, rest := b.entries, b.messages()
	b.entries, b.wire, b.size, b.callbacks, b.largest = entries[:0], b.wire[:headLength(b.topic)], load{}, load{}, 0
	for i, e := range entries {
		to := b
		if chosen[i] {
			to = taken
		}
		n := 4 + e.size.bytes
		to.wire = append(to.wire, rest[:n]...)
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
