// Package histogram counts how long things take, in buckets with fixed bounds.
package histogram

import (
	"slices"
	"sync/atomic"
	"time"
)

// Histogram counts durations. Its methods may be called by any number of
// goroutines.
type Histogram struct {
	bounds []time.Duration
	counts []atomic.Uint64
	sum    atomic.Int64
}

// New returns a histogram with a bucket for each bound, which must rise, and one
// for what is longer than all. What is as long as a bound is in its bucket.
func New(bounds ...time.Duration) *Histogram {
	return &Histogram{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Add counts a duration. A negative one counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	i, _ := slices.BinarySearch(h.bounds, d)
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Snapshot is what a histogram has counted.
type Snapshot struct {
	Bounds []time.Duration // the most that each bucket is for; not to be changed
	Counts []uint64        // one more than Bounds: the last is for what is longer
	Sum    time.Duration
}

// Snapshot returns what was counted so far. What is counted meanwhile may be in
// Counts and not in Sum.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Bounds: h.bounds, Counts: make([]uint64, len(h.counts)), Sum: time.Duration(h.sum.Load())}
	for i := range h.counts {
		s.Counts[i] = h.counts[i].Load()
	}
	return s
}
