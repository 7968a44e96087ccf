package queue

import (
	"math"
	"slices"
	"testing"
	"time"
)

// TestLatencies: each bucket has what is as long as its bound and longer than
// the one before, at once and after redeliveries, restarts and evacuations.
func TestLatencies(t *testing.T) {
	const start = int64(1e18)
	w := newLogWorld(t, 1<<30, 1)
	w.now = start
	c := w.topic.AddChannel("c", w.now)
	k := c.Subscribe(nil, math.MaxInt64/4)
	k.SetReady(1000)
	var told []int64
	c.WatchLatencies(func(now, ns int64, messages int) { told = append(told, now-start, ns, int64(messages)) })
	var want Latencies
	var run Run
	for i, bound := range LatencyBounds {
		for _, ns := range []int64{bound, bound + 1} {
			w.now = start
			w.publish(2, 10)
			w.now = start + ns
			c.Next(k, &run, 1<<20, w.now)
			id := idOf(run.Frames)
			if err := c.Requeue(k, id, 0, w.now); err != nil { // the latency is from its publication all the same
				t.Fatal(err)
			}
			c.Finish(k, []uint64{id + 1}, w.now, nil)
			c.Next(k, &run, 1<<20, w.now)
			c.Finish(k, []uint64{id}, w.now, nil)
			want.Sum += 2 * float64(ns)
			if ns == bound {
				want.Counts[i] += 2
			} else {
				want.Counts[i+1] += 2
			}
		}
	}
	c.Release(&run)
	got := c.Latencies()
	if got.Counts != want.Counts || math.Abs(got.Sum-want.Sum) > 1 {
		t.Errorf("%v, not %v", got, want)
	}
	if n := len(told) / 3; n != 4*len(LatencyBounds) || told[0] != LatencyBounds[0] || told[1] != LatencyBounds[0] || told[2] != 1 {
		t.Errorf("%d latencies were told, first %v", n, told[:3])
	}
	w.audit()
}

// TestLatenciesOfABatch: messages of one batch of FINs that were published at
// different times each have their own latency, be it out of order or negative.
func TestLatenciesOfABatch(t *testing.T) {
	w := newWorld(t, "t", 1<<30, 1)
	c := w.topic.AddChannel("c", 0)
	k := c.Subscribe(nil, 1e9)
	k.SetReady(1000)
	now := int64(time.Hour)
	published := []int64{0, 0, now - 50_000, now - 2_000_000, now - 2_000_000, now - 50_000, now + 5_000, now - 2*int64(time.Minute), now - 1}
	for _, at := range published {
		w.now = at
		w.publish(1, 10)
	}
	var run Run
	c.Next(k, &run, 1<<20, now)
	var ids []uint64
	for i := range published {
		ids = append(ids, idOf(run.Frames)+uint64(i))
	}
	var told []int64
	c.WatchLatencies(func(_, ns int64, messages int) { told = append(told, ns, int64(messages)) })
	c.Finish(k, ids, now, nil)
	c.Release(&run)
	got := c.Latencies()
	want := Latencies{Sum: 2*float64(now) + 2*50_000 + 2*2_000_000 + 120e9 + 1}
	want.Counts[0] = 4 // two of 50 us, one that is negative, one of 1 ns
	want.Counts[3] = 2
	want.Counts[slices.Index(LatencyBounds[:], int64(3*time.Minute))] = 1
	want.Counts[len(LatencyBounds)-1] = 2
	if got != want {
		t.Errorf("%v, not %v", got, want)
	}
	if want := []int64{now, 2, 50_000, 1, 2_000_000, 2, 50_000, 1, 0, 1, int64(2 * time.Minute), 1, 1, 1}; !slices.Equal(told, want) {
		t.Errorf("told %v, not %v", told, want)
	}
	w.audit()
}
