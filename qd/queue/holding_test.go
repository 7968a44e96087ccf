package queue

import (
	"testing"
	"time"
)

// meanHold is how long a consumer has held what it answered last; -1
// is not known.
func meanHold(k *Consumer) time.Duration {
	ns, ok := k.Held()
	if !ok {
		return -1
	}
	return time.Duration(ns)
}

func TestHeld(t *testing.T) {
	w := newWorld(t, "t", 1<<30, 1)
	c := w.topic.AddChannel("c", 0)
	k := c.Subscribe(nil, int64(time.Hour))
	other := c.Subscribe(nil, int64(time.Hour))
	k.SetReady(1000)
	// answer has n messages, published together, delivered and then answered after a while.
	answer := func(n int, after time.Duration, do func(ids []uint64)) {
		t.Helper()
		w.publish(n, 10)
		var run Run
		var ids []uint64
		for len(ids) < n {
			if !c.Next(k, &run, 1<<20, w.now) {
				t.Fatalf("%d messages of %d are delivered", len(ids), n)
			}
			id := uint64(0)
			if len(run.Again) > 0 {
				id = idOf(run.Again[0].frame)
			} else {
				id = idOf(run.Frames)
			}
			for i := range run.N {
				ids = append(ids, id+uint64(i))
			}
		}
		c.Release(&run)
		w.now += int64(after)
		do(ids)
	}
	finish := func(ids []uint64) { c.Finish(k, ids, w.now, nil) }
	expect := func(what string, want time.Duration) {
		t.Helper()
		if got := meanHold(k); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	expect("at first", -1)
	answer(1, 3*time.Second, finish)
	expect("one", 3*time.Second)
	answer(3, time.Second, finish)
	expect("four", 1500*time.Millisecond)
	answer(1, 14*time.Second, func(ids []uint64) {
		if err := c.Requeue(k, ids[0], int64(24*time.Hour), w.now); err != nil {
			t.Fatal(err)
		}
	})
	expect("with one requeued", 4*time.Second)
	answer(1, 5*time.Second, func(ids []uint64) {
		if err := c.Touch(k, ids[0], int64(time.Hour), w.now); err != nil {
			t.Fatal(err)
		}
		w.now += int64(5 * time.Second)
		finish(ids)
	})
	expect("with one touched, since its delivery", 5*time.Second)
	answer(1, 2*time.Hour, func([]uint64) { w.topic.Expire(w.now) })
	expect("a time-out is no answer", 5*time.Second)
	if k.TimedOut() != 1 || other.TimedOut() != 0 {
		t.Errorf("%d and %d have timed out", k.TimedOut(), other.TimedOut())
	}
	for range 2 * lastAnswers {
		answer(1, time.Millisecond, finish)
	}
	if got := meanHold(k); got < time.Millisecond || got > 10*time.Millisecond+2*time.Hour/lastAnswers {
		t.Errorf("after many fast ones: %v", got)
	}
	answer(900, time.Minute, finish)
	if got := meanHold(k); got < 50*time.Second || got > time.Minute {
		t.Errorf("after a batch of slow ones: %v", got)
	}
	if got := meanHold(other); got != -1 {
		t.Errorf("somebody else: %v", got)
	}
}

func TestNextTimeout(t *testing.T) {
	w := newWorld(t, "t", 1<<30, 1)
	c := w.topic.AddChannel("c", 0)
	k := c.Subscribe(nil, int64(time.Minute))
	expect := func(what string, want time.Duration) {
		t.Helper()
		if got, ok := k.NextTimeout(); ok != (want != 0) || got != int64(want) {
			t.Errorf("%s: %v, %v, want %v", what, time.Duration(got), ok, want)
		}
	}
	w.now = 0
	w.publish(3, 10)
	var run Run
	deliver := func() uint64 {
		t.Helper()
		k.SetReady(k.InFlight() + 1)
		if !c.Next(k, &run, 1<<20, w.now) {
			t.Fatal("nothing is delivered")
		}
		return idOf(run.Frames)
	}
	expect("while it holds nothing", 0)
	first := deliver()
	w.now = int64(10 * time.Second)
	second := deliver()
	expect("two", time.Minute)
	k.SetTimeout(int64(20 * time.Second))
	deliver()
	expect("a third with less time", 30*time.Second)
	w.now = int64(25 * time.Second)
	k.SetTimeout(int64(time.Hour))
	if err := c.Touch(k, first, int64(time.Hour), w.now); err != nil {
		t.Fatal(err)
	}
	w.now = int64(30 * time.Second)
	w.topic.Expire(w.now)
	expect("the third has gone, the first was touched", 70*time.Second)
	c.Finish(k, []uint64{second}, w.now, nil)
	expect("the first alone, no longer than it may be held", time.Hour)
	c.Finish(k, []uint64{first}, w.now, nil)
	expect("all answered", 0)
	c.Release(&run)
}
