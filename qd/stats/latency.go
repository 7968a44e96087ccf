package stats

import (
	"fmt"
	"math"
	"strings"

	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
)

// Latency is the time from publish to FIN in the last part of the past, as far as
// quantiles of it were asked for in the settings.
type Latency struct {
	Count       int          `json:"count"`
	Percentiles []Percentile `json:"percentiles"` // null if none were asked for
}

// Percentile is a quantile's value.
type Percentile struct {
	Quantile float64 `json:"quantile"` // above 0, at most 1
	Value    float64 `json:"value"`    // whole ns
}

// String is the values, with a unit that makes them short, as nsqd has them.
func (l Latency) String() string {
	var all []string
	for _, p := range l.Percentiles {
		all = append(all, short(p.Value))
	}
	return strings.Join(all, ", ")
}

// short is a time in nanoseconds for people.
func short(ns float64) string {
	switch {
	case ns > 1e9:
		return fmt.Sprintf("%.1fs", ns/1e9)
	case ns > 1e6:
		return fmt.Sprintf("%.1fms", ns/1e6)
	case ns > 1e3:
		return fmt.Sprintf("%.1fus", ns/1e3)
	}
	return fmt.Sprintf("%.1fns", ns)
}

// TimeBounds are the bounds of histograms of times, in seconds, rising. What is as
// long as a bound is counted under it.
var TimeBounds = seconds(queue.LatencyBounds[:])

func seconds(ns []int64) (all []float64) {
	for _, n := range ns {
		all = append(all, float64(n)/1e9)
	}
	return all
}

// Histogram is how many times were how long.
type Histogram struct {
	Counts []uint64 // for each bound, those up to it and above the one before; and those above all
	Sum    float64  // seconds
}

// readTimes copies a channel's times from publish to FIN. Under the topic's lock.
func readTimes(c *queue.Channel) *Histogram {
	if c.Counts().Finished == 0 {
		return nil
	}
	all := c.Latencies()
	return &Histogram{all.Counts[:], all.Sum / 1e9}
}

// readLatencies adds quantiles, those that are wanted, to the topic and its
// channels.
func (t *Topic) readLatencies(from *broker.Topic, wanted []float64) {
	if len(wanted) == 0 {
		return
	}
	t.Latency = latency(from.Percentiles(""), wanted)
	for i := range t.Channels {
		t.Channels[i].Latency = latency(from.Percentiles(t.Channels[i].Name), wanted)
	}
}

// latency pairs quantiles with their values.
func latency(p broker.Percentiles, wanted []float64) Latency {
	l := Latency{Count: p.Count}
	for i, v := range p.Values {
		l.Percentiles = append(l.Percentiles, Percentile{wanted[i], math.Round(v)})
	}
	return l
}
