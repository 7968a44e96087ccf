package stats

import (
	"fmt"
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
	Value    float64 `json:"value"`    // ns
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

// TimeBounds are the bounds of the times from publish to FIN, in seconds.
var TimeBounds = []float64{0.0001, 0.001, 0.01, 0.1, 1, 10, 60, 600, 3600}

// Histogram is how many times were how long.
type Histogram struct {
	Bounds []float64 // seconds, rising; each is the most that its count is for
	Counts []uint64  // one more than Bounds: the last is for what is longer
	Sum    float64   // seconds
}

// readTimes copies a channel's times from publish to FIN. Under the topic's lock.
func readTimes(*queue.Channel) *Histogram { return nil }

// readLatencies adds quantiles to the topic and its channels.
func (t *Topic) readLatencies(*broker.Topic) {}
