package sampler

import (
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
)

// meter sets the rates of all topics and channels: what was counted since the reading
// before. It reports whether the daemon has been restarted since.
func (s *stats) meter(m *history.Meter, at time.Time) (restarted bool) {
	reading := m.Read(s.started, at)
	n := len(s.topics)
	for i := range s.topics {
		n += len(s.topics[i].Channels)
	}
	s.now = make([]rates, 0, n)
	for i := range s.topics {
		t := &s.topics[i]
		now, smooth := reading.Rates(t.Name, "", history.Counters{In: t.Messages})
		t.Rates = smooth
		s.now = append(s.now, narrow(now))
		for j := range t.Channels {
			c := &t.Channels[j]
			now, smooth := reading.Rates(t.Name, c.Name, s.counters(c))
			c.Rates = smooth
			s.now = append(s.now, narrow(now))
		}
	}
	reading.End()
	return reading.Restarted
}

// counters are what a channel has counted.
func (s *stats) counters(c *fleet.NodeChannel) history.Counters {
	out := c.Finished
	if !s.millrace {
		// nsqd does not count what is finished. Of what came, that is all that is no longer
		// there; but what it had before its start never came, so it may be below zero.
		// #nosec G115 -- a difference modulo 2^64, which only is compared
		out = 1<<62 + c.Messages - uint64(c.Depth+c.InFlight+c.Deferred)
	}
	return history.Counters{In: c.Messages, Out: out, Requeue: c.Requeued, Timeout: c.TimedOut}
}

// silent is a copy of s in which no rate is known: of a daemon that has not answered for
// long.
func (s *stats) silent() *stats {
	quiet := *s
	quiet.now = nil
	quiet.topics = make([]fleet.NodeTopic, len(s.topics))
	copy(quiet.topics, s.topics)
	for i := range quiet.topics {
		t := &quiet.topics[i]
		t.Rates = fleet.UnknownRates
		t.Channels = append([]fleet.NodeChannel(nil), t.Channels...)
		for j := range t.Channels {
			t.Channels[j].Rates = fleet.UnknownRates
		}
	}
	return &quiet
}

func narrow(r fleet.Rates) rates {
	return rates{float32(r.In), float32(r.Out), float32(r.Requeue), float32(r.Timeout)}
}

// add adds rates of which each may be unknown.
func (r *rates) add(o rates) {
	r.in, r.out = plus(r.in, o.in), plus(r.out, o.out)
	r.requeue, r.timeout = plus(r.requeue, o.requeue), plus(r.timeout, o.timeout)
}

func plus(sum, rate float32) float32 {
	if sum < 0 || rate < 0 {
		return max(sum, rate)
	}
	return sum + rate
}

var unknown = rates{-1, -1, -1, -1}
