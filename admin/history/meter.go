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

	// forgetAfter is when what a daemon told last is forgotten. Its counters would still
	// tell the mean since then, but of what use is that.
	forgetAfter = time.Hour
)

// Counters are what a daemon has counted for a topic or a channel since it started,
// or since the topic or channel was made there. What it does not count stays 0.
type Counters struct {
	In, Out, Requeue, Timeout uint64
}

// Meter makes rates of a daemon's counters, by the rules in the package comment. It has
// no clock and no lock: it belongs to the one who polls.
//
// Messages are counted by segments of time, of which the newest is under way. They
// begin at readings, the same for all parts, so a part has sums only.
type Meter struct {
	started time.Time
	first   time.Time         // what the times below and in parts are counted from
	read    time.Time         // the last reading
	begins  [segments]float64 // when each segment began, in seconds since first
	turns   uint32            // how many segments were begun; the newest is turns % segments
	number  uint32            // of readings
	parts   map[part]*metered
}

// NewMeter returns a Meter that has read nothing.
func NewMeter() *Meter { return new(Meter) }

// Read begins what the daemon answered to a poll. started is its start as it tells it,
// zero if it does not; at is when it answered, with the monotonic clock if there is one:
// then a step of the clock is no elapsed time. Call Rates for each topic and channel of
// the answer, then End. An answer that is not whole is a missed poll.
func (m *Meter) Read(started, at time.Time) *Reading {
	away := at.Sub(m.read)
	if m.parts == nil || away > forgetAfter {
		*m = Meter{started: started, first: at, read: at, number: 1, parts: make(map[part]*metered)}
		return &Reading{meter: m, first: true}
	}
	r := &Reading{meter: m, Restarted: !started.Equal(m.started)}
	m.started = started
	m.number++
	switch {
	case away > 0:
		r.away = away
		m.turn()
		m.read = at
	case away < 0: // the clock was set back
		r.back = true
		m.first = m.first.Add(away)
		m.read = at
	}
	return r
}

// part names a topic or channel.
type part struct{ topic, channel string }

// metered is a topic or channel.
type metered struct {
	last   Counters
	since  float64              // when it was first known, in seconds since the meter's first
	sums   [segments][4]float32 // messages in each segment
	turns  uint32
	number uint32 // of the reading that told it last
}

// seconds is the time of the last reading.
func (m *Meter) seconds() float64 { return m.read.Sub(m.first).Seconds() }

// turn begins another segment if it is time. It is called before read moves on, so
// that the segment begins at a reading.
func (m *Meter) turn() {
	if now := m.seconds(); now-m.begins[m.turns%segments] >= window.Seconds()/segments*0.9 {
		m.turns++
		m.begins[m.turns%segments] = now
	}
}

// catchUp begins for a part the segments that the meter has begun since.
func (p *metered) catchUp(m *Meter) {
	for p.turns = max(p.turns, m.turns-min(m.turns, segments)); p.turns != m.turns; {
		p.turns++
		p.sums[p.turns%segments] = [4]float32{}
	}
}

// smooth is the rates up to a time, over as many segments as are in the window, one at
// least; unknown if the part is not older than that.
func (p *metered) smooth(m *Meter, upTo float64) fleet.Rates {
	var came [4]float64
	begin := upTo
	for i := range min(segments, m.turns+1) {
		k := (m.turns - i) % segments
		if begin <= p.since || begin < upTo && m.begins[k] < upTo-window.Seconds()*1.1 {
			break
		}
		for metric, v := range p.sums[k] {
			came[metric] += float64(v)
		}
		begin = m.begins[k]
	}
	span := upTo - max(begin, p.since)
	if span <= 0 {
		return fleet.UnknownRates
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

// Reading is a daemon's answer to one poll.
type Reading struct {
	Restarted bool // the daemon is not the one that was read before: worth a Mark

	meter *Meter
	away  time.Duration // since the reading before; 0 for the first
	first bool
	back  bool // the clock was set back, so nobody knows how long ago that was
}

// Rates takes a topic's counters, or a channel's, and returns the rates since the
// reading before, which are for the Store, and over the last few seconds, which are
// for people. Both are unknown if there is nothing to compare with.
func (r *Reading) Rates(topic, channel string, c Counters) (now, smooth fleet.Rates) {
	m := r.meter
	name := part{topic, channel}
	p := m.parts[name]
	if p == nil {
		p = &metered{}
		m.parts[name] = p
		return r.begin(p, c, !r.first && !r.Restarted && r.away > 0)
	}
	if p.number+1 != m.number {
		return r.begin(p, c, false) // it was left out of an answer, and End was not called
	}
	p.number = m.number
	p.catchUp(m)
	if r.away == 0 {
		if r.back {
			p.last = c
		}
		s := p.smooth(m, m.seconds())
		return s, s
	}
	if r.Restarted || c.fell(p.last) {
		return r.again(p, c)
	}
	came := c.since(p.last)
	p.last = c
	p.add(came)
	return ratesOf(came, r.away.Seconds()), p.smooth(m, m.seconds())
}

// begin is a part's first reading. If the daemon was read before, the part was made
// since then, and all that it counts came since. Of a daemon that has just started,
// or that we have just met, nobody knows that.
func (r *Reading) begin(p *metered, c Counters, made bool) (now, smooth fleet.Rates) {
	m := r.meter
	*p = metered{last: c, since: m.seconds(), turns: m.turns, number: m.number}
	if !made {
		return fleet.UnknownRates, fleet.UnknownRates
	}
	p.since -= r.away.Seconds()
	came := c.since(Counters{})
	p.add(came)
	return ratesOf(came, r.away.Seconds()), p.smooth(m, m.seconds())
}

// again is a part whose counters began anew. What it counts now says nothing of the
// time since the last reading, so what was known goes on until the next one.
func (r *Reading) again(p *metered, c Counters) (now, smooth fleet.Rates) {
	m, away := r.meter, r.away.Seconds()
	before := p.smooth(m, m.seconds()-away)
	if before == fleet.UnknownRates || r.away > Patience {
		return r.begin(p, c, false)
	}
	p.last = c
	p.add([4]float64{before.In * away, before.Out * away, before.Requeue * away, before.Timeout * away})
	return before, p.smooth(m, m.seconds())
}

// End forgets the topics and channels that were not in this answer: they are no
// longer there, and if they come again they are others.
func (r *Reading) End() {
	for name, p := range r.meter.parts {
		if p.number != r.meter.number {
			delete(r.meter.parts, name)
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
