// Package board makes text of what is known of all daemons: a table for a screen, a line
// a period, nsq_stat's columns, or JSON. It is pure: a Sample is made of a snapshot and
// those before it, a State of keys, and the text of both.
package board

import (
	"math"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
)

// Only says what is shown: what is empty is all.
type Only struct{ Topic, Channel string }

// A Row is a topic, or a channel of it, over all nodes. A topic's figures are of what
// came in, and of what no channel has yet; Clients are consumers.
type Row struct {
	Topic, Channel string // Channel is empty: the topic
	fleet.Figures         // Rates are since the sample before
	Paused         bool
	Troubles       []fleet.Trouble // the worst first
}

// Name is the row as one word.
func (r *Row) Name() string {
	if r.Channel == "" {
		return r.Topic
	}
	return r.Topic + "/" + r.Channel
}

// A Sample is what is known at a moment, of what is shown.
type Sample struct {
	At       time.Time
	Nodes    []*fleet.Node
	Lookupds []fleet.Lookupd
	Total    fleet.Figures // Rates are since the sample before
	Rows     []Row         // by name; a topic before its channels
	Troubles []fleet.Trouble
}

// Up counts the nodes that answer.
func (s *Sample) Up() int {
	n := 0
	for _, node := range s.Nodes {
		if node.Up {
			n++
		}
	}
	return n
}

// Find is the row of a topic or channel, or nil.
func (s *Sample) Find(topic, channel string) *Row {
	for i := range s.Rows {
		if r := &s.Rows[i]; r.Topic == topic && r.Channel == channel {
			return r
		}
	}
	return nil
}

// A Gauge makes samples of one snapshot after the other. A snapshot's own rates are over
// ten seconds, for people who look at a page; those of samples are over the time since
// the daemon was read before: scripts add lines up.
type Gauge struct {
	only  Only
	nodes map[string]*reading
}

// reading is what is remembered of a node.
type reading struct {
	meter *history.Meter
	seen  time.Time // when it was read last
	rates map[part]fleet.Rates
}

// part is a topic, or a channel of it.
type part struct{ topic, channel string }

// NewGauge returns a Gauge that has seen nothing.
func NewGauge(only Only) *Gauge { return &Gauge{only, map[string]*reading{}} }

// Sample takes a snapshot. In the first one of a node its rates are not known, nor while
// it does not answer; the next ones are over the time since it did. Those of one that is
// only late stand.
func (g *Gauge) Sample(snap *fleet.Snapshot) *Sample {
	there := make(map[string]*reading, len(snap.Nodes))
	for _, n := range snap.Nodes {
		r := g.nodes[n.Address]
		if r == nil {
			r = &reading{meter: history.NewMeter()}
		}
		r.read(n)
		if !n.Up {
			r.rates = nil
		}
		there[n.Address] = r
	}
	g.nodes = there
	s := &Sample{At: snap.At, Nodes: snap.Nodes, Lookupds: snap.Lookupds}
	for _, t := range snap.Topics {
		g.addTopic(s, t)
	}
	s.sum()
	for _, t := range snap.Troubles {
		if t.Topic == "" || g.shows(t.Topic, t.Channel) {
			s.Troubles = append(s.Troubles, t)
		}
	}
	return s
}

// shows says whether a topic or channel is to be shown. Where one channel is wanted, its
// topics are not.
func (g *Gauge) shows(topic, channel string) bool {
	return (g.only.Topic == "" || g.only.Topic == topic) && (g.only.Channel == "" || g.only.Channel == channel)
}

// read takes a node's counters, if it has told new ones.
func (r *reading) read(n *fleet.Node) {
	if n.Seen.IsZero() || n.Seen.Equal(r.seen) {
		return
	}
	r.seen = n.Seen
	now := r.meter.Read(n.Started, n.Seen)
	r.rates = make(map[part]fleet.Rates, len(r.rates))
	for i := range n.Topics {
		t := &n.Topics[i]
		r.rates[part{topic: t.Name}], _ = now.Rates(t.Name, "", history.Counters{In: t.Messages})
		for j := range t.Channels {
			c := &t.Channels[j]
			r.rates[part{t.Name, c.Name}], _ = now.Rates(t.Name, c.Name, counters(c, n.Millrace))
		}
	}
	now.End()
}

