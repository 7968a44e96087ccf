package queue

import (
	"encoding/binary"

	"github.com/millrace-mq/millrace/protocol"
)

// parked is a message out of line: waiting until it is due, ready to be
// delivered (again), or in flight once more.
type parked struct {
	id       uint64
	frame    []byte // never changed: channels share the frame of a deferred publish
	lies     uint64 // its place in the log, in a topic with one
	attempts uint16 // deliveries so far
	reason   Reason // why it came back the last time
	dead     bool
	due      int64  // when it becomes ready
	resumed  bool   // was in line before a restart, so goes before what is in line now
	revived  bool   // was dead, and somebody wants it delivered: it is not skipped
	lease    *lease // while in flight
	queued   node[parked]
	heapAt   int // -1 unless waiting
}

// before orders messages by due time, and those due together by ID.
func (p *parked) before(o *parked) bool { return p.due < o.due || p.due == o.due && p.id < o.id }

func (p *parked) place() *int { return &p.heapAt }

// cost is about how many bytes of memory the message takes, its places in the
// map and the heap included.
func (p *parked) cost() int { return cap(p.frame) + 200 }

// kept is the message as an entry of the file that outlives the process.
func (p *parked) kept() Entry {
	e := Entry{ID: p.id, Place: p.lies, Attempts: p.attempts, Reason: p.reason}
	switch {
	case p.dead:
		e.State, e.Due = Dead, p.due
	case p.heapAt >= 0:
		e.Due = p.due
	}
	return e
}

// parking is a channel's parked messages. Each is in exactly one place: waiting,
// ready, under a lease, dead or, if its body is not in memory, on the shelf.
type parking struct {
	byID    map[uint64]*parked
	waiting heap[parked, *parked]
	ready   list[parked]
	flying  int // under a lease
	bytes   int // what all of them cost, but for the dead
	dead    map[uint64]*parked
	shelf   shelf
}

// add takes in a message, or does nothing if it is there already.
func (g *parking) add(p *parked, store Store) {
	if g.byID[p.id] == p {
		return
	}
	if g.byID == nil {
		g.byID = make(map[uint64]*parked)
	}
	p.heapAt = -1
	g.byID[p.id] = p
	g.bytes += p.cost()
	store.Charge(p.cost())
}

// wait makes p wait for its due time, or ready if that has come.
func (g *parking) wait(p *parked, now int64) {
	if p.due > now {
		g.waiting.push(p)
	} else {
		g.ready.push(&p.queued, p)
	}
}

// wake makes ready what is due, in the order in which it became so.
func (g *parking) wake(now int64) {
	g.shelf.wake(now)
	for p := g.waiting.first(); p != nil && p.due <= now; p = g.waiting.first() {
		g.waiting.remove(p)
		p.heapAt = -1
		g.ready.push(&p.queued, p)
	}
}

func (g *parking) forget(p *parked, store Store) {
	delete(g.byID, p.id)
	g.bytes -= p.cost()
	store.Charge(-p.cost())
}

// Redelivery is a message to be framed anew, because its attempts differ from
// those in its first frame.
type Redelivery struct {
	frame    []byte
	attempts uint16
}

// Len is the length in bytes of the message's frame.
func (r Redelivery) Len() int { return len(r.frame) }

// Append appends the frame.
func (r Redelivery) Append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, r.frame...)
	binary.BigEndian.PutUint16(dst[at+protocol.AttemptsOffset:], r.attempts)
	return dst
}

// Saved is a parked message as it is kept across a restart.
type Saved struct {
	Due   int64  // when it becomes ready; 0 if it was in line; if it is dead, when it died, negative
	Frame []byte // with the attempts so far in it
}

func attemptsOf(frame []byte) uint16 {
	return binary.BigEndian.Uint16(frame[protocol.AttemptsOffset:])
}

func idOf(frame []byte) uint64 {
	id, _ := protocol.ParseID(frame[protocol.IDOffset:protocol.BodyOffset])
	return id
}
