// #nosec G115 -- numbers of the tests themselves.

// Package ledger keeps the books of a test that publishes to a daemon, consumes
// from it and kills it again and again, and judges from them whether the daemon
// kept what it promises: nothing that it said OK to is lost, nothing comes that
// was not published, and what was finished comes again only if a kill came so
// soon after that it could not have been written down.
//
// Messages are numbered by lane, which is a producer's sequence on one topic.
// A life is the time of one process of the daemon, from 0; a kill ends it.
package ledger

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Ledger is the books. Lanes and channels are added before anything is
// recorded; everything else may be called by any goroutine.
type Ledger struct {
	begun    time.Time
	lanes    []*Lane
	channels []*Channel

	mu   sync.Mutex
	ends []ending // of lives
}

// ending is how a life ended.
type ending struct {
	at      time.Duration // since begun
	orderly bool
}

// New returns empty books.
func New() *Ledger { return &Ledger{begun: time.Now()} }

// Life is the number of the life that is under way, or comes next.
func (l *Ledger) Life() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ends)
}

// Killed records that the daemon was sent SIGKILL at the time given, and is
// gone: whoever connects from now on, connects to the next life.
func (l *Ledger) Killed(at time.Time) { l.end(ending{at: at.Sub(l.begun)}) }

// Stopped records that the daemon has stopped in an orderly way, after which
// nothing is forgotten.
func (l *Ledger) Stopped() { l.end(ending{orderly: true}) }

func (l *Ledger) end(e ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, e)
}

// Lane is what one producer publishes to one topic, in order, one connection
// after the other.
type Lane struct {
	number    int
	topic     string
	deferred  bool
	attempted atomic.Int64

	mu    sync.Mutex
	acked []bool // by sequence number, as far as anything is
	count int
}

// AddLane adds a lane. The messages of a deferred one have due times, and no
// order.
func (l *Ledger) AddLane(topic string, deferred bool) *Lane {
	n := &Lane{number: len(l.lanes), topic: topic, deferred: deferred}
	l.lanes = append(l.lanes, n)
	return n
}

// Attempt records that the lane's next n messages are about to be published, and
// returns the first of them.
func (n *Lane) Attempt(messages int) Key {
	return Key{n.number, int(n.attempted.Add(int64(messages))) - messages}
}

// Acknowledge records that the daemon has said OK to so many messages from first
// on.
func (n *Lane) Acknowledge(first Key, messages int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.acked) < first.Seq+messages {
		n.acked = append(n.acked, false)
	}
	for i := range messages {
		n.acked[first.Seq+i] = true
	}
	n.count += messages
}

// Channel is a channel of a topic, with all its consumers.
type Channel struct {
	ledger *Ledger
	topic  string
	name   string
	strict bool

	mu      sync.Mutex
	entries [][]entry // by lane and sequence number
	highest []int     // of each lane, the last that came for the first time
	repeats []repeat
	refused map[uint64]bool // FINs that came too late, by message ID
	faults  faults
}

// entry is what a channel did with a message. Times count ticks, from 1.
type entry struct {
	id        uint64
	finished  uint32 // when the last FIN was sent; 0 is never
	first     uint32 // when it last came with attempts = 1; 0 is never
	finLife   uint16
	firstLife uint16
}

// tick is the unit of an entry's times: small books for millions of messages.
const tick = 100 * time.Microsecond

// repeat is a delivery of what had been finished, or had been delivered for the
// first time, before.
type repeat struct {
	key      Key
	id       uint64
	before   uint32 // when
	lifeThen uint16
	life     uint16
	finished bool // else it was delivered only
}

// AddChannel adds a channel, which must be there before the first publish to its
// topic. A strict one has one consumer, that answers every message with FIN: all
// that it sees for the first time is then in order, restarts or not.
func (l *Ledger) AddChannel(topic, name string, strict bool) *Channel {
	c := &Channel{ledger: l, topic: topic, name: name, strict: strict, refused: make(map[uint64]bool)}
	c.faults.of = topic + "/" + name
	l.channels = append(l.channels, c)
	return c
}

// Reader is a consumer of a channel, one connection after the other. It belongs
// to one goroutine.
type Reader struct {
	channel *Channel
	life    int
	last    map[int]int // of each lane, the last that came with attempts = 1 in this life
}

// Reader returns a new consumer.
func (c *Channel) Reader() *Reader { return &Reader{channel: c, life: -1} }

