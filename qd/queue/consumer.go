package queue

// Consumer is a channel's view of one subscribed connection. Its owner calls
// Next when it can send more, and sleeps when there is nothing; the channel
// names the sleeper to be woken when there is something again.
type Consumer struct {
	// Owner is whatever the topic's owner needs to wake the consumer.
	Owner any

	channel  *Channel
	timeout  int64 // how long it may hold a message, ns
	ready    int   // RDY: how many messages it may hold
	inFlight int
	leases   list[lease]
	sampling sampling

	asleep  bool           // its owner waits to be woken
	turn    bool           // it was woken because it has waited longest
	waiting node[Consumer] // on the channel's list: asleep, with credit
	near    Nearness
	absent  bool  // nobody waits for it until it calls Next again
	took    int64 // when it was given its last run
	gone    bool

	// Messages sent to it, and answered by it, since it subscribed.
	delivered, finished, requeued uint64
	skipped                       uint64 // because it samples
	timedOut                      uint64
	holding                       holding
}

// Run is what Next hands out: some contiguous frames to be written as they
// lie, or messages to be framed anew. It is valid until it is released, by
// Release or the next Next.
type Run struct {
	Frames []byte
	Again  []Redelivery // redeliveries, and first deliveries that do not lie in one piece
	N      int          // messages in all

	block *Block
}

// credit is how many more messages the consumer may hold.
func (k *Consumer) credit() int { return max(0, k.ready-k.inFlight) }

// SetReady sets RDY. A consumer that was out of credit may have become one to
// be woken.
func (k *Consumer) SetReady(n int) {
	k.ready = n
	k.channel.recheck(k)
	if k.near != Elsewhere {
		k.channel.rouse() // others may have what it does not want any more
	}
}

// SetTimeout changes, for later deliveries, how long the consumer may hold a
// message, in nanoseconds.
func (k *Consumer) SetTimeout(ns int64) { k.timeout = ns }

// InFlight is the number of messages that the consumer holds.
func (k *Consumer) InFlight() int { return k.inFlight }

// Gone reports whether the consumer was unsubscribed, be it because its
// channel or topic was deleted.
func (k *Consumer) Gone() bool { return k.gone }

// recheck puts a sleeping consumer where it belongs after its credit changed:
// awake if there is something for it, else on the list of those waiting.
func (c *Channel) recheck(k *Consumer) {
	if !k.asleep || k.gone {
		return
	}
	switch {
	case k.credit() == 0:
		c.unwait(k)
	case !k.waiting.listed():
		c.wait(k)
		c.rouse()
	}
}

// wait puts a consumer on the list of its line, if it is not there.
func (c *Channel) wait(k *Consumer) {
	if !k.waiting.listed() {
		c.lines[k.near].waiting.push(&k.waiting, k)
		c.idle++
	}
}

func (c *Channel) unwait(k *Consumer) {
	if k.waiting.listed() {
		c.lines[k.near].waiting.remove(&k.waiting)
		c.idle--
	}
}

// rouse gives the consumer that has waited longest its turn, if the channel
// has anything for it that those who have theirs will leave. Each one, when it
// comes, rouses the next, so a single message wakes a single consumer and a
// batch is handed out in equal parts, whoever of them is the fastest.
func (c *Channel) rouse() {
	if c.idle == 0 || !c.deliverable() {
		return
	}
	l := c.first()
	k := l.waiting.front()
	if len(c.nearer) > 0 && c.outdone(k.near) {
		return
	}
	all, idle := c.Depth(), l.waiting.n+l.turns
	part := (all + idle - 1) / idle
	if l.turns > 0 {
		if part = max(part, c.part); part*l.turns >= all {
			return
		}
	}
	c.part = part
	c.unwait(k)
	k.asleep, k.turn = false, true
	l.turns++
	c.topic.woken = append(c.topic.woken, k)
}

// Yield tells that k is busy with something else and will come, by Next, when
// it is not. Messages do not wait for it meanwhile.
func (c *Channel) Yield(k *Consumer) {
	k.asleep = false
	k.absent = true
	c.unwait(k)
	if k.turn || k.near != Elsewhere {
		c.endTurn(k)
		c.rouse()
	}
}

// endTurn takes the consumer's turn from it, if it has one.
func (c *Channel) endTurn(k *Consumer) {
	if k.turn {
		k.turn = false
		c.lines[k.near].turns--
	}
}