// counters are what a channel has counted. nsqd does not count what is finished: of what
// came, that is all that is no longer there; but what it had before its start never
// came, so it may be below zero, which the offset keeps from wrapping.
func counters(c *fleet.NodeChannel, finishedIsCounted bool) history.Counters {
	out := c.Finished
	if !finishedIsCounted {
		// #nosec G115 -- a difference modulo 2^64, which only is compared
		out = 1<<62 + c.Messages - uint64(c.Depth+c.InFlight+c.Deferred)
	}
	return history.Counters{In: c.Messages, Out: out, Requeue: c.Requeued, Timeout: c.TimedOut}
}

func (g *Gauge) addTopic(s *Sample, t *fleet.Topic) {
	if g.only.Topic != "" && t.Name != g.only.Topic {
		return
	}
	if g.only.Channel == "" {
		row := Row{Topic: t.Name, Figures: t.Figures, Paused: t.Paused, Troubles: own(t.Troubles)}
		row.Rates = g.rates(t, "")
		s.Rows = append(s.Rows, row)
	}
	for _, c := range t.Channels {
		if g.only.Channel != "" && c.Name != g.only.Channel {
			continue
		}
		row := Row{Topic: t.Name, Channel: c.Name, Figures: c.Figures, Paused: c.Paused, Troubles: c.Troubles}
		row.Rates = g.rates(t, c.Name)
		s.Rows = append(s.Rows, row)
	}
}

// own are a topic's troubles without those of its channels.
func own(all []fleet.Trouble) (of []fleet.Trouble) {
	for _, t := range all {
		if t.Channel == "" {
			of = append(of, t)
		}
	}
	return of
}

// rates sums the nodes' rates of a topic or channel, as far as they are known.
func (g *Gauge) rates(t *fleet.Topic, channel string) fleet.Rates {
	sum := fleet.UnknownRates
	for i := range t.Nodes {
		if r := g.nodes[t.Nodes[i].Node]; r != nil {
			if rates, known := r.rates[part{t.Name, channel}]; known {
				add(&sum, rates)
			}
		}
	}
	return sum
}

// add adds rates, of which each may be unknown.
func add(sum *fleet.Rates, r fleet.Rates) {
	plus := func(to *float64, v float64) {
		if *to < 0 || v < 0 || math.IsNaN(v) {
			*to = max(*to, v, -1)
			return
		}
		*to += v
	}
	plus(&sum.In, r.In)
	plus(&sum.Out, r.Out)
	plus(&sum.Requeue, r.Requeue)
	plus(&sum.Timeout, r.Timeout)
}

// sum makes Total of the rows. A message that two channels have has come once, to its
// topic.
func (s *Sample) sum() {
	if s.Total.Rates = fleet.UnknownRates; len(s.Rows) == 0 && s.Up() > 0 {
		s.Total.Rates = fleet.Rates{} // there is nothing, and that is known
	}
	topics := len(s.Rows) > 0 && s.Rows[0].Channel == ""
	for i := range s.Rows {
		r := &s.Rows[i]
		rates := r.Rates
		if r.Channel != "" && topics {
			rates.In = -1
		} else {
			s.Total.Messages += r.Messages
		}
		if r.Channel == "" && rates.In >= 0 { // without channels nothing goes out: that is known
			rates.Out, rates.Requeue, rates.Timeout = 0, 0, 0
		}
		add(&s.Total.Rates, rates)
		s.Total.Depth += r.Depth
		s.Total.OnDisk += r.OnDisk
		s.Total.InFlight += r.InFlight
		s.Total.Deferred += r.Deferred
		s.Total.Dead += r.Dead
		s.Total.Requeued += r.Requeued
		s.Total.TimedOut += r.TimedOut
		s.Total.Finished += r.Finished
		s.Total.Clients += r.Clients
	}
}