// Connected is to be called between connecting and subscribing.
func (r *Reader) Connected() {
	if life := r.channel.ledger.Life(); life != r.life {
		r.life, r.last = life, make(map[int]int)
	}
}

// Receive records a delivery. ok is false for what nobody published: there is
// nothing to be done with it but to finish it.
func (r *Reader) Receive(m protocol.Message, now time.Time) (k Key, ok bool) {
	c, l := r.channel, r.channel.ledger
	k, due, ok := parseBody(m.Body)
	id, idOK := protocol.ParseID(m.ID[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok || !idOK || k.Lane >= len(l.lanes) || l.lanes[k.Lane].topic != c.topic || int64(k.Seq) >= l.lanes[k.Lane].attempted.Load() {
		c.faults.add(invented, "%q, ID %s", m.Body, m.ID)
		return k, false
	}
	if early := time.Unix(0, due).Sub(now); early > clockSlack {
		c.faults.add(premature, "%v came %v early", k, early)
	}
	e, seen := c.entry(k, id)
	if e.id != id {
		c.faults.add(invented, "%v has ID %s and had %s", k, m.ID, protocol.FormatID(e.id))
	}
	if e.finished > 0 {
		c.repeats = append(c.repeats, repeat{k, id, e.finished, e.finLife, uint16(r.life), true})
	}
	if m.Attempts == 1 {
		r.firstDelivery(k, e, l.ticks(now))
	}
	if !l.lanes[k.Lane].deferred && !seen {
		if c.strict && k.Seq < c.highest[k.Lane] {
			c.faults.add(disorder, "%v came for the first time after %d", k, c.highest[k.Lane])
		}
		c.highest[k.Lane] = max(c.highest[k.Lane], k.Seq)
	}
	return k, true
}

// clockSlack is how much the clocks of two processes may be apart.
const clockSlack = 5 * time.Millisecond

// firstDelivery records a delivery with attempts = 1. Under mu.
func (r *Reader) firstDelivery(k Key, e *entry, now uint32) {
	c := r.channel
	if e.first > 0 {
		c.repeats = append(c.repeats, repeat{k, e.id, e.first, e.firstLife, uint16(r.life), false})
	}
	e.first, e.firstLife = now, uint16(r.life)
	if c.ledger.lanes[k.Lane].deferred {
		return
	}
	if last, ok := r.last[k.Lane]; ok && k.Seq <= last {
		c.faults.add(disorder, "first delivery of %v after that of %d, in life %d", k, last, r.life)
	}
	r.last[k.Lane] = k.Seq
}

// entry returns the entry of k, made if need be. Under mu.
func (c *Channel) entry(k Key, id uint64) (e *entry, seen bool) {
	for len(c.entries) <= k.Lane {
		c.entries, c.highest = append(c.entries, nil), append(c.highest, -1)
	}
	for len(c.entries[k.Lane]) <= k.Seq {
		c.entries[k.Lane] = append(c.entries[k.Lane], entry{})
	}
	e = &c.entries[k.Lane][k.Seq]
	if seen = e.id != 0; !seen {
		e.id = id
	}
	return e, seen
}

// Finish records that FIN is about to be sent for what Receive has returned.
func (r *Reader) Finish(k Key, now time.Time) {
	c := r.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &c.entries[k.Lane][k.Seq]
	e.finished, e.finLife = c.ledger.ticks(now), uint16(r.life)
}

// Refused records that the daemon did not take a FIN because the message had
// timed out.
func (r *Reader) Refused(id uint64) {
	r.channel.mu.Lock()
	defer r.channel.mu.Unlock()
	r.channel.refused[id] = true
}

func (l *Ledger) ticks(t time.Time) uint32 { return uint32(t.Sub(l.begun)/tick) + 1 }

// fault is a kind of promise that was broken.
type fault int

const (
	invented  fault = iota // came, and was not published so
	disorder               // first deliveries out of the order of publication
	premature              // a deferred message came before its due time
	again                  // a message came again that must not
	lost                   // acknowledged, and never finished
	faultKinds
)

var faultNames = [faultKinds]string{"invented", "out of order", "before their time", "again without a reason", "missing"}

// faults counts broken promises, and describes the first few of each kind.
type faults struct {
	of    string
	count [faultKinds]int
	told  []string
}

func (f *faults) add(kind fault, format string, args ...any) {
	const few = 5
	if f.count[kind]++; f.count[kind] <= few {
		f.told = append(f.told, fmt.Sprintf("%s: %s: %s", f.of, faultNames[kind], fmt.Sprintf(format, args...)))
	}
}
