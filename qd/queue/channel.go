// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative.

package queue

import "errors"

// Channel is one independent reading of a topic.
type Channel struct {
	name   string
	topic  *Topic
	serial uint64
	paused bool

	cursor  uint64  // position of the next first delivery
	backlog backlog // blocks handed out by the topic and not begun
	stalled bool    // the next block has to come from disk
	window  window
	current *chunk // the window's last: where the cursor is; nil at the start
	leases  leases
	parking parking
	again   bool // the last run was of parked messages: the next one is not

	reading     reading // if the topic has a log
	jumped      uint64  // positions without messages that the cursor was moved past
	replay      uint64  // an ephemeral channel sheds nothing before its cursor is here
	changes     []Change
	reset       bool   // so much has changed that all must be written
	maxAttempts int    // 0 is any number
	lowest      uint64 // no parked message lies in the log before it

	consumers map[*Consumer]struct{}
	lines     [nearnesses]line // of consumers, by how near they are
	idle      int              // how many wait in all of them
	part      int              // how much each that was woken is to take
	nearer    []*Consumer      // those that are not Elsewhere

	counts    ChannelCounts
	latencies Latencies
	watcher   func(now, ns int64, messages int)
	from      uint64 // what comes to the channel from now on lies behind it

	pause Pause // why it is paused, while it is
}

// ChannelCounts are events since the channel was opened.
type ChannelCounts struct {
	Deferred  uint64             // deferred publishes that entered
	Delivered [nearnesses]uint64 // by the Nearness of the consumer, redeliveries included
	Finished  uint64
	Sampled   uint64 // skipped by consumers that take only a part of their share
	Requeued  uint64 // by REQ, not by time-out or disconnection
	TimedOut  uint64
	Emptied   uint64
	Dropped   uint64 // beyond what an ephemeral channel or topic keeps
	Lost      uint64 // damaged on disk
	Resumed   uint64 // messages that it was opened with, or moved back to
	Buried    uint64 // delivered as often as they may be
	Revived   uint64 // of these, put in line again
	Deleted   uint64 // and dropped
}

// The reasons why a message cannot be answered, in NSQ's words.
var (
	ErrNotInFlight = errors.New("ID not in flight")
	ErrNotOwner    = errors.New("client does not own message")
)

// Name is the channel's name.
func (c *Channel) Name() string { return c.name }

// Serial tells the channel from others of the topic, of the same name too.
func (c *Channel) Serial() uint64 { return c.serial }

// Depth is the number of messages that could be delivered now: those that
// were never delivered, and parked ones that are ready again.
func (c *Channel) Depth() int { return c.unread() + c.parking.ready.n + c.parking.shelf.ready() }

// unread is the number of messages that were never delivered.
func (c *Channel) unread() int {
	if l := c.topic.log; l != nil {
		return l.messages(c.cursor, c.topic.limit())
	}
	return int(c.topic.limit() - c.cursor)
}

// DiskDepth is how many of them are on disk.
func (c *Channel) DiskDepth() int {
	if l := c.topic.log; l != nil {
		return l.messages(c.cursor, min(c.topic.inMemoryFrom(), c.topic.limit())) + c.parking.shelf.ready()
	}
	n := c.backlog.disk.Messages
	if c.cursor <= c.topic.fanned {
		n += c.topic.backlog.disk.Messages
	}
	return min(n, c.unread()) // a paused topic keeps some back
}

// InFlight is the number of messages that consumers hold.
func (c *Channel) InFlight() int {
	n := 0
	for k := range c.consumers {
		n += k.inFlight
	}
	return n
}

// Deferred is the number of messages that wait for their due time.
func (c *Channel) Deferred() int { return len(c.parking.waiting.items) + c.parking.shelf.later.n }

// Counts returns the counts of events.
func (c *Channel) Counts() ChannelCounts { return c.counts }

// Entered is the number of messages that came to the channel since it was
// opened. What turns out to be damaged did not come, so it may fall.
func (c *Channel) Entered() uint64 {
	return uint64(max(0, int64(c.entered())))
}

