package queue

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
)

// looked is what Look finds of a channel, page by page, checked against Find.
func looked(t *testing.T, c *Channel, state LookState) (all []Seen, from, to uint64) {
	t.Helper()
	after := uint64(0)
	for {
		seen, f, u := c.Look(state, after, 3)
		from, to = f, u
		if len(seen) > 3 {
			t.Fatalf("a page of 3 has %d messages", len(seen))
		}
		for _, s := range seen {
			if s.ID <= after || s.State != state {
				t.Fatalf("%v message %d comes after %d, looking for those %v", s.State, s.ID, after, state)
			}
			after = s.ID
			parked := state != Ready || s.Attempts > 0 || s.Place&Side != 0
			if again, ok := c.Find(s.ID); ok != parked && c.topic.log != nil || ok && fmt.Sprint(again) != fmt.Sprint(s) {
				t.Fatalf("Find says %v %v of %v", again, ok, s)
			}
			if s.Frame != nil && idOf(s.Frame) != s.ID {
				t.Fatalf("message %d has the frame of %d", s.ID, idOf(s.Frame))
			}
		}
		all = append(all, seen...)
		if len(seen) < 3 {
			return all, from, to
		}
	}
}

func numbers(seen []Seen, numberAt func(Seen) int) (all []int) {
	for _, s := range seen {
		all = append(all, numberAt(s))
	}
	return all
}

// standings brings messages of a channel into all states: 0 to 9 are in flight
// but for 1, requeued; 2, put off; 3, dead; 5, finished; and 7, in flight again.
// Then comes 20, deferred, and the others were never delivered.
func standings(t *testing.T, topic *Topic, c *Channel, fetch func(), deferred func()) {
	t.Helper()
	k := c.Subscribe("me", 1000)
	k.SetReady(10)
	var run Run
	if !c.Next(k, &run, 1<<20, 1) || run.N != 10 {
		t.Fatalf("a run of %d", run.N)
	}
	first := idOf(run.Frames)
	c.Release(&run)
	answer := func(number uint64, delay int64) {
		if err := c.Requeue(k, first+number, delay, 1); err != nil {
			t.Fatal(err)
		}
	}
	answer(7, 0)
	fetch()
	if !c.Next(k, &run, 1<<20, 2) || len(run.Again) != 1 {
		t.Fatal("what was requeued does not come")
	}
	c.Release(&run)
	k.SetReady(0)
	answer(1, 0)
	answer(2, 500)
	c.SetMaxAttempts(1)
	answer(3, 0)
	c.SetMaxAttempts(0)
	c.Finish(k, []uint64{first + 5}, 1, func(int, error) { t.Fatal("not in flight") })
	deferred()
	if err := topic.Audit(); err != nil {
		t.Fatal(err)
	}
}

// lookAudit checks that as many messages are seen in each state as there are.
func lookAudit(t testing.TB, c *Channel) {
	t.Helper()
	const all = 1 << 20
	count := func(state LookState) int {
		seen, _, _ := c.Look(state, 0, all)
		return len(seen)
	}
	ready, from, to := c.Look(Ready, 0, all)
	n := len(ready)
	for pos := from; pos < to; pos++ {
		if c.Unread(pos) {
			n++
		}
	}
	if n > c.Depth() || n < c.Depth() && (c.topic.log != nil || c.DiskDepth()+c.topic.backlog.disk.Messages == 0) {
		t.Fatalf("%d messages are seen to be ready of %d, of which %d are on disk", n, c.Depth(), c.DiskDepth())
	}
	if i, d, x := count(InFlight), count(Deferred), count(DeadMessages); i != c.InFlight() || d != c.Deferred() || x != c.Dead() {
		t.Fatalf("seen are %d in flight, %d deferred and %d dead; there are %d, %d and %d", i, d, x, c.InFlight(), c.Deferred(), c.Dead())
	}
}

