package queue

import "github.com/millrace-mq/millrace/protocol"

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
)

// Work is one thing to be done on disk for the backlog of a topic or of one of
// its channels. The topic's owner does it, one at a time and in the order
// given, without holding up calls on the topic meanwhile.
type Work struct {
	Kind    WorkKind
	Channel string // "" is the topic's own backlog

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
	if t.ephemeral {
		return w, false
	}
	if kind := t.backlog.work(t.full()); kind != nothing {
		return t.begun(kind, &t.backlog, nil), true
	}
	for _, c := range t.channels {
		if protocol.Ephemeral(c.name) {
			continue // it sheds what it has no memory for
		}
		if kind := c.backlog.work(c.full()); kind != nothing {
			return t.begun(kind, &c.backlog, c), true
		}
	}
	return w, false
}

func (t *Topic) begun(kind WorkKind, b *backlog, c *Channel) Work {
	w := Work{Kind: kind, backlog: b, channel: c, epoch: b.epoch}
	if c != nil {
		w.Channel = c.name
	}
	switch kind {
	case Write:
		b.writing = true
		w.span = b.tail.at(0)
		w.span.block.refs++
	case Read:
		b.reading = true
	}
	return w
}

// Behind is how many blocks wait to be written, in the backlog that has the
// most of them.
func (t *Topic) Behind() int {
	n := 0
	if t.backlog.work(t.full()) == Write || t.backlog.writing {
		n = t.backlog.tail.len()
	}
	for _, c := range t.channels {
		if c.backlog.tail.len() > n && (c.backlog.writing || c.backlog.work(c.full()) == Write) {
			n = c.backlog.tail.len()
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
	case Read:
		w.backlog.reading = false
	case Purge:
		if w.backlog == nil {
			t.orphans = append(t.orphans, w.Channel)
		}
	}
}

// DidRead tells that a Read was done, with the block that was read, sealed and
// held by nobody; nil for a record that was damaged. end says that nothing is
// left on disk, whatever was expected there.
func (t *Topic) DidRead(w Work, block *Block, end bool) {
	b := w.backlog
	b.reading = false
	if b.epoch == w.epoch {
		if block != nil {
			block.refs++
			b.head.push(span{block, 0})
			b.disk.Messages -= block.Len()
		}
		if b.disk.Blocks--; end {
			b.disk.Blocks = 0
		}
		if b.disk.Blocks == 0 {
			t.lose(w.channel, b.disk.Messages)
			b.disk.Messages = 0
		}
		if b.disk.Blocks == 0 || b.head.len() >= ahead {
			b.wanted = false
		}
	} else if block != nil {
		t.Store.Recycle(block)
	}
	t.resume(w.channel)
}

// lose takes n messages that are missing on disk out of the positions.
func (t *Topic) lose(c *Channel, n int) {
	if c != nil {
		c.cursor += uint64(n)
		c.counts.Lost += uint64(n)
		return
	}
	// Of the topic's own backlog, the end moves instead: the blocks behind the
	// missing ones keep their places relative to it.
	t.lost += uint64(n)
	t.end -= uint64(n)
	if t.paused {
		t.pausedAt = min(t.pausedAt, t.end)
	}
	for _, o := range t.channels {
		o.cursor = min(o.cursor, t.limit())
		o.from -= uint64(n)
		o.counts.Lost += uint64(n)
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
	if len(t.orphans) > 0 {
		return true
	}
	if t.ephemeral {
		return false
	}
	if t.backlog.work(t.full()) != nothing {
		return true
	}
	for _, c := range t.channels {
		if !protocol.Ephemeral(c.name) && c.backlog.work(c.full()) != nothing {
			return true
		}
	}
	return false
}
