package metrics

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// This file bounds the number of series. Of many topics, or channels, so many
// have series of their own, and the rest are summed. Two things make that fit for
// Prometheus. Who is shown stays: until it is deleted, or has been idle for an
// hour while a busy one waits for its place. And what happens is counted once, by
// the series that showed it or by the rest, and neither is taken back: no counter
// falls, nor jumps, when somebody comes, moves or goes.

// idle is after how long without anything to tell a place can be lost.
const idle = time.Hour

// other is the name of the rest. A topic or channel that is called so is part of
// it.
const other = "_other"

// key tells topics, or channels, apart, also from earlier ones of the same names.
type key struct{ topic, channel uint64 }

// entry is one topic or channel at a scrape.
type entry struct {
	key      key
	name     string
	figures  figures
	pending  bool  // something waits in it
	eligible bool  // it may have series of its own
	rest     *rest // where it counts if it has none

	delta   []float64 // what has risen since the last scrape
	was, is bool      // whether it had, and has, series of its own
	item    *item
}

// figures are a topic's or channel's, in the order of the families.
type figures struct {
	rising []float64 // what never falls
	gauges []float64
}

// item is what is remembered of an entry.
type item struct {
	last   []float64 // the highest that was seen
	own    []float64 // what its own series have counted; nil if it never had any
	rest   *rest     // where it counted when it was last seen without
	shown  bool
	scrape int       // when it was last seen
	busy   time.Time // when there was last something to tell; zero is never
}

// rest is the sum of those without series of their own.
type rest struct {
	figures
	hidden int
}

// clear forgets what is as it is now. What was counted stays.
func (r *rest) clear() {
	r.hidden = 0
	clear(r.gauges)
}

// crowd is all topics, or all channels.
type crowd struct {
	most   int // that can have series of their own
	items  map[key]*item
	scrape int
}

// settle takes in a scrape: all entries, each once. It decides who has series of
// its own, and counts what has happened.
func (c *crowd) settle(all []entry, now time.Time) {
	c.scrape++
	for i := range all {
		c.meet(&all[i], now)
	}
	for k, it := range c.items {
		if it.scrape != c.scrape {
			delete(c.items, k)
		}
	}
	c.place(all, now)
	for i := range all {
		all[i].count()
	}
}

// meet finds what is known of an entry and what has risen since.
func (c *crowd) meet(e *entry, now time.Time) {
	e.item = c.items[e.key]
	if e.item == nil {
		e.item = &item{last: make([]float64, len(e.figures.rising))}
		c.items[e.key] = e.item
	}
	e.item.scrape = c.scrape
	e.was = e.item.shown
	e.delta = make([]float64, len(e.figures.rising))
	happened := e.pending
	for i, v := range e.figures.rising {
		// Less than before is damage found since: what is lost has been counted.
		if d := v - e.item.last[i]; d > 0 {
			e.delta[i], e.item.last[i] = d, v
			happened = true
		}
	}
	if happened {
		e.item.busy = now
	}
}

// place decides who is shown.
func (c *crowd) place(all []entry, now time.Time) {
	var shown, waiting []*entry
	eligible := 0
	for i := range all {
		e := &all[i]
		e.eligible = e.eligible && e.name != other
		if !e.eligible {
			continue
		}
		eligible++
		if e.was {
			shown = append(shown, e)
			e.is = true
		} else {
			waiting = append(waiting, e)
		}
	}
	if eligible > c.most {
		waiting = slices.DeleteFunc(waiting, func(e *entry) bool { return e.item.busy != now })
		slices.SortFunc(waiting, func(a, b *entry) int {
			return cmp.Or(cmp.Compare(b.weight(), a.weight()), strings.Compare(a.name, b.name))
		})
		free := max(0, c.most-len(shown))
		if want := len(waiting) - free; want > 0 {
			free += dismiss(shown, want, now)
		}
		waiting = waiting[:min(free, len(waiting))]
	}
	for _, e := range waiting {
		e.is = true
	}
	for i := range all {
		all[i].item.shown = all[i].is
	}
}

// dismiss takes their places from those that have been idle for long enough, the
// longest first, and at most n.
func dismiss(shown []*entry, n int, now time.Time) int {
	slices.SortStableFunc(shown, func(a, b *entry) int { return a.item.busy.Compare(b.item.busy) })
	for i, e := range shown {
		if i == n || now.Sub(e.item.busy) < idle {
			return i
		}
		e.is = false
	}
	return len(shown)
}

// weight is how much there is to tell: messages that came, and messages that wait.
func (e *entry) weight() float64 { return e.delta[0] + e.figures.gauges[0] }

// count adds what has risen to the series that tells it. One that has just come
// into sight is told by the rest until now: Prometheus takes no notice of how
// high a new series begins.
func (e *entry) count() {
	it := e.item
	if !e.is {
		it.rest = e.rest
		it.rest.hidden++
		add(it.rest.gauges, e.figures.gauges)
	} else if it.own == nil {
		it.own = make([]float64, len(e.delta))
	}
	if e.is && (e.was || it.rest == nil) {
		add(it.own, e.delta)
	} else {
		add(it.rest.rising, e.delta)
	}
}

func add(sum, more []float64) {
	for i, v := range more {
		sum[i] += v
	}
}
