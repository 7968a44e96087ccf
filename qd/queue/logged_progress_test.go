package queue

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
)

// keepAll writes down how far all channels have come.
func (w *logWorld) keepAll() {
	for _, c := range w.topic.Channels() {
		w.keep(c)
	}
}

// crashed is the channel after a crash.
func (w *logWorld) crashed(c *Channel) *Channel {
	w.settled()
	w.crash()
	w.audit()
	return w.topic.Channel(c.Name())
}

// TestResumedFirst crashes with messages in flight, requeued and deferred: the
// first two come before everything else, in the order of their IDs.
func TestResumedFirst(t *testing.T) {
	w := newLogWorld(t, 1000, 1)
	c := w.topic.AddChannel("c", 1)
	w.publish(20, 10)
	w.deferred(5)
	k := subscribe(c, 10)
	var run Run
	c.Next(k, &run, 1<<20, 1)
	first := idOf(run.Frames)
	for _, i := range []uint64{7, 2} {
		if err := c.Requeue(k, first+i, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	c.Finish(k, []uint64{first + 4}, 1, nil)
	for range 2 { // the second crash comes before anything was done
		w.keepAll()
		c = w.crashed(c)
		if c.Depth() != 19 || c.Deferred() != 1 {
			t.Errorf("depth %d, deferred %d", c.Depth(), c.Deferred())
		}
	}
	w.now = 10
	w.topic.Expire(w.now)
	got := w.deliver(c, subscribe(c, 1000))
	i := slices.Index(got, 20)
	if want := slices.Concat(upTo(0, 4), upTo(5, 10)); i < 9 || !slices.Equal(got[:9], want) {
		t.Errorf("first come %v", got)
	}
	if slices.Sort(got); !slices.Equal(got, slices.Concat(upTo(0, 4), upTo(5, 21))) {
		t.Errorf("all are %v", got)
	}
}

// TestResumedIsNotNew restarts with messages that wait, in line, in flight and
// deferred: only what is published afterwards has come to the channel since.
func TestResumedIsNotNew(t *testing.T) {
	w := newLogWorld(t, 1000, 1)
	c := w.topic.AddChannel("c", 1)
	w.publish(20, 10)
	w.deferred(5)
	var run Run
	c.Next(subscribe(c, 3), &run, 1<<20, 1)
	for range 2 {
		w.keepAll()
		c = w.crashed(c)
		if c.Entered() != 0 {
			t.Errorf("%d messages have come to the channel since the start", c.Entered())
		}
		w.publish(7, 10)
		w.deferred(5)
		if c.Entered() != 8 {
			t.Errorf("of 8 messages, %d have come to the channel", c.Entered())
		}
	}
}

// TestResumedBeforeMemory has what was in flight at a crash still to be fetched
// when something new, which is in memory, could be delivered.
func TestResumedBeforeMemory(t *testing.T) {
	w := newLogWorld(t, 1000, 1)
	c := w.topic.AddChannel("c", 1)
	w.publish(3, 10)
	w.deliver(c, subscribe(c, 10))
	w.keepAll()
	c = w.crashed(c)
	w.publish(2, 10)
	if got := w.deliver(c, subscribe(c, 10)); !slices.Equal(got, upTo(0, 5)) {
		t.Errorf("delivered: %v", got)
	}
}

// TestStuckAtCrash has messages in flight for so long that they were moved out of
// their blocks' way. A crash must find them.
func TestStuckAtCrash(t *testing.T) {
	w := newLogWorld(t, 1000, 1)
	c := w.topic.AddChannel("c", 1)
	k := subscribe(c, 1000)
	var run Run
	for range 100 {
		w.block(20)
		c.Next(k, &run, 1<<20, 1)
		c.Release(&run)
		id := idOf(w.main[len(w.main)-20].frame)
		for i := range uint64(19) { // the first of each block is stuck
			c.Finish(k, []uint64{id + 1 + i}, 1, func(_ int, err error) { t.Fatal(err) })
		}
		w.keepAll()
	}
	if c.parking.flying < 50 {
		t.Fatalf("%d messages were moved out of the way", c.parking.flying)
	}
	c = w.crashed(c)
	got := w.deliver(c, subscribe(c, 1000))
	for i := range got {
		if got[i] != 20*i {
			t.Fatalf("delivered: %v", got)
		}
	}
	if len(got) != 100 {
		t.Errorf("%d messages are delivered", len(got))
	}
}

// TestMaxAttempts brings messages back for every reason there is, as often as
// they may be delivered: then they are dead, and say why.
func TestMaxAttempts(t *testing.T) {
	tests := map[Reason]func(w *logWorld, c *Channel, k *Consumer, id uint64) *Channel{
		TimedOut: func(w *logWorld, c *Channel, _ *Consumer, _ uint64) *Channel {
			w.now += 2000
			w.topic.Expire(w.now)
			return c
		},
		Requeued: func(w *logWorld, c *Channel, k *Consumer, id uint64) *Channel {
			if err := c.Requeue(k, id, 0, w.now); err != nil {
				w.t.Fatal(err)
			}
			return c
		},
		Disconnected: func(w *logWorld, c *Channel, k *Consumer, _ uint64) *Channel {
			c.Unsubscribe(k, w.now)
			return c
		},
		Stopped: func(w *logWorld, c *Channel, _ *Consumer, _ uint64) *Channel {
			w.keepAll()
			return w.crashed(c)
		},
	}
	for reason, comeBack := range tests {
		t.Run(reason.String(), func(t *testing.T) {
			w := newLogWorld(t, 1000, 1)
			c := w.topic.AddChannel("c", 1)
			c.SetMaxAttempts(2)
			w.publish(1, 10)
			var run Run
			for attempt := range 2 {
				k := subscribe(c, 1)
				w.work(1)
				if !c.Next(k, &run, 1<<20, w.now) {
					t.Fatalf("attempt %d does not come", attempt+1)
				}
				frame := w.framesOf(&run)[0]
				if int(attemptsOf(frame)) != attempt+1 {
					t.Fatalf("attempt %d says that it is %d", attempt+1, attemptsOf(frame))
				}
				c.Release(&run)
				c = comeBack(w, c, k, idOf(frame))
			}
			k := subscribe(c, 1)
			if got := w.deliver(c, k); len(got) > 0 || c.Dead() != 1 || c.Counts().Buried != 1 {
				t.Fatalf("delivered %v, dead %d", got, c.Dead())
			}
			seen, _, _ := c.Look(DeadMessages, 0, 10)
			if len(seen) != 1 || seen[0].Reason != reason || seen[0].Attempts != 2 || seen[0].Due != w.now {
				t.Errorf("dead are %+v", seen)
			}
			w.keepAll()
			c = w.crashed(c)
			if err := c.Revive(c.DeadIDs()[0], w.now); err != nil {
				t.Fatal(err)
			}
			if got := w.deliver(c, subscribe(c, 1)); !slices.Equal(got, []int{0}) {
				t.Errorf("revived and delivered: %v", got)
			}
		})
	}
}

// TestLimitLowered lowers the number of attempts below those that a message in
// line has had. It dies when it is its turn, and what was never delivered comes
// in its place at once.
func TestLimitLowered(t *testing.T) {
	for name, topic := range map[string]*Topic{"memory": newWorld(t, "t", 1000, 1).topic, "log": newLogWorld(t, 1000, 1).topic} {
		t.Run(name, func(t *testing.T) {
			c := topic.AddChannel("c", 1)
			publish := topic.Publish
			if topic.log != nil {
				publish = func(bodies [][]byte, now int64) { topic.Stage(bodies, now); topic.Commit() }
			}
			publish([][]byte{make([]byte, 8)}, 1)
			k := subscribe(c, 1)
			var run Run
			c.Next(k, &run, 1<<20, 1)
			id := idOf(run.Frames)
			if err := c.Requeue(k, id, 0, 1); err != nil {
				t.Fatal(err)
			}
			publish([][]byte{make([]byte, 8)}, 1)
			c.SetMaxAttempts(1)
			if !c.Next(k, &run, 1<<20, 1) || idOf(run.Frames) != id+1 || c.Dead() != 1 {
				t.Errorf("a run of %d; dead are %d", run.N, c.Dead())
			}
			c.Empty()
			if err := topic.Audit(); err != nil || c.Dead() != 1 {
				t.Errorf("%v; after emptying, dead are %d", err, c.Dead())
			}
			c.Release(&run)
			topic.RemoveChannel(c)
			if n := topic.Store.(*heapStore).charged; n != 0 {
				t.Errorf("after all is deleted, %d bytes are charged", n)
			}
		})
	}
}

// TestSeek moves a channel with messages in all states back and forth.
func TestSeek(t *testing.T) {
	tests := []struct {
		pos     uint64
		dead    int
		deliver []int // first of all what is in line
	}{
		{100, 0, slices.Concat([]int{30}, upTo(0, 30))},
		{101, 1, slices.Concat([]int{30}, upTo(1, 30))},
		{0, 0, slices.Concat([]int{30}, upTo(0, 30))}, // the oldest that is kept
		{115, 1, slices.Concat([]int{30}, upTo(15, 30))},
		{125, 1, slices.Concat([]int{30}, upTo(25, 30))},
		{1000, 1, []int{30}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.pos), func(t *testing.T) {
			w := newLogWorld(t, 0, 1)
			c := w.topic.AddChannel("c", 1)
			for range 3 {
				w.block(10)
			}
			k := subscribe(c, 20)
			w.deliver(c, k)
			c.SetMaxAttempts(1)
			id := idOf(w.main[100].frame)
			for i, delay := range []int64{0, 0, 100} {
				if i == 1 {
					c.SetMaxAttempts(0) // only the first one is dead
				}
				if err := c.Requeue(k, id+uint64(i), delay, 1); err != nil {
					t.Fatal(err)
				}
			}
			w.deferred(0)
			w.deferred(50)
			c.Seek(test.pos, 1)
			w.audit()
			if c.Dead() != test.dead || c.Deferred() != 1 || c.InFlight() != 0 || c.Depth() != len(test.deliver) {
				t.Errorf("dead %d, deferred %d, in flight %d, depth %d", c.Dead(), c.Deferred(), c.InFlight(), c.Depth())
			}
			failed := 0
			if c.Finish(k, []uint64{id + 5}, 1, func(int, error) { failed++ }); failed != 1 {
				t.Error("a message that was forgotten is finished")
			}
			k.SetReady(1000)
			got := w.deliver(c, k)
			slices.SortStableFunc(got, func(a, b int) int { return cmp.Compare(b/30, a/30) })
			if !slices.Equal(got, test.deliver) {
				t.Errorf("delivered: %v", got)
			}
			w.keepAll()
		})
	}
}

// TestDiesAgain has a message die, come again after a Seek and die again: it is
// dead once, and can be revived once.
func TestDiesAgain(t *testing.T) {
	w := newLogWorld(t, 1000, 1)
	c := w.topic.AddChannel("c", 1)
	c.SetMaxAttempts(1)
	k := subscribe(c, 10)
	w.publish(1, 10)
	for range 2 {
		if got := w.deliver(c, k); !slices.Equal(got, []int{0}) {
			t.Fatalf("delivered: %v", got)
		}
		if err := c.Requeue(k, idOf(w.main[100].frame), 0, 1); err != nil || c.Dead() != 1 {
			t.Fatalf("%v, dead %d", err, c.Dead())
		}
		w.audit()
		c.Seek(100, 1)
	}
	if c.Dead() != 0 || w.store.charged != 0 {
		t.Errorf("dead %d, charged %d", c.Dead(), w.store.charged)
	}
}

// TestTrimmedBeyond removes more of the log than channels, one of them in a
// paused topic, are done with.
func TestTrimmedBeyond(t *testing.T) {
	for _, channels := range [][]string{nil, {"c"}, {"c", "d"}} {
		t.Run(fmt.Sprint(len(channels)), func(t *testing.T) {
			w := newLogWorld(t, 0, 1)
			for _, name := range channels {
				w.topic.AddChannel(name, 1)
			}
			w.block(10)
			w.topic.Pause(Pause{})
			w.block(10)
			w.cut(115)
			w.audit()
			if w.topic.Low() != 115 {
				t.Errorf("low is %d", w.topic.Low())
			}
			if n := w.topic.Depth(); n != 5 {
				t.Errorf("%d messages are held back", n)
			}
			if len(channels) == 0 {
				w.topic.AddChannel("c", 1)
			}
			w.audit()
			w.topic.Unpause(1)
			for _, c := range w.topic.Channels() {
				if got := w.deliver(c, subscribe(c, 1000)); !slices.Equal(got, upTo(15, 20)) {
					t.Errorf("channel %s: delivered %v", c.Name(), got)
				}
			}
		})
	}
}

// TestMovedWhileFetched moves a message to the side log, and removes it from the
// main one, while its body is being read there.
func TestMovedWhileFetched(t *testing.T) {
	w := newLogWorld(t, 0, 1)
	c := w.topic.AddChannel("c", 1)
	k := subscribe(c, 10)
	w.block(3)
	w.deliver(c, k)
	for i := range uint64(3) {
		if err := c.Requeue(k, idOf(w.main[100].frame)+i, 10, 1); err != nil {
			t.Fatal(err)
		}
	}
	w.now = 20
	w.topic.Expire(w.now)
	job, ok := w.topic.Work()
	if !ok || job.Kind != Fetch {
		t.Fatalf("the work is %v", job.Kind)
	}
	w.trim(103)
	w.read(job)()
	if got := w.deliver(c, k); !slices.Equal(got, upTo(0, 3)) || c.Counts().Lost > 0 {
		t.Errorf("delivered: %v, lost %d", got, c.Counts().Lost)
	}
}

// TestPausedWithoutChannels pauses a topic that holds deferred publishes for a
// channel to come, and crashes when that has: it must have them once.
func TestPausedWithoutChannels(t *testing.T) {
	w := newLogWorld(t, 0, 1)
	w.deferred(0)
	w.topic.Pause(Pause{})
	w.deferred(0)
	c := w.topic.AddChannel("c", 1)
	w.keepAll()
	c = w.crashed(c)
	if c.Depth() != 0 || w.topic.Depth() != 2 {
		t.Errorf("depth %d, %d are held back", c.Depth(), w.topic.Depth())
	}
	w.topic.Unpause(1)
	if got := w.deliver(c, subscribe(c, 10)); !slices.Equal(got, upTo(0, 2)) {
		t.Errorf("delivered: %v", got)
	}
}
