// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative.

package queue

// This file is how a channel of a topic with a log comes by its blocks.

// reading is what a channel has of the log beyond the blocks that its topic has
// in memory.
type reading struct {
	ahead   fifo[*Block] // loaded for this channel, in order
	wanted  bool         // somebody waits for, or will soon need, what comes next
	loading bool
	epoch   int // counts the times that the cursor was moved
}

// nextSpan returns what comes at the cursor, with a hold on its block.
func (c *Channel) nextSpan() (s span, ok, stalled bool) {
	c.skipHoles()
	c.passAhead()
	t := c.topic
	if c.cursor >= t.limit() {
		return s, false, false
	}
	b := c.takeAhead()
	if b == nil {
		if b = t.block(c.cursor); b != nil {
			b.refs++
		}
	}
	if b == nil {
		c.reading.drop(t) // what was loaded lies elsewhere
		c.reading.wanted = true
		return s, false, true
	}
	if c.reading.ahead.len() <= ahead/2 {
		c.reading.wanted = true
	}
	return span{b, int(c.cursor - b.pos)}, true, false
}

// takeAhead takes the block with the message at the cursor from those loaded.
func (c *Channel) takeAhead() *Block {
	if a := &c.reading.ahead; a.len() > 0 && a.at(0).pos <= c.cursor {
		return a.pop()
	}
	return nil // the log had nothing between, or the cursor was moved
}

// passAhead lets go of loaded blocks that the cursor is behind, since memory had
// their messages, too, or it was moved.
func (c *Channel) passAhead() {
	for a := &c.reading.ahead; a.len() > 0 && a.at(0).end() <= c.cursor; {
		c.topic.drop(a.pop())
	}
}

// skipHoles moves the cursor behind positions without messages.
func (c *Channel) skipHoles() {
	for _, h := range c.topic.log.holes {
		if h.From <= c.cursor && c.cursor < h.To {
			to := min(h.To, c.topic.limit())
			if to <= c.cursor {
				return
			}
			c.jumped += to - c.cursor
			c.moveTo(to)
		}
	}
}

// atHand is how many messages can be delivered from the current chunk.
func (c *Channel) atHand() int {
	n := c.current.rest()
	if c.topic.log == nil {
		return n
	}
	n = min(n, int(c.topic.limit()-c.cursor))
	if h, ok := c.topic.log.hole(c.cursor); ok {
		n = min(n, int(max(h.From, c.cursor)-c.cursor))
	}
	return n
}

// moveTo puts the cursor where it was not led by deliveries.
func (c *Channel) moveTo(pos uint64) {
	c.cursor = pos
	c.stalled = false
	c.passAhead()
	if ch := c.current; ch != nil {
		ch.left = true
		c.leave()
	}
	c.topic.evict()
}

// dropTo moves the cursor on to pos, past messages that the channel misses.
func (c *Channel) dropTo(pos uint64) {
	if pos = min(pos, c.topic.limit()); pos <= c.cursor {
		return
	}
	n := uint64(c.topic.log.messages(c.cursor, pos))
	c.counts.Dropped += n
	c.jumped += pos - c.cursor - n
	c.moveTo(pos)
}

// wants returns the position that should be loaded for the channel next.
func (c *Channel) wants() (pos uint64, ok bool) {
	r, t := &c.reading, c.topic
	if !r.wanted || r.loading || r.ahead.len() >= ahead || r.ahead.len() > 0 && t.Store.Tight() {
		return 0, false
	}
	pos = c.cursor
	if c.current != nil {
		pos += uint64(c.current.rest())
	}
	if n := r.ahead.len(); n > 0 {
		pos = max(pos, r.ahead.at(n-1).end())
	}
	if h, found := t.log.hole(pos); found && h.From <= pos {
		pos = h.To
	}
	if pos >= t.limit() || t.block(pos) != nil {
		r.wanted = false
		return 0, false
	}
	return pos, true
}

// borrow takes a block that another channel has loaded. Channels that read the
// same part of the log at the same pace so read it once.
func (c *Channel) borrow(pos uint64) bool {
	for _, o := range c.topic.channels {
		if o == c {
			continue
		}
		if o.current != nil && o.current.block.sealed && covers(o.current.block, pos) {
			c.lend(o.current.block)
			return true
		}
		for i := range o.reading.ahead.len() {
			if b := o.reading.ahead.at(i); covers(b, pos) {
				c.lend(b)
				return true
			}
		}
	}
	return false
}

func covers(b *Block, pos uint64) bool { return pos >= b.pos && pos < b.end() }

func (c *Channel) lend(b *Block) {
	b.refs++
	c.reading.ahead.push(b)
	c.stalled = false
}

// Loaded tells that a Load was done, with the block that was read, sealed and
// held by nobody: the messages at pos and behind. Where that is beyond what was
// asked for, there are none between. A nil block says that there are none up to
// pos.
func (t *Topic) Loaded(w Work, block *Block, pos uint64) {
	c := w.channel
	c.reading.loading = false
	if block != nil {
		// Behind the end of then may lie what was rolled back since.
		block.pos = pos
		block.n = min(block.n, int(max(pos, w.end)-pos))
	}
	t.addHole(w.Position, min(pos, w.end))
	if block != nil {
		if block.refs++; c.reading.epoch == w.epoch {
			c.reading.ahead.push(block)
		} else {
			t.drop(block)
		}
	}
	c.passAhead()
	for _, o := range t.channels {
		o.skipHoles()
	}
	c.stalled = false
	c.rouse()
}

// drop lets go of what was loaded. What is being loaded or fetched is still
// wanted.
func (r *reading) drop(t *Topic) {
	for r.ahead.len() > 0 {
		t.drop(r.ahead.pop())
	}
}

// clear forgets what was loaded, and what is on its way.
func (r *reading) clear(t *Topic) {
	r.drop(t)
	*r = reading{loading: r.loading, epoch: r.epoch + 1}
}

// logWork says what is to be read from the log for the channel.
func (c *Channel) logWork() WorkKind {
	if c.wantsBodies() {
		return Fetch
	}
	for {
		pos, ok := c.wants()
		if !ok {
			return nothing
		}
		if !c.borrow(pos) {
			return Load
		}
		c.rouse()
	}
}

func (c *Channel) beginLogWork(kind WorkKind) Work {
	w := Work{Kind: kind, Channel: c.name, channel: c, epoch: c.reading.epoch, end: c.topic.end}
	if kind == Fetch {
		w.places = c.beginFetch()
		return w
	}
	w.Position, _ = c.wants()
	c.reading.loading = true
	return w
}
