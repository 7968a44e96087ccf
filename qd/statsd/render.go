package statsd

import (
	"math"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/stats"
)

// batch is lines in packets. A packet holds as many whole lines as fit.
type batch struct {
	prefix string
	size   int // bytes of a packet
	text   []byte
	starts []int // where packets begin, but for the first
	start  int   // of the last packet
}

// gauge adds a value as it is, and count what has come to a counter.
func (b *batch) gauge(name string, value int64) { b.line(name, strconv.FormatInt(value, 10), "g") }

func (b *batch) count(name string, delta uint64) { b.line(name, strconv.FormatUint(delta, 10), "c") }

func (b *batch) line(name, value, kind string) {
	n := len(b.prefix) + len(name) + len(value) + len(kind) + len(":|\n")
	if at := len(b.text); at+n-b.start > b.size && at > b.start {
		b.starts = append(b.starts, at)
		b.start = at
	}
	b.text = append(b.text, b.prefix...)
	b.text = append(b.text, name...)
	b.text = append(b.text, ':')
	b.text = append(b.text, value...)
	b.text = append(b.text, '|')
	b.text = append(b.text, kind...)
	b.text = append(b.text, '\n')
}

func (b *batch) packets() (all [][]byte) {
	from := 0
	for _, to := range b.starts {
		all = append(all, b.text[from:to])
		from = to
	}
	if from < len(b.text) {
		all = append(all, b.text[from:])
	}
	return all
}

// counts is what was pushed last, by topic and channel as they are, not by their
// names: one that was deleted and created again begins at 0.
type counts struct {
	topics   map[uint64]topicCounts
	channels map[channelID]channelCounts
	gcRuns   uint32
}

type channelID struct{ topic, serial uint64 }

type topicCounts struct{ messages, bytes uint64 }

type channelCounts struct{ messages, requeues, timeouts uint64 }

// since is the larger of what is and what was. A channel's count of messages falls when
// some of what waits for it turns out to be damaged; nobody sums up negative
// counts.
func (is topicCounts) since(was topicCounts) topicCounts {
	return topicCounts{max(is.messages, was.messages), max(is.bytes, was.bytes)}
}

func (is channelCounts) since(was channelCounts) channelCounts {
	return channelCounts{max(is.messages, was.messages), max(is.requeues, was.requeues), max(is.timeouts, was.timeouts)}
}

// render writes the figures in nsqd's order, and notes them as pushed.
func (p *pusher) render(b *batch, d stats.Daemon) {
	last := p.counts
	p.counts = counts{map[uint64]topicCounts{}, map[channelID]channelCounts{}, last.gcRuns}
	for i := range d.Topics {
		t := &d.Topics[i]
		if p.ExcludeEphemeral && protocol.Ephemeral(t.Name) {
			continue
		}
		was := last.topics[t.Number]
		is := topicCounts{t.MessageCount, t.MessageBytes}.since(was)
		p.counts.topics[t.Number] = is
		name := "topic." + t.Name + "."
		b.count(name+"message_count", is.messages-was.messages)
		b.count(name+"message_bytes", is.bytes-was.bytes)
		b.gauge(name+"depth", int64(t.Depth))
		b.gauge(name+"backend_depth", int64(t.BackendDepth))
		b.latencies(name, t.Latency)
		for j := range t.Channels {
			c := &t.Channels[j]
			if p.ExcludeEphemeral && protocol.Ephemeral(c.Name) {
				continue
			}
			id := channelID{t.Number, c.Serial}
			was := last.channels[id]
			is := channelCounts{c.MessageCount, c.RequeueCount, c.TimeoutCount}.since(was)
			p.counts.channels[id] = is
			b.channel(name+"channel."+c.Name+".", c, is, was)
		}
	}
	if d.Memory != nil && p.MemStats {
		b.memory(d.Memory, last.gcRuns)
		p.counts.gcRuns = d.Memory.GCTotalRuns
	}
}

func (b *batch) channel(name string, c *stats.Channel, is, was channelCounts) {
	b.count(name+"message_count", is.messages-was.messages)
	b.gauge(name+"depth", int64(c.Depth))
	b.gauge(name+"backend_depth", int64(c.BackendDepth))
	b.gauge(name+"in_flight_count", int64(c.InFlightCount))
	b.gauge(name+"deferred_count", int64(c.DeferredCount))
	b.count(name+"requeue_count", is.requeues-was.requeues)
	b.count(name+"timeout_count", is.timeouts-was.timeouts)
	b.gauge(name+"clients", int64(c.ClientCount))
	b.gauge(name+"dead_count", int64(c.DeadCount)) // ours
	b.latencies(name, c.Latency)
}

func (b *batch) latencies(name string, l stats.Latency) {
	for _, p := range l.Percentiles {
		b.gauge(name+"e2e_processing_latency_"+quantileName(p.Quantile), int64(p.Value))
	}
}

// quantileName is the quantile in percent. nsqd rounds to whole ones, so that 0.999
// and 1 have the same name, and one overwrites the other.
func quantileName(q float64) string {
	percent := math.Round(q*1e8) / 1e6 // 0.29*100 is not 29
	return strings.ReplaceAll(strconv.FormatFloat(percent, 'f', -1, 64), ".", "_")
}

func (b *batch) memory(m *stats.Memory, runs uint32) {
	for _, g := range m.Gauges() {
		// #nosec G115 -- figures of memory: far below 2^63
		b.gauge("mem."+g.Name, int64(g.Value))
	}
	b.count("mem.gc_runs", uint64(m.GCTotalRuns-runs))
}
