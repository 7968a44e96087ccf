// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative.

package queue

import (
	"slices"

	"github.com/millrace-mq/millrace/protocol"
)

// WorkKind says what is to be done on disk.
type WorkKind int

// The kinds of Work.
const (
	nothing WorkKind = iota
	// Write: append the frames to the disk queue, then call Wrote.
	Write
	// Read: take the first record off the disk queue, then call DidRead.
	Read
	// Purge: delete the disk queue, then call Purged.
	Purge
	// Load: read a block from the log, from Position on, then call Loaded.
	Load
	// Fetch: read the bodies at Places, then call Fetched.
	Fetch
)

// Work is one thing to be done on disk for the backlog of a topic or of one of
// its channels. The topic's owner does it, one at a time and in the order
// given, without holding up calls on the topic meanwhile.
type Work struct {
	Kind    WorkKind
	Channel string // "" is the topic's own backlog
	// Position is the first message that a Load is to bring.
	Position uint64

	places  []uint64
	end     uint64 // that of the topic when the work was begun
	backlog *backlog
	channel *Channel
	span    span
	epoch   int
}

// Frames are the bytes to be written, and the number of messages in them.
func (w Work) Frames() (frames []byte, messages int) {
	b := w.span.block
	return b.span(w.span.from, b.Len()), w.span.messages()
}

// Work returns what is to be done next, if anything, and counts it as begun.
func (t *Topic) Work() (w Work, ok bool) {
	if n := len(t.orphans); n > 0 {
		w = Work{Kind: Purge, Channel: t.orphans[n-1]}
		t.orphans = t.orphans[:n-1]
		return w, true
	}
	best, who := nothing, 0
	for i := range 1 + len(t.channels) {
		i = (t.turn + i) % (1 + len(t.channels))
		kind := t.workOf(i)
		if kind == Purge || best == nothing {
			best, who = kind, i
		}
		if kind == Purge {
			break // first what must not come back
		}
	}
	if best == nothing {
		return w, false
	}
	t.turn = who + 1
	return t.begun(best, who), true
}

// workOf says what is to be moved next for the topic's own backlog, which is
// number 0, or for that of a channel, which are numbered from 1.
func (t *Topic) workOf(i int) WorkKind {
	switch {
	case t.log != nil:
		if i == 0 {
			t.evict() // memory may have become tight
			return nothing
		}
		return t.channels[i-1].logWork()
	case t.ephemeral:
		return nothing
	case i == 0:
		return t.backlog.work(t.full(), t.Store.Tight())
	}
	c := t.channels[i-1]
	if protocol.Ephemeral(c.name) {
		return nothing // it sheds what it has no memory for
	}
	return c.backlog.work(c.full(), t.Store.Tight())
}

func (t *Topic) begun(kind WorkKind, i int) Work {
	if t.log != nil {
		return t.channels[i-1].beginLogWork(kind)
	}
	w := Work{Kind: kind, backlog: &t.backlog}
	if i > 0 {
		w.channel = t.channels[i-1]
		w.Channel, w.backlog = w.channel.name, &w.channel.backlog
	}
	b := w.backlog
	w.epoch = b.epoch
	switch kind {
	case Write:
		b.writing, b.hasRead = true, false
		w.span = b.tail.at(0)
		w.span.block.refs++
	case Read:
		b.reading, b.hasRead = true, true
	}
	return w
}

// Behind is how many blocks wait to be written, in the backlog that has the
// most of them.
func (t *Topic) Behind() int {
	if t.ephemeral || t.log != nil {
		return 0
	}
	n := t.backlog.behind(t.full())
	for _, c := range t.channels {
		if c.backlog.tail.len() > n && !protocol.Ephemeral(c.name) {
			n = max(n, c.backlog.behind(c.full()))
		}
	}
	return n
}

// Wrote tells that a Write was done.
func (t *Topic) Wrote(w Work) {
	b := w.backlog
	b.writing = false
	if b.epoch == w.epoch {
		s := b.tail.pop()
		if b.disk.Blocks == 0 {
			b.next = s.block.first + uint64(s.from)
		}
		b.disk.Blocks++
		b.disk.Messages += s.messages()
		t.drop(s.block)
	}
	t.drop(w.span.block)
	t.resume(w.channel)
}

// Failed tells that a piece of work could not be done. It changed nothing, and
// will be asked for again.
func (t *Topic) Failed(w Work) {
	switch w.Kind {
	case Write:
		w.backlog.writing = false
		t.drop(w.span.block)
		t.resume(w.channel) // it can be delivered from memory meanwhile
	case Read:
		w.backlog.reading = false
	case Purge:
		if w.backlog == nil {
			t.orphans = append(t.orphans, w.Channel)
		}
	case Load:
		w.channel.reading.loading = false
	case Fetch:
		t.Fetched(w, nil)
	}
}