// TestLook looks at messages in all states, in a topic in memory and in one with
// a log.
func TestLook(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		w := newWorld(t, "t", 1000, 1)
		c := w.topic.AddChannel("c", 1)
		w.publish(14, 10)
		w.topic.Idle()
		w.publish(6, 10)
		standings(t, w.topic, c, func() {}, func() {
			if err := w.deferred(700); err != nil {
				t.Fatal(err)
			}
		})
		lookAtAll(t, c, func(s Seen) int { return numberOf(s.Frame) })
		ready, _, _ := looked(t, c, Ready)
		if got := numbers(ready, func(s Seen) int { return numberOf(s.Frame) }); !slices.Equal(got, []int{1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}) {
			t.Errorf("ready are %v", got)
		}
	})
	t.Run("log", func(t *testing.T) {
		w := newLogWorld(t, 1000, 1)
		c := w.topic.AddChannel("c", 1)
		w.block(14)
		w.publish(6, 10)
		standings(t, w.topic, c, func() { w.work(10) }, func() { w.deferred(700) })
		lookAtAll(t, c, func(s Seen) int { return w.record(s.Place).number })
		ready, from, to := looked(t, c, Ready)
		if got := numbers(ready, func(s Seen) int { return w.record(s.Place).number }); !slices.Equal(got, []int{1}) || from != 110 || to != 120 {
			t.Errorf("ready are %v and what lies from %d to %d", got, from, to)
		}
		for pos := range uint64(130) {
			if c.Unread(pos) != (pos >= from && pos < to) {
				t.Errorf("position %d: unread is %v", pos, c.Unread(pos))
			}
		}
	})
}

func lookAtAll(t *testing.T, c *Channel, numberAt func(Seen) int) {
	t.Helper()
	tests := []struct {
		state    LookState
		numbers  []int
		attempts []uint16
		reasons  []Reason
		due      []int64
		owner    any
	}{
		{InFlight, []int{0, 4, 6, 7, 8, 9}, []uint16{1, 1, 1, 2, 1, 1}, []Reason{0, 0, 0, Requeued, 0, 0}, []int64{1001, 1001, 1001, 1002, 1001, 1001}, "me"},
		{Deferred, []int{2, 20}, []uint16{1, 0}, []Reason{Requeued, Fresh}, []int64{501, 701}, nil},
		{DeadMessages, []int{3}, []uint16{1}, []Reason{Requeued}, []int64{1}, nil},
	}
	for _, test := range tests {
		seen, from, to := looked(t, c, test.state)
		if got := numbers(seen, numberAt); !slices.Equal(got, test.numbers) || from != to {
			t.Errorf("%v are %v, want %v; unread %d to %d", test.state, got, test.numbers, from, to)
			continue
		}
		for i, s := range seen {
			if s.Attempts != test.attempts[i] || s.Reason != test.reasons[i] || s.Due != test.due[i] || s.Owner != test.owner {
				t.Errorf("%v message %d is %+v", test.state, test.numbers[i], s)
			}
		}
	}
	if _, ok := c.Find(1); ok {
		t.Error("a message is found that there never was")
	}
}

