package history

import (
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
)

const (
	// window is over how long rates for people are taken, in so many segments.
	window   = 10 * time.Second
	segments = 5

	// Patience is for how long the last known rates stand for a node that does not
	// answer or has just started again. One missed poll is no news; a node that is
	// away for longer has no rates.
	Patience = 15 * time.Second

	// forgetAfter is when a node that does not come back is forgotten. Its counters
	// would still tell the mean since it was last read, but of what use is that.
	forgetAfter = time.Hour
)

// Unknown are rates of which nothing is known yet.
var Unknown = fleet.Rates{In: -1, Out: -1, Requeue: -1, Timeout: -1}

// Counters are what a daemon has counted for a topic or a channel since it started,
// or since the topic or channel was made there. What it does not count stays 0.
type Counters struct {
	In, Out, Requeue, Timeout uint64
}

// Meter makes rates of daemons' counters, by the rules in the package comment. It has
// no clock and no lock: it belongs to the one who polls.
type Meter struct {
	nodes map[string]*meteredNode
}

// NewMeter returns a Meter that knows no node.
func NewMeter() *Meter {
	return &Meter{nodes: make(map[string]*meteredNode)}
}

// Read begins what a node answered to a poll. started is the daemon's start as it
// tells it, zero if it does not; at is when it answered, with the monotonic clock if
// there is one: then a step of the clock is no elapsed time. Call Rates for each topic
// and channel of the answer, then End. An answer that is not whole is a missed poll.
func (m *Meter) Read(node string, started, at time.Time) *Reading {
	m.forget(at)
	n := m.nodes[node]
	if n == nil {
		n = &meteredNode{started: started, first: at, read: at, number: 1, parts: make(map[part]*metered)}
		m.nodes[node] = n
		return &Reading{node: n, first: true}
	}
	r := &Reading{node: n, Restarted: !started.Equal(n.started)}
	n.started = started
	n.number++
	switch away := at.Sub(n.read); {
	case away > 0:
		r.Away = away
		n.turn()
		n.read = at
	case away < 0: // the clock was set back
		r.back = true
		n.first = n.first.Add(away)
		n.read = at
	}
	return r
}

// Holds says whether what the node's last reading told still stands for it at a time
// when it does not answer. When it does not, its rates are unknown and count for
// nothing in sums.
func (m *Meter) Holds(node string, at time.Time) bool {
	n := m.nodes[node]
	return n != nil && at.Sub(n.read) <= Patience
}

// Forget drops all that is known of a node: it is no longer one of ours.
func (m *Meter) Forget(node string) { delete(m.nodes, node) }

func (m *Meter) forget(at time.Time) {
	for name, n := range m.nodes {
		if at.Sub(n.read) > forgetAfter {
			delete(m.nodes, name)
		}
	}
}

// meteredNode is what is known of a node since its last reading.
//
// Messages are counted by segments of time, of which the newest is under way. They
// begin at readings, the same for all parts of a node, so a part has sums only.
type meteredNode struct {
	started time.Time
	first   time.Time         // what the times below and in parts are counted from
	read    time.Time         // the last reading
	begins  [segments]float64 // when each segment began, in seconds since first
	turns   uint32            // how many segments were begun; the newest is turns % segments
	number  uint32            // of readings
	parts   map[part]*metered
}

// part names a topic or channel on a node.
type part struct{ topic, channel string }

// metered is a topic or channel on a node.
type metered struct {
	last   Counters
	since  float64              // when it was first known, in seconds since the node's first
	sums   [segments][4]float32 // messages in each segment
	turns  uint32
	number uint32 // of the reading that told it last
}

// seconds is the time of the last reading.
func (n *meteredNode) seconds() float64 { return n.read.Sub(n.first).Seconds() }

// turn begins another segment if it is time. It is called before read moves on, so
// that the segment begins at a reading.
func (n *meteredNode) turn() {
	if now := n.seconds(); now-n.begins[n.turns%segments] >= window.Seconds()/segments*0.9 {
		n.turns++
		n.begins[n.turns%segments] = now
	}
}

// catchUp begins for a part the segments that its node has begun since.
func (p *metered) catchUp(n *meteredNode) {
	for p.turns = max(p.turns, n.turns-min(n.turns, segments)); p.turns != n.turns; {
		p.turns++
		p.sums[p.turns%segments] = [4]float32{}
	}
}

