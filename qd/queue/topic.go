// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative.

package queue

import (
	"errors"

	"github.com/millrace-mq/millrace/protocol"
)

// IDExtent is how many IDs a topic draws at a time. An extent is never drawn
// twice, so neither is an ID, be the topic deleted and created again or the
// daemon restarted. At five million messages a second an extent lasts half an
// hour, and there are 2^30 of them in the half of the ID space (the highest bit
// clear) that is not kept for replicated topics.
const IDExtent = 1 << 33

// Config is what a topic is made from.
type Config struct {
	Name string
	// Store provides memory.
	Store Store
	// Extent returns the first ID of an extent that was never drawn before,
	// higher than those of all earlier ones.
	Extent func() uint64
	// MemoryMessages is how many messages the topic's backlog, and that of each
	// channel, keeps in memory before it asks for the rest to be written.
	MemoryMessages int
}

// Topic is a sequence of messages and the channels that read it.
type Topic struct {
	Config
	ephemeral bool

	end      uint64 // position behind the newest message
	fanned   uint64 // position up to which blocks were handed to the channels
	paused   bool
	pausedAt uint64 // while paused: where the channels' part ends
	cuts     []cut  // by position

	log        *logged // nil if messages are in memory, and spill
	backlog    backlog
	open       *Block // is being written to; nil before the first message
	openFanned bool   // the channels have it already
	blockSize  int    // of the next block
	nextID     uint64
	lastID     uint64 // end of the extent drawn
	deferID    uint64 // the same for deferred publishes, which have extents of
	deferLast  uint64 // their own since they lie in no block

	channels []*Channel
	joined   uint64    // channels that there have been
	deferred []*parked // deferred publishes that no channel has yet
	orphans  []string  // channels deleted with something on disk
	turn     int       // whose backlog Work looks at first
	lookAt   int64     // when to see whether a consumer is stuck that others wait for; 0 is never
	spread   bool      // a block was given to several channels, or sealed, since HasWork

	woken []*Consumer

	published, bytes, emptied, dropped, lost, deferredIn uint64

	pause Pause // why it is paused, while it is
}

// cut is some messages of the backlog that are discarded when fanned gets to
// them. They have no positions of their own: at is that of what follows.
type cut struct {
	at uint64
	n  int
}

// origin is where positions start, so that what a restart finds in a channel's
// own backlog has positions before it.
const origin = 1 << 40

// NewTopic returns an empty topic.
func NewTopic(c Config) *Topic {
	return &Topic{Config: c, ephemeral: protocol.Ephemeral(c.Name), end: origin, fanned: origin, blockSize: MinBlock}
}

// ErrNoMemory is returned for deferred publishes while memory is short: they
// cannot be spilled.
var ErrNoMemory = errors.New("deferred messages do not fit into the memory limit")

// Publish appends messages. It copies the bodies.
func (t *Topic) Publish(bodies [][]byte, now int64) {
	t.published += uint64(len(bodies))
	for len(bodies) > 0 {
		if t.open == nil || t.open.room() < protocol.MessageOverhead+len(bodies[0]) {
			t.begin(bodies)
		}
		n := 0
		for _, body := range bodies {
			if t.open.room() < protocol.MessageOverhead+len(body) {
				break
			}
			t.open.append(now, body)
			t.bytes += uint64(len(body))
			n++
		}
		t.open.stamp(now)
		t.open.show()
		t.end += uint64(n)
		if t.openFanned {
			t.fanned += uint64(n)
		}
		bodies = bodies[n:]
	}
	for _, c := range t.channels {
		c.rouse()
	}
}

// begin seals the open block and opens one for bodies.
func (t *Topic) begin(bodies [][]byte) {
	t.seal()
	size := t.sizeFor(bodies)
	if t.lastID-t.nextID < MaxBlock {
		t.nextID = t.Extent()
		t.lastID = t.nextID + IDExtent
	}
	t.open = t.Store.Block(size)
	t.open.first = t.nextID
	t.open.refs = 1
}

// sizeFor is how large a block should be that begins with bodies.
func (t *Topic) sizeFor(bodies [][]byte) int {
	most := MaxBlock
	if t.Store.Tight() {
		most = tightBlock
	}
	want := 0
	for _, b := range bodies {
		if want += protocol.MessageOverhead + len(b); want >= most {
			break
		}
	}
	size := max(protocol.MessageOverhead+len(bodies[0]), min(max(want, t.blockSize), most))
	t.blockSize = min(4*t.blockSize, MaxBlock)
	return size
}

// seal closes the open block: the next message begins another.
func (t *Topic) seal() {
	b := t.open
	if b == nil {
		return
	}
	if t.log != nil {
		if len(t.log.staged) == 0 {
			t.sealLogged()
			t.evict()
		}
		return
	}
	b.sealed, t.spread = true, true
	t.nextID = b.first + uint64(b.Len())
	if t.openFanned {
		for _, c := range t.channels {
			if c.current != nil && c.current.block == b {
				c.spendIfDone(c.current)
			}
			if c.backlog.forgetEmpty(b) {
				t.drop(b)
			}
		}
	} else {
		t.backlog.push(span{b, 0}, t.full())
	}
	t.open, t.openFanned = nil, false
	t.drop(b)
	t.shed()
}