// TestLookAtUnread looks at what was never delivered in a topic in memory, in
// each place where that may be.
func TestLookAtUnread(t *testing.T) {
	tests := map[string]struct {
		prepare func(w *world, c, fast *Channel)
		want    []int
	}{
		"in the topic": {func(w *world, c, _ *Channel) { w.publish(3, 10) }, []int{0, 1, 2}},
		"sealed and open": {func(w *world, c, _ *Channel) {
			w.publish(3, 10)
			w.topic.Idle()
			w.publish(2, 10)
		}, []int{0, 1, 2, 3, 4}},
		"handed out to a faster channel": {func(w *world, c, fast *Channel) {
			w.publish(3, 10)
			drainOne(w, fast, 1)
			w.publish(1, 10)
		}, []int{0, 1, 2, 3}},
		"the rest of a chunk": {func(w *world, c, _ *Channel) {
			w.publish(5, 10)
			drainOne(w, c, 2)
		}, []int{2, 3, 4}},
		"held back by a pause": {func(w *world, c, _ *Channel) {
			w.publish(2, 10)
			w.topic.Pause(Pause{})
			w.publish(3, 10)
		}, []int{0, 1}},
		"behind what was emptied in a pause": {func(w *world, c, _ *Channel) {
			w.publish(2, 10)
			w.topic.Pause(Pause{})
			w.publish(3, 10)
			w.topic.Empty()
			w.topic.Unpause(1)
			w.publish(2, 10)
		}, []int{0, 1, 5, 6}},
		"behind what is on disk": {func(w *world, c, _ *Channel) {
			w.store.tight = true
			w.publish(2, 10)
			w.topic.Idle()
			w.work(1)
			w.publish(2, 10)
		}, []int{2, 3}},
		"behind what is on disk, with something cut": {func(w *world, c, _ *Channel) {
			w.store.tight = true
			w.publish(2, 10)
			w.topic.Idle()
			w.work(1)
			w.topic.Pause(Pause{})
			w.publish(2, 10)
			w.topic.Empty()
			w.topic.Unpause(1)
			w.publish(2, 10)
		}, nil},
		"not before the channel began": {func(w *world, c, _ *Channel) {
			w.topic.RemoveChannel(c)
			w.publish(3, 10)
			w.topic.AddChannel("c", 1)
			w.publish(2, 10)
		}, []int{3, 4}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "t", 1000, 1)
			fast, c := w.topic.AddChannel("fast", 1), w.topic.AddChannel("c", 1)
			test.prepare(w, c, fast)
			before := fmt.Sprintf("%+v", w.topic.backlog)
			seen, _, _ := looked(t, w.topic.Channel("c"), Ready)
			if got := numbers(seen, func(s Seen) int { return numberOf(s.Frame) }); !slices.Equal(got, test.want) {
				t.Errorf("seen are %v, want %v", got, test.want)
			}
			if after := fmt.Sprintf("%+v", w.topic.backlog); after != before {
				t.Errorf("looking changed %s to %s", before, after)
			}
			w.audit()
		})
	}
}

// drainOne delivers n messages of a channel.
func drainOne(w *world, c *Channel, n int) {
	k := c.Subscribe(nil, 1000)
	k.SetReady(n)
	var run Run
	c.Next(k, &run, 1<<20, w.now)
	c.Release(&run)
}

// TestLookAtHole empties a paused topic with a log: what was emptied is not
// unread.
func TestLookAtHole(t *testing.T) {
	w := newLogWorld(t, 1000, 1)
	c := w.topic.AddChannel("c", 1)
	w.publish(3, 10)
	w.topic.Pause(Pause{})
	w.publish(4, 10)
	w.topic.Empty()
	w.topic.Unpause(1)
	w.publish(2, 10)
	var unread []uint64
	_, from, to := c.Look(Ready, 0, 10)
	for pos := from; pos < to; pos++ {
		if c.Unread(pos) {
			unread = append(unread, pos)
		}
	}
	if want := []uint64{100, 101, 102, 107, 108}; !slices.Equal(unread, want) {
		t.Errorf("unread are %v, want %v", unread, want)
	}
	w.audit()
}

// TestPageOfMany looks at pages of very many deferred messages whose IDs are in
// no order. What is kept meanwhile must be no more than a page or two.
func TestPageOfMany(t *testing.T) {
	const n = 100_000
	w := newLogWorld(t, 0, 1)
	c := w.topic.AddChannel("c", 1)
	order := w.rng.Perm(n)
	for i, id := range order {
		w.topic.Deferred(uint64(id+1), Side|uint64(i), 10, int64(10+i%7), 1)
	}
	for _, after := range []uint64{0, 17, n/2 + 3, n - 100, n - 5, n} {
		seen, _, _ := c.Look(Deferred, after, 100)
		if len(seen) != int(min(100, n-after)) {
			t.Fatalf("after %d come %d", after, len(seen))
		}
		for i, s := range seen {
			if s.ID != after+uint64(i)+1 {
				t.Fatalf("after %d comes %d as number %d", after, s.ID, i)
			}
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.Look(Deferred, 5, 100)
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 200_000 {
		t.Errorf("%d bytes are allocated for a page of 100", after.TotalAlloc-before.TotalAlloc)
	}
	if seen, _, _ := c.Look(Deferred, 0, 0); seen != nil {
		t.Errorf("a page of 0 has %d messages", len(seen))
	}
	if got := fmt.Sprint(Ready, InFlight, Deferred, DeadMessages, LookState(9)); got != "ready in flight deferred dead unknown" {
		t.Error(got)
	}
}
