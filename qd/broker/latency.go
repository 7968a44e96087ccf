package broker

import (
	"math"

	"github.com/DataDog/sketches-go/ddsketch"

	"github.com/millrace-mq/millrace/qd/queue"
)

// This file is quantiles of the time from a message's publication to its FIN, in
// the last part of the past. They are kept only if the settings name some.

// Percentiles are the quantiles of a channel, or of all channels of a topic.
type Percentiles struct {
	// Count is how many messages were finished in the window.
	Count int
	// Values are in nanoseconds, for Settings.Percentiles one by one; 0 while Count
	// is 0. Each is within 1 % of that of some message of the rank.
	Values []float64
}

const (
	// accuracy is how far a quantile may be off, as a part of it.
	accuracy = 0.01
	// windowParts is into how many parts the window is cut: what is shown is of the
	// last nine of them, and of what has passed of the tenth.
	windowParts = 10
)

// times are the latencies of a channel in the window. Under Topic.mu.
type times struct {
	span  int64 // of a part, ns
	parts [windowParts]part
}

// part is what was finished in a part of the window.
type part struct {
	number int64 // of spans since the epoch
	sketch *ddsketch.DDSketch
}

// watch has the latencies of a channel kept, if percentiles are wanted. Under mu.
func (t *Topic) watch(c *queue.Channel) {
	if len(t.broker.Percentiles) == 0 || t.times[c] != nil {
		return
	}
	if t.times == nil {
		t.times = make(map[*queue.Channel]*times)
	}
	w := &times{span: max(int64(t.broker.PercentileWindow)/windowParts, 1)}
	t.times[c] = w
	c.WatchLatencies(w.add)
}

func (w *times) add(now, ns int64, messages int) {
	number := now / w.span
	p := &w.parts[number%windowParts]
	switch {
	case p.sketch == nil:
		p.sketch = newSketch()
	case p.number != number:
		p.sketch.Clear()
	}
	p.number = number
	_ = p.sketch.AddWithCount(float64(ns), float64(messages)) // any int64 that is not negative can be
}

// mergeInto adds what is in the window to all.
func (w *times) mergeInto(all *ddsketch.DDSketch, now int64) {
	for _, p := range w.parts {
		if p.sketch != nil && p.number > now/w.span-windowParts {
			_ = all.MergeWith(p.sketch) // made alike
		}
	}
}

func newSketch() *ddsketch.DDSketch {
	s, err := ddsketch.NewDefaultDDSketch(accuracy)
	if err != nil {
		panic(err) // the accuracy is a constant that fits
	}
	return s
}

// Percentiles are the quantiles that the settings name of the times from
// publication to FIN: those of a channel or, if channel is empty, those of all
// channels of the topic together. Without any in the settings, Values is empty.
func (t *Topic) Percentiles(channel string) Percentiles {
	wanted := t.broker.Percentiles
	p := Percentiles{Values: make([]float64, len(wanted))}
	if len(wanted) == 0 {
		return p
	}
	all, now := newSketch(), t.broker.Now()
	t.mu.Lock()
	if channel == "" {
		for _, w := range t.times {
			w.mergeInto(all, now)
		}
	} else if w := t.times[t.core.Channel(channel)]; w != nil {
		w.mergeInto(all, now)
	}
	t.mu.Unlock()
	if p.Count = int(all.GetCount()); p.Count == 0 {
		return p
	}
	for i, q := range wanted {
		p.Values[i], _ = all.GetValueAtQuantile(nearestRank(q, p.Count)) // fails only for an empty one, and for what is no quantile
	}
	return p
}

// nearestRank is what to ask a sketch of n values for to get the smallest that q
// of them are not above: the 0.99 of ten is the largest. The sketch itself takes
// the one below rank q*(n-1).
func nearestRank(q float64, n int) float64 {
	if n == 1 {
		return 0
	}
	below := math.Ceil(q*float64(n)-1e-6) - 1 // 0.07*100 is more than 7
	// Between two ranks, where no rounding matters.
	return min((max(below, 0)+0.5)/float64(n-1), 1)
}
