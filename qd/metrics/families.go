package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-mq/millrace/qd/stats"
)

// family is a metric of every topic, or of every channel. The first counter is
// what came, and the first gauge what waits: whoever has most of them is shown.
type family[T any] struct {
	name, help string
	value      func(*T) float64
}

var topicCounters = []family[stats.Topic]{
	{"published_messages_total", "Messages published.", func(t *stats.Topic) float64 { return float64(t.MessageCount) }},
	{"published_bytes_total", "Bytes of the bodies published.", func(t *stats.Topic) float64 { return float64(t.MessageBytes) }},
	{"log_records_total", "Records written to the topic's logs: commits.", ofLog(func(l *stats.Log) float64 { return float64(l.Records) })},
	{"log_written_bytes_total", "Bytes written to the topic's logs.", ofLog(func(l *stats.Log) float64 { return float64(l.Written) })},
	{"damaged_records_total", "Records of the topic's logs found damaged.", ofLog(func(l *stats.Log) float64 { return float64(l.Damaged) })},
	{"lost_messages_total", "Messages in damaged records, and missing ones, as far as is known.", ofLog(func(l *stats.Log) float64 { return float64(l.Lost) })},
}

var topicGauges = []family[stats.Topic]{
	{"depth_messages", "Messages that no channel has been given yet.", func(t *stats.Topic) float64 { return float64(t.Depth) }},
	{"disk_depth_messages", "Of these, messages on disk alone.", func(t *stats.Topic) float64 { return float64(t.BackendDepth) }},
	{"disk_bytes", "What the topic takes on disk.", func(t *stats.Topic) float64 { return float64(t.Size) }},
	{"channels", "Channels of the topic.", func(t *stats.Topic) float64 { return float64(len(t.Channels)) }},
	{"paused", "1 while the topic is paused.", func(t *stats.Topic) float64 { return truth(t.Paused) }},
}

var channelCounters = []family[stats.Channel]{
	{"messages_total", "Messages that came to the channel.", func(c *stats.Channel) float64 { return float64(c.MessageCount) }},
	{"delivered_messages_total", "Messages sent to consumers, each time that they were.", delivered},
	{"finished_messages_total", "Messages finished by consumers.", func(c *stats.Channel) float64 { return float64(c.FinishedCount) }},
	{"requeued_messages_total", "Messages requeued by consumers.", func(c *stats.Channel) float64 { return float64(c.RequeueCount) }},
	{"timed_out_messages_total", "Messages that a consumer held for too long.", func(c *stats.Channel) float64 { return float64(c.TimeoutCount) }},
	{"sampled_messages_total", "Messages left out for consumers that asked for a sample.", func(c *stats.Channel) float64 { return float64(c.SampledCount) }},
	{"buried_messages_total", "Messages delivered as often as they may be: now dead.", func(c *stats.Channel) float64 { return float64(c.BuriedCount) }},
	{"revived_messages_total", "Dead messages put in line again.", func(c *stats.Channel) float64 { return float64(c.RevivedCount) }},
	{"deleted_messages_total", "Dead messages deleted.", func(c *stats.Channel) float64 { return float64(c.DeletedCount) }},
	{"emptied_messages_total", "Messages dropped by an operator.", func(c *stats.Channel) float64 { return float64(c.EmptiedCount) }},
	{"dropped_messages_total", "Messages dropped for a bound, or by an ephemeral channel.", func(c *stats.Channel) float64 { return float64(c.DroppedCount) }},
	{"lost_messages_total", "Messages found damaged that had been delivered or deferred.", func(c *stats.Channel) float64 { return float64(c.LostCount) }},
}

var channelGauges = []family[stats.Channel]{
	{"depth_messages", "Messages that could be delivered now.", func(c *stats.Channel) float64 { return float64(c.Depth) }},
	{"disk_depth_messages", "Of these, messages on disk alone.", func(c *stats.Channel) float64 { return float64(c.BackendDepth) }},
	{"in_flight_messages", "Messages that consumers hold.", func(c *stats.Channel) float64 { return float64(c.InFlightCount) }},
	{"deferred_messages", "Messages that wait for their due time.", func(c *stats.Channel) float64 { return float64(c.DeferredCount) }},
	{"dead_messages", "Messages delivered as often as they may be.", func(c *stats.Channel) float64 { return float64(c.DeadCount) }},
	{"consumers", "Connections that have subscribed.", func(c *stats.Channel) float64 { return float64(c.ClientCount) }},
	{"paused", "1 while the channel is paused.", func(c *stats.Channel) float64 { return truth(c.Paused) }},
}

func delivered(c *stats.Channel) float64 {
	return float64(c.ZoneLocalMsgCount + c.RegionLocalMsgCount + c.GlobalMsgCount)
}

// ofLog is a value of a topic's log; 0 if it has none.
func ofLog(value func(*stats.Log) float64) func(*stats.Topic) float64 {
	return func(t *stats.Topic) float64 {
		if t.Log == nil {
			return 0
		}
		return value(t.Log)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// values are the families' values for one topic or channel, with room for more.
func values[T any](families []family[T], of *T, room int) []float64 {
	all := make([]float64, 0, len(families)+room)
	for i := range families {
		all = append(all, families[i].value(of))
	}
	return all
}

// descs describes families, whose names begin with prefix.
func descs[T any](prefix string, families []family[T], labels ...string) (all []*prometheus.Desc) {
	for _, f := range families {
		all = append(all, prometheus.NewDesc(prefix+f.name, f.help, labels, nil))
	}
	return all
}

// times are a histogram's counts and sum, appended to all: zeroes if there is none.
func times(all []float64, h *stats.Histogram) []float64 {
	n := len(stats.TimeBounds) + 1
	if h == nil {
		return append(all, make([]float64, n+1)...)
	}
	for _, count := range h.Counts {
		all = append(all, float64(count))
	}
	return append(all, h.Sum)
}

// latency is what times made, as Prometheus has it; nil if nothing was counted.
func latency(desc *prometheus.Desc, bounds, of []float64, labels ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(bounds))
	var n float64
	for i, count := range of[:len(bounds)+1] {
		n += count
		if i < len(bounds) {
			buckets[bounds[i]] = uint64(n)
		}
	}
	if n == 0 {
		return nil
	}
	return prometheus.MustNewConstHistogram(desc, uint64(n), of[len(bounds)+1], buckets, labels...)
}
