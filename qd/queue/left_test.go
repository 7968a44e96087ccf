package queue

import (
	"math"
	"math/rand/v2"
	"testing"
)

// auditLeft compares what Left and HasLeft say with a count of every message, at
// any moment of the lives that other tests lead topics through.
func auditLeft(t testing.TB, topic *Topic, now int64) {
	t.Helper()
	for _, until := range []int64{now, now + 3, now + 1000, now + 5<<spanBits, math.MaxInt64} {
		l := topic.Left(until)
		due, later := 0, 0
		count := func(when int64) {
			if when <= until {
				due++
			} else {
				later++
			}
		}
		for _, p := range topic.deferred {
			count(p.due)
		}
		if topic.log != nil {
			for _, e := range topic.log.deferred {
				count(e.due)
			}
		}
		ready, held := topic.Depth()-due-later, 0
		for _, c := range topic.channels {
			c.parking.shelf.later.each(func(e *entry) { count(e.due) })
			for _, p := range c.parking.waiting.items {
				count(p.due)
			}
			ready += c.Depth()
			held += c.InFlight()
		}
		if l.Ready != ready || l.InFlight != held || l.Due != due || l.Later != later {
			t.Fatalf("left by %d, at %d: %+v, want %d ready, %d in flight, %d due, %d later", until, now, l, ready, held, due, later)
		}
		if topic.HasLeft(until) != (l.Messages() > 0) {
			t.Fatalf("HasLeft(%d) is %v with %+v", until, topic.HasLeft(until), l)
		}
	}
}

// TestCalendarDueBy counts entries that are due, near and far, against one by one.
func TestCalendarDueBy(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	var c calendar
	for n := range 3000 {
		c.push(entry{id: uint64(n), due: rng.Int64N(20 << spanBits)})
		if n%7 == 0 {
			if _, ok := c.first(); ok && n%14 == 0 {
				c.pop()
			}
		}
		if n%100 != 0 {
			continue
		}
		for _, until := range []int64{0, rng.Int64N(20 << spanBits), c.horizon - 1, c.horizon, 3<<spanBits - 1, 3 << spanBits, math.MaxInt64} {
			want := 0
			c.each(func(e *entry) {
				if e.due <= until {
					want++
				}
			})
			if got := c.dueBy(until); got != want || c.hasBy(until) != (want > 0) {
				t.Fatalf("after %d: %d are due by %d, has %v; want %d", n, got, until, c.hasBy(until), want)
			}
		}
	}
}