// Idle tells the topic that nothing was published for a while. It lets go of
// a block that is mostly unused.
func (t *Topic) Idle() {
	t.seal()
	t.blockSize = MinBlock
}

// drop gives up a reference to a block.
func (t *Topic) drop(b *Block) {
	if b.refs--; b.refs == 0 {
		t.Store.Recycle(b)
	}
}

// inMemory is the number of messages in the topic's backlog that are neither
// on disk nor in the open block.
func (t *Topic) inMemory() int {
	n := int(t.end-t.fanned) + t.toBeCut() - t.backlog.disk.Messages
	if t.open != nil && !t.openFanned {
		n -= t.open.Len()
	}
	return n
}

func (t *Topic) full() bool { return t.inMemory() >= t.MemoryMessages || t.Store.Tight() }

func (c *Channel) inMemory() int {
	return max(0, int(int64(c.topic.fanned)-int64(c.cursor))) - c.backlog.disk.Messages
}

func (c *Channel) full() bool {
	return c.inMemory() >= c.topic.MemoryMessages || c.topic.Store.Tight()
}

// fan hands the next block to the channels that want it. ok is false when
// there is none, or stalled is true: it has to come from disk.
func (t *Topic) fan() (ok, stalled bool) {
	for !ok {
		if t.paused && t.fanned >= t.pausedAt {
			return false, false
		}
		s, found, stalled := t.backlog.pop()
		if stalled {
			return false, true
		}
		if found && t.cutOff(s) {
			continue
		}
		if !found {
			if t.open == nil || t.openFanned {
				return false, false
			}
			s = span{t.open, 0}
			t.open.refs++
			t.openFanned = true
		}
		n := s.messages()
		t.spread = true
		for _, c := range t.channels {
			from := min(n, max(0, int(int64(c.cursor)-int64(t.fanned))))
			if from < n || !s.block.sealed {
				c.backlog.push(span{s.block, s.from + from}, c.full())
				ok = true
			}
		}
		t.fanned += uint64(n)
		for _, c := range t.channels {
			c.shed()
		}
		t.drop(s.block)
		if t.fanned == t.end && len(t.cuts) > 0 {
			t.discard(t.end, 0) // what is cut need not wait for what comes next
		}
	}
	return true, false
}

// Defer publishes a message that each channel delivers when due has come.
func (t *Topic) Defer(body []byte, due, now int64) error {
	if t.Store.Full() {
		return ErrNoMemory
	}
	id := t.DeferID()
	frame := make([]byte, 0, protocol.MessageOverhead+len(body))
	frame = protocol.AppendMessage(frame, now, 0, id, body)
	p := parked{id: id, frame: frame, due: due}
	t.published++
	t.deferredIn++
	t.bytes += uint64(len(body))
	if len(t.channels) == 0 || t.paused {
		t.Store.Charge(p.cost())
		t.deferred = append(t.deferred, &p)
		return nil
	}
	for _, c := range t.channels {
		c.receive(p, now)
	}
	return nil
}

// DeferID draws the ID of a deferred publish.
func (t *Topic) DeferID() uint64 {
	if t.deferID == t.deferLast {
		t.deferID = t.Extent()
		t.deferLast = t.deferID + IDExtent
	}
	t.deferID++
	return t.deferID - 1
}

// receive takes in a deferred publish.
func (c *Channel) receive(p parked, now int64) {
	c.counts.Deferred++
	c.park(&p, p.due, now)
	c.rouse()
}

// handOver gives the channels the deferred publishes that wait for them.
func (t *Topic) handOver(now int64) {
	if len(t.channels) == 0 || t.paused {
		return
	}
	for _, p := range t.deferred {
		t.Store.Charge(-p.cost())
		for _, c := range t.channels {
			c.receive(*p, now)
		}
	}
	t.deferred = nil
	if t.log != nil {
		for _, e := range t.log.deferred {
			for _, c := range t.channels {
				c.takeIn(e, now)
			}
		}
		t.log.deferred = nil
	}
}

// limit is the position up to which messages are for the channels.
func (t *Topic) limit() uint64 {
	if t.paused {
		return t.pausedAt
	}
	return t.end
}

// Woken returns the consumers to be woken since the last call, and forgets
// them. The slice is the caller's until the next call on the topic; it should
// clear it then, or consumers that are gone are kept alive.
func (t *Topic) Woken() []*Consumer {
	w := t.woken
	t.woken = t.woken[:0]
	return w
}

// Expire does what is due in all channels.
func (t *Topic) Expire(now int64) {
	t.lookForStuck(now)
	for _, c := range t.channels {
		c.Expire(now)
	}
}

// Earliest is when Expire is next needed; ok is false when it is not.
func (t *Topic) Earliest() (when int64, ok bool) {
	when, ok = t.NextLook()
	for _, c := range t.channels {
		if w, has := c.Earliest(); has && (!ok || w < when) {
			when, ok = w, true
		}
	}
	return when, ok
}
