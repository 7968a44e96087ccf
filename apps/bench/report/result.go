// Package report turns measurements into figures: percentiles, medians of
// rounds, and a table for people or JSON for machines.
package report

import (
	"cmp"
	"slices"
	"time"
)

// Result is what one workload gave on one broker. Fields that a workload or
// the lack of a pid leaves without meaning are zero and not in the JSON.
type Result struct {
	Work   string `json:"work"`
	Broker string `json:"broker"`
	Layers string `json:"layers,omitempty"` // below V2, as in "tls+snappy"; empty for none

	Messages   int64   `json:"messages,omitempty"`   // that were timed
	Deliveries int64   `json:"deliveries,omitempty"` // with fan-out, more than messages
	Seconds    float64 `json:"seconds"`              // timed
	Rate       float64 `json:"rate,omitempty"`       // messages a second

	CPUPerMessage  float64 `json:"cpu_us_per_message,omitempty"`      // the broker's, in microseconds
	LoadPerMessage float64 `json:"load_cpu_us_per_message,omitempty"` // our own, in microseconds
	CPUPercent     float64 `json:"cpu_percent,omitempty"`             // the broker's, of one CPU
	Resident       int64   `json:"resident_bytes,omitempty"`          // the broker's, at the end
	Peak           int64   `json:"peak_bytes,omitempty"`              // the broker's, at the most so far

	Latency *Latency `json:"latency,omitempty"`
}

// Name is the work, and the layers if there are any.
func (r Result) Name() string {
	if r.Layers == "" {
		return r.Work
	}
	return r.Work + " over " + r.Layers
}

// Latency is a distribution of times in microseconds.
type Latency struct {
	Samples int     `json:"samples"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	P999    float64 `json:"p99.9_us"`
	Max     float64 `json:"max_us"`
}

// Summarize returns the distribution of sorted, smallest first; nil if empty.
func Summarize(sorted []time.Duration) *Latency {
	if len(sorted) == 0 {
		return nil
	}
	at := func(perMille int) float64 { return microseconds(Percentile(sorted, perMille)) }
	return &Latency{Samples: len(sorted), P50: at(500), P99: at(990), P999: at(999), Max: at(1000)}
}

// Percentile returns the smallest of sorted that perMille thousandths of all
// samples do not exceed (the nearest rank). sorted must not be empty.
func Percentile(sorted []time.Duration, perMille int) time.Duration {
	rank := (len(sorted)*perMille + 999) / 1000
	return sorted[max(rank, 1)-1]
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// Median returns the middle one of the results of several rounds, whole, so
// that its figures belong together; of two in the middle, the worse. Rounds
// compare by rate, or else by median latency, or else by memory. rounds must
// not be empty.
func Median(rounds []Result) Result {
	rounds = slices.Clone(rounds)
	slices.SortStableFunc(rounds, func(a, b Result) int {
		switch {
		case a.Latency != nil && b.Latency != nil:
			return cmp.Compare(b.Latency.P50, a.Latency.P50)
		case a.Rate > 0 || b.Rate > 0:
			return cmp.Compare(a.Rate, b.Rate)
		}
		return cmp.Compare(b.Resident, a.Resident)
	})
	return rounds[(len(rounds)-1)/2]
}