// entered is Entered with what was there before: less than 0, as a uint64, if
// some of that turns out to be damaged.
func (c *Channel) entered() uint64 {
	n := c.topic.limit() - c.from + c.counts.Deferred
	if l := c.topic.log; l != nil {
		n -= c.jumped + l.gone(c.cursor, c.topic.limit())
	}
	return n
}

// Consumers calls f for each consumer of the channel.
func (c *Channel) Consumers(f func(k *Consumer, ready, inFlight int, delivered, finished, requeued uint64)) {
	for k := range c.consumers {
		f(k, k.ready, k.inFlight, k.delivered, k.finished, k.requeued)
	}
}

// ConsumerCount is the number of the channel's consumers.
func (c *Channel) ConsumerCount() int { return len(c.consumers) }

// Subscribe adds a consumer that may hold a message for timeout nanoseconds.
// It starts without credit, and awake.
func (c *Channel) Subscribe(owner any, timeout int64) *Consumer {
	k := &Consumer{Owner: owner, channel: c, timeout: timeout}
	c.consumers[k] = struct{}{}
	c.lines[Elsewhere].members++
	return k
}

// Unsubscribe removes a consumer. What it held is ready again at once.
func (c *Channel) Unsubscribe(k *Consumer, now int64) {
	if k.gone {
		return
	}
	for l := k.leases.front(); l != nil; l = k.leases.front() {
		c.revoke(l, Disconnected, func(p *parked) { c.comeBack(p, now, now) })
	}
	c.leaveLine(k)
	delete(c.consumers, k)
	k.gone = true
	c.rouse()
}

// deliverable reports whether Next would find something for a consumer that
// has credit, as far as is known.
func (c *Channel) deliverable() bool {
	return !c.paused && (c.parking.ready.n > 0 ||
		c.unread() > 0 && !c.stalled && !c.crowded() && c.parking.shelf.resumed == 0)
}

// Next releases run and fills it with what k may have now: at most maxBytes of
// frames, or one message. It returns false, and k counts as asleep, when there
// is nothing or k has no credit.
func (c *Channel) Next(k *Consumer, run *Run, maxBytes int, now int64) bool {
	c.Release(run)
	turn := k.turn
	c.endTurn(k)
	k.absent = false
	if c.othersFirst(k, turn) {
		k.asleep = true
		c.wait(k)
		c.rouse()
		return false
	}
	k.asleep = false
	c.unwait(k)
	passed := k.skipped + c.counts.Buried
	if credit := k.credit(); credit > 0 && !c.paused && !k.gone {
		c.take(k, run, credit, maxBytes, turn, now)
	}
	if run.N == 0 {
		k.asleep = true
		sleeps := !k.gone && k.credit() > 0
		if sleeps {
			c.wait(k)
		}
		if !sleeps || k.skipped+c.counts.Buried > passed {
			c.rouse() // it was woken for what another one can have, or there is more than what was passed over
		}
		return false
	}
	k.inFlight += run.N
	k.delivered += uint64(run.N)
	c.counts.Delivered[k.near] += uint64(run.N)
	k.took = now
	c.rouse()
	return true
}

// othersFirst reports whether there is something for k that others should have:
// those who are nearer or, if it has just had some, those who wait.
func (c *Channel) othersFirst(k *Consumer, turn bool) bool {
	if len(c.nearer) > 0 && k.credit() > 0 && c.outdone(k.near) {
		return true
	}
	return !turn && c.lines[k.near].busy() && k.credit() > 0 && c.deliverable()
}

// take fills run with what k may have, if there is anything. One that samples
// goes on until it has something, unless others wait for their turn.
func (c *Channel) take(k *Consumer, run *Run, credit, maxBytes int, turn bool, now int64) {
	for again := true; again; {
		skipped := k.skipped
		parked := c.parking.ready.n > 0 && (!c.again || c.parking.ready.front().resumed || !c.fill())
		if parked {
			c.takeParked(k, run, credit, maxBytes, turn, now)
		}
		if run.N == 0 && c.fill() { // or all of them were buried or skipped
			c.takeFirst(k, run, credit, maxBytes, turn, now)
			parked = false
		}
		c.again = parked && run.N > 0
		again = run.N == 0 && k.skipped > skipped && !c.lines[k.near].busy()
	}
}