// smooth is the rates up to a time, over as many segments as are in the window, one at
// least; Unknown if the part is not older than that.
func (p *metered) smooth(n *meteredNode, upTo float64) fleet.Rates {
	var came [4]float64
	begin := upTo
	for i := range min(segments, n.turns+1) {
		k := (n.turns - i) % segments
		if begin <= p.since || begin < upTo && n.begins[k] < upTo-window.Seconds()*1.1 {
			break
		}
		for m, v := range p.sums[k] {
			came[m] += float64(v)
		}
		begin = n.begins[k]
	}
	span := upTo - max(begin, p.since)
	if span <= 0 {
		return Unknown
	}
	return ratesOf(came, span)
}

// add counts what came in a reading.
func (p *metered) add(what [4]float64) {
	now := &p.sums[p.turns%segments]
	for i, v := range what {
		now[i] += float32(v)
	}
}

// Reading is one node's answer to one poll.
type Reading struct {
	Restarted bool          // the daemon is not the one that was read before: worth a Mark
	Away      time.Duration // since the reading before; 0 for the first

	node  *meteredNode
	first bool
	back  bool // the clock was set back, so nobody knows how long ago that was
}

// Rates takes a topic's counters, or a channel's, and returns the rates since the
// reading before, which are for the Store, and over the last few seconds, which are
// for people. Both are Unknown if there is nothing to compare with.
func (r *Reading) Rates(topic, channel string, c Counters) (now, smooth fleet.Rates) {
	n := r.node
	name := part{topic, channel}
	p := n.parts[name]
	if p == nil {
		p = &metered{}
		n.parts[name] = p
		return r.begin(p, c, !r.first && !r.Restarted && r.Away > 0)
	}
	if p.number+1 != n.number {
		return r.begin(p, c, false) // it was left out of an answer, and End was not called
	}
	p.number = n.number
	p.catchUp(n)
	if r.Away == 0 {
		if r.back {
			p.last = c
		}
		s := p.smooth(n, n.seconds())
		return s, s
	}
	if r.Restarted || c.fell(p.last) {
		return r.again(p, c)
	}
	came := c.since(p.last)
	p.last = c
	p.add(came)
	return ratesOf(came, r.Away.Seconds()), p.smooth(n, n.seconds())
}

// begin is a part's first reading. If the node was read before, the part was made
// since then, and all that it counts came since. Of a daemon that has just started,
// or that we have just met, nobody knows that.
func (r *Reading) begin(p *metered, c Counters, made bool) (now, smooth fleet.Rates) {
	n := r.node
	*p = metered{last: c, since: n.seconds(), turns: n.turns, number: n.number}
	if !made {
		return Unknown, Unknown
	}
	p.since -= r.Away.Seconds()
	came := c.since(Counters{})
	p.add(came)
	return ratesOf(came, r.Away.Seconds()), p.smooth(n, n.seconds())
}

// again is a part whose counters began anew. What it counts now says nothing of the
// time since the last reading, so what was known goes on until the next one.
func (r *Reading) again(p *metered, c Counters) (now, smooth fleet.Rates) {
	n, away := r.node, r.Away.Seconds()
	before := p.smooth(n, n.seconds()-away)
	if before == Unknown || r.Away > Patience {
		return r.begin(p, c, false)
	}
	p.last = c
	p.add([4]float64{before.In * away, before.Out * away, before.Requeue * away, before.Timeout * away})
	return before, p.smooth(n, n.seconds())
}

// End forgets the topics and channels that were not in this answer: they are no
// longer there, and if they come again they are others.
func (r *Reading) End() {
	for name, p := range r.node.parts {
		if p.number != r.node.number {
			delete(r.node.parts, name)
		}
	}
}

func (c Counters) fell(from Counters) bool {
	return c.In < from.In || c.Out < from.Out || c.Requeue < from.Requeue || c.Timeout < from.Timeout
}

func (c Counters) since(from Counters) [4]float64 {
	return [4]float64{
		float64(c.In - from.In), float64(c.Out - from.Out),
		float64(c.Requeue - from.Requeue), float64(c.Timeout - from.Timeout),
	}
}

func ratesOf(came [4]float64, seconds float64) fleet.Rates {
	return fleet.Rates{In: came[0] / seconds, Out: came[1] / seconds, Requeue: came[2] / seconds, Timeout: came[3] / seconds}
}