// DidRead tells that a Read was done, with the block that was read, sealed and
// held by nobody; nil for a record that was damaged. end says that nothing is
// left on disk, whatever was expected there. It returns how many messages are
// now known to be lost.
func (t *Topic) DidRead(w Work, block *Block, end bool) (lost int) {
	b := w.backlog
	b.reading = false
	if b.epoch == w.epoch {
		if block != nil {
			lost += t.mend(w, block)
			block.refs++
			b.head.push(span{block, 0})
			b.disk.Messages -= block.Len()
			b.next = block.first + uint64(block.Len())
		}
		b.damaged = block == nil
		if b.disk.Blocks--; end {
			b.disk.Blocks = 0
		}
		if b.disk.Blocks == 0 {
			lost += t.lose(w.channel, b.disk.Messages)
		}
		if b.disk.Blocks == 0 || b.head.len() >= ahead {
			b.wanted = false
		}
	} else if block != nil {
		t.Store.Recycle(block)
	}
	t.resume(w.channel)
	return lost
}

// mend finds out how many messages were in the damaged records before a block
// of the topic's own backlog, since the IDs in that have no gaps. Were they
// found to be missing only at the end, what lies between would meanwhile be
// taken for its neighbours: a pause, a cut or a late channel's beginning would
// be a few messages off.
func (t *Topic) mend(w Work, block *Block) (lost int) {
	b := w.backlog
	gap := block.first - b.next
	if !b.damaged || b.next == 0 || w.channel != nil || gap > uint64(b.disk.Messages-block.Len()) {
		return 0 // or there was a restart between
	}
	return t.lose(nil, int(gap))
}

// lose takes n messages that are missing on disk out of the positions.
func (t *Topic) lose(c *Channel, n int) int {
	if c != nil {
		c.backlog.disk.Messages -= n
		c.cursor += uint64(n)
		c.counts.Lost += uint64(n)
		return n
	}
	t.lost += uint64(n)
	t.backlog.disk.Messages -= n
	// They lay behind all that could be read.
	at, before := t.fanned, messagesIn(&t.backlog.head)
	for i, n := 0, n; n > 0 && i <= len(t.cuts); i++ {
		live := int(t.end - at)
		if i < len(t.cuts) {
			live = int(t.cuts[i].at - at)
		}
		passed := min(before, live)
		at += uint64(passed)
		before -= passed
		gone := min(n, live-passed)
		t.vanish(at, uint64(gone))
		if n -= gone; i < len(t.cuts) {
			passed = min(before, t.cuts[i].n)
			before -= passed
			gone = min(n, t.cuts[i].n-passed)
			t.cuts[i].n -= gone
			n -= gone
		}
	}
	t.cuts = slices.DeleteFunc(t.cuts, func(c cut) bool { return c.n == 0 })
	return n
}

// vanish takes n positions from at on away.
func (t *Topic) vanish(at, n uint64) {
	move := func(position *uint64) {
		*position -= min(n, max(at, *position)-at)
	}
	limit := t.limit()
	move(&t.end)
	move(&t.pausedAt)
	for i := range t.cuts {
		move(&t.cuts[i].at)
	}
	for _, c := range t.channels {
		depth := limit - c.cursor
		move(&c.cursor)
		c.from -= limit - t.limit()
		c.counts.Lost += depth - (t.limit() - c.cursor)
	}
}

// Purged tells that a Purge was done.
func (t *Topic) Purged(w Work) {
	if w.backlog != nil {
		w.backlog.purging = false
		t.resume(w.channel)
	}
}

// resume lets the channels that waited for the disk go on.
func (t *Topic) resume(c *Channel) {
	if c != nil {
		c.stalled = false
		c.rouse()
		return
	}
	for _, c := range t.channels {
		c.stalled = false
		c.rouse()
	}
}

// HasWork reports whether Work would return something.
func (t *Topic) HasWork() bool {
	t.spread = false
	if len(t.orphans) > 0 {
		return true
	}
	for i := range 1 + len(t.channels) {
		if t.workOf(i) != nothing {
			return true
		}
	}
	return false
}

// HasWorkFor is HasWork after a call that concerned one channel, or nil after a
// publish: it looks at the others only if the call gave or sealed a block that
// they have too, so that a topic may have very many.
func (t *Topic) HasWorkFor(c *Channel) bool {
	if t.spread || len(t.orphans) > 0 {
		return t.HasWork()
	}
	if t.log != nil {
		return c != nil && c.logWork() != nothing
	}
	if t.ephemeral {
		return false
	}
	tight := t.Store.Tight()
	return t.backlog.work(t.full(), tight) != nothing ||
		c != nil && !protocol.Ephemeral(c.name) && c.backlog.work(c.full(), tight) != nothing
}