// Release gives up the run's hold on its block.
func (c *Channel) Release(run *Run) {
	if run.block != nil {
		c.topic.drop(run.block)
	}
	clear(run.Again)
	*run = Run{Again: run.Again[:0]}
}

// crowded reports whether so many messages are parked that there should be no
// first deliveries: what a consumer requeues cannot go to disk.
func (c *Channel) crowded() bool { return c.parking.bytes > c.topic.Store.ParkedLimit() }

// fill makes the current chunk one with something left to deliver.
func (c *Channel) fill() bool {
	if c.crowded() || c.parking.shelf.resumed > 0 {
		return false // those come first of all
	}
	for {
		if c.current != nil {
			if c.atHand() > 0 {
				return true
			}
			if c.topic.log != nil {
				c.skipHoles()
			}
			if c.current != nil && !c.current.over() {
				return false // it is being written, or beyond it is a pause
			}
			if c.current != nil {
				c.leave()
			}
		}
		s, ok, stalled := c.next()
		if !ok && !stalled && c.topic.log == nil {
			if ok, stalled = c.topic.fan(); ok {
				continue
			}
		}
		c.stalled = stalled
		if !ok {
			return false
		}
		c.current = c.window.begin(s)
		if old := c.window.clogged(); old != nil {
			c.evacuate(old)
		}
	}
}

// next takes the next block, or a part of one, from where the topic keeps them.
func (c *Channel) next() (s span, ok, stalled bool) {
	if c.topic.log != nil {
		return c.nextSpan()
	}
	return c.backlog.pop()
}

// leave steps off a chunk from which everything was delivered.
func (c *Channel) leave() {
	ch := c.current
	c.current = nil
	c.spendIfDone(ch)
}

// spendIfDone gives up a chunk when all of its block's messages were delivered
// and answered, and no more can come.
func (c *Channel) spendIfDone(ch *chunk) {
	if ch.open > 0 || ch.block == nil || !ch.over() {
		return
	}
	if ch == c.current {
		c.current = nil
	}
	c.topic.drop(c.window.spend(ch))
}

// share is how many messages one consumer should take at a time when so many
// are at hand, of all that there are: its part when others have waited with
// it. When all are busy, runs get shorter as the messages get fewer, so that at
// the end all have had about the same.
func (c *Channel) share(k *Consumer, atHand, all int, turn bool) int {
	switch others := c.lines[k.near].members - 1; {
	case others == 0:
		return atHand
	case turn:
		return min(atHand, c.part)
	default:
		return min(atHand, max(all/(2*others+2), 1))
	}
}

// takeFirst makes a run of first deliveries from the current chunk.
func (c *Channel) takeFirst(k *Consumer, run *Run, credit, maxBytes int, turn bool, now int64) {
	ch := c.current
	n := c.atHand()
	n = min(n, c.share(k, n, c.Depth(), turn))
	if k.sampling.rate > 0 {
		c.takeSome(k, run, n, credit, maxBytes, now)
		return
	}
	n = min(credit, n)
	b, from := ch.block, ch.at+len(ch.leases)
	if start := b.start(from); int(b.ends[from+n-1]-start) > maxBytes {
		// Not all of n fits: as many as do, but one in any case.
		fit := 1
		for ; fit < n && int(b.ends[from+fit]-start) <= maxBytes; fit++ {
		}
		n = fit
	}
	l := c.leases.grant(k, now, now+k.timeout, n)
	l.chunk, l.from, l.to = ch, len(ch.leases), len(ch.leases)+n
	for range n {
		ch.leases = append(ch.leases, l.slot)
	}
	ch.open += n
	c.cursor += uint64(n)
	b.refs++
	run.block, run.Frames, run.N = b, b.span(from, from+n), n
	if c.topic.log != nil && b.sealed && ch.rest() == 0 {
		c.topic.evict()
	}
}
