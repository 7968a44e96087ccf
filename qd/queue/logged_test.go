package queue

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// numbersIn are the numbers of a run's messages.
func numbersIn(run *Run) (all []int) {
	frames := slices.Clone(run.Frames)
	for _, a := range run.Again {
		frames = a.Append(frames)
	}
	for len(frames) > 0 {
		all = append(all, numberOf(frames))
		frames = frames[4+binary.BigEndian.Uint32(frames):]
	}
	return all
}

// upTo are the numbers from one to another, without that.
func upTo(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

// subscribe adds a consumer with credit.
func subscribe(c *Channel, ready int) *Consumer {
	k := c.Subscribe(nil, 1000)
	k.SetReady(ready)
	return k
}

// deliver gives k what there is for it, reading the log when that is needed.
func (w *logWorld) deliver(c *Channel, k *Consumer) (got []int) {
	w.t.Helper()
	var run Run
	for {
		if c.Next(k, &run, 1<<20, w.now) {
			got = append(got, numbersIn(&run)...)
			continue
		}
		job, ok := w.topic.Work()
		if !ok {
			w.audit()
			return got
		}
		w.read(job)()
	}
}

// TestOrderAcrossLog reads a channel from the log into what is in memory, and
// again from the log when memory has let go of that.
func TestOrderAcrossLog(t *testing.T) {
	w := newLogWorld(t, 20, 1)
	c := w.topic.AddChannel("c", 1)
	for range 10 {
		w.block(10)
	}
	if n := c.DiskDepth(); n != 80 {
		t.Fatalf("%d messages are only in the log", n)
	}
	k := subscribe(c, 85)
	got := w.deliver(c, k) // into memory
	w.store.tight = true
	w.block(10) // and that is gone
	k.SetReady(1000)
	got = append(got, w.deliver(c, k)...)
	w.publish(5, 10)
	got = append(got, w.deliver(c, k)...)
	if !slices.Equal(got, upTo(0, 115)) {
		t.Errorf("delivered: %v", got)
	}
}

// TestPauseInBlock pauses a topic in the middle of what is one block in memory,
// or becomes one when it is read.
func TestPauseInBlock(t *testing.T) {
	for name, memory := range map[string]int{"memory": 1000, "log": 0} {
		t.Run(name, func(t *testing.T) {
			w := newLogWorld(t, memory, 1)
			c := w.topic.AddChannel("c", 1)
			k := subscribe(c, 1000)
			w.publish(3, 10)
			w.stage(4, 10)
			w.write()
			w.topic.Pause(Pause{})
			w.commit()
			if memory == 0 {
				w.topic.Idle()
			}
			if got := w.deliver(c, k); !slices.Equal(got, upTo(0, 3)) || w.topic.Depth() != 4 {
				t.Errorf("delivered in a pause: %v; %d are held back", got, w.topic.Depth())
			}
			late := w.topic.AddChannel("late", 1)
			w.topic.Unpause(1)
			if got := w.deliver(c, k); !slices.Equal(got, upTo(3, 7)) {
				t.Errorf("delivered after it: %v", got)
			}
			if got := w.deliver(late, subscribe(late, 1000)); !slices.Equal(got, upTo(3, 7)) {
				t.Errorf("delivered to a channel opened in the pause: %v", got)
			}
		})
	}
}

// TestEmptyPausedTopic empties a topic of what is held back: no channel gets
// that, be it at the hole already or far behind it, in memory or the log.
func TestEmptyPausedTopic(t *testing.T) {
	for name, memory := range map[string]int{"memory": 1000, "log": 0} {
		t.Run(name, func(t *testing.T) {
			w := newLogWorld(t, memory, 1)
			near, far := w.topic.AddChannel("near", 1), w.topic.AddChannel("far", 1)
			k := subscribe(near, 1000)
			w.block(5)
			w.deliver(near, k)
			w.topic.Pause(Pause{})
			w.block(6)
			w.deferred(0)
			w.topic.Empty()
			if w.topic.Depth() != 0 {
				t.Errorf("an empty topic holds %d messages", w.topic.Depth())
			}
			w.topic.Unpause(1)
			w.block(3)
			if near.Depth() != 3 || far.Depth() != 8 {
				t.Errorf("the depths are %d and %d", near.Depth(), far.Depth())
			}
			if got := w.deliver(near, k); !slices.Equal(got, upTo(12, 15)) {
				t.Errorf("delivered to a channel at the hole: %v", got)
			}
			if got := w.deliver(far, subscribe(far, 1000)); !slices.Equal(got, slices.Concat(upTo(0, 5), upTo(12, 15))) {
				t.Errorf("delivered to a channel behind: %v", got)
			}
		})
	}
}

// TestWokenAtHole ends a pause behind which there is nothing: the consumer that
// waits must be able to take what is published next.
func TestWokenAtHole(t *testing.T) {
	w := newLogWorld(t, 1000, 1)
	c := w.topic.AddChannel("c", 1)
	k := subscribe(c, 10)
	w.deliver(c, k)
	w.topic.Pause(Pause{})
	w.publish(3, 10)
	w.topic.Empty()
	w.topic.Unpause(1)
	if n := len(w.topic.Woken()); n > 0 {
		t.Errorf("%d consumers are woken for nothing", n)
	}
	w.publish(2, 10)
	if len(w.topic.Woken()) != 1 {
		t.Error("nobody is woken")
	}
	if got := w.deliver(c, k); !slices.Equal(got, []int{3, 4}) {
		t.Errorf("delivered: %v", got)
	}
}

// TestDueAtOnce has very many messages due at the same time. Each look handles
// so many, and asks to come back until all are ready.
func TestDueAtOnce(t *testing.T) {
	const n = 100_000
	w := newLogWorld(t, 0, 1)
	c := w.topic.AddChannel("c", 1)
	for i := range n {
		w.topic.Deferred(uint64(i+1), Side|uint64(i), 10, 500, 1)
	}
	looks := 0
	for when, ok := w.topic.Earliest(); ok; when, ok = w.topic.Earliest() {
		before := c.Depth()
		w.topic.Expire(when)
		looks++
		if woken := c.Depth() - before; when != 500 || woken > wakeAtOnce || woken == 0 {
			t.Fatalf("a look at %d makes %d messages ready", when, woken)
		}
	}
	if c.Depth() != n || c.Deferred() != 0 || looks > n/wakeAtOnce+1 {
		t.Errorf("%d messages are ready after %d looks", c.Depth(), looks)
	}
	w.audit()
}

// TestRequeueStorm requeues everything again and again, with memory for few
// parked bodies. They must come in the order in which they became ready.
func TestRequeueStorm(t *testing.T) {
	w := newLogWorld(t, 0, 1)
	w.store.parkedLimit = 20_000
	c := w.topic.AddChannel("c", 1)
	k := subscribe(c, 50)
	const n = 600
	for range n / 50 {
		w.block(50)
	}
	numbers := map[uint64]int{}
	var run Run
	var expected []int // of what was requeued, in the order in which it was
	for range 5000 {
		if !c.Next(k, &run, 3000, w.now) {
			w.work(1)
			continue
		}
		for _, f := range w.framesOf(&run) {
			numbers[idOf(f)] = numberOf(f)
		}
		if again := numbersIn(&run)[run.N-len(run.Again):]; !slices.Equal(again, expected[:len(again)]) {
			t.Fatalf("%v come again, and %v were requeued before them", again, expected[:len(again)])
		}
		expected = expected[len(run.Again):]
		for _, f := range w.framesOf(&run) {
			if err := c.Requeue(k, idOf(f), 0, w.now); err != nil {
				t.Fatal(err)
			}
			expected = append(expected, numbers[idOf(f)])
		}
		c.Release(&run)
	}
	w.audit()
	if c.Depth() != n || k.requeued < 3*n || len(numbers) < n/10 {
		t.Errorf("depth %d after %d requeues of %d messages", c.Depth(), k.requeued, len(numbers))
	}
}

// framesOf are the frames of a run.
func (w *logWorld) framesOf(run *Run) (all [][]byte) {
	frames := slices.Clone(run.Frames)
	for _, a := range run.Again {
		frames = a.Append(frames)
	}
	for len(frames) > 0 {
		size := 4 + binary.BigEndian.Uint32(frames)
		all = append(all, frames[:size])
		frames = frames[size:]
	}
	return all
}

// TestEphemeralChannelInLog has an ephemeral channel fall behind: it keeps the
// newest messages, and the other one all.
func TestEphemeralChannelInLog(t *testing.T) {
	w := newLogWorld(t, 20, 1)
	c, durable := w.topic.AddChannel("c#ephemeral", 1), w.topic.AddChannel("durable", 1)
	for range 10 {
		w.block(10)
	}
	if c.Depth() != 20 || c.Counts().Dropped != 80 {
		t.Errorf("depth %d, dropped %d", c.Depth(), c.Counts().Dropped)
	}
	if got := w.deliver(c, subscribe(c, 1000)); !slices.Equal(got, upTo(80, 100)) {
		t.Errorf("delivered: %v", got)
	}
	if got := w.deliver(durable, subscribe(durable, 1000)); !slices.Equal(got, upTo(0, 100)) {
		t.Errorf("delivered: %v", got)
	}
}

// An ephemeral channel that begins in the log, or is moved back in it, gets what the
// log has, however much that is, and sheds again from there on.
func TestEphemeralReplay(t *testing.T) {
	w := newLogWorld(t, 20, 1)
	durable := w.topic.AddChannel("durable", 1)
	for range 10 {
		w.block(10)
	}
	c := w.topic.OpenChannelAt("c#ephemeral", 0, 1)
	k := subscribe(c, 1000)
	for range 10 {
		w.block(10)
	}
	if got := w.deliver(c, k); !slices.Equal(got, upTo(0, 200)) {
		t.Errorf("delivered: %v", got)
	}
	for range 10 {
		w.block(10)
	}
	if got := w.deliver(c, k); !slices.Equal(got, upTo(280, 300)) {
		t.Errorf("delivered when it had caught up: %v", got)
	}
	c.Seek(w.first+50, 1)
	w.block(10)
	if got := w.deliver(c, k); !slices.Equal(got, upTo(50, 310)) {
		t.Errorf("delivered when it was moved back: %v", got)
	}
	if got := w.deliver(durable, subscribe(durable, 1000)); !slices.Equal(got, upTo(0, 310)) {
		t.Errorf("delivered to the other: %v", got)
	}
}

// TestSamePace has eight channels read the log at the same pace: each block is
// read once.
func TestSamePace(t *testing.T) {
	w := newLogWorld(t, 0, 1)
	var ks []*Consumer
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		ks = append(ks, subscribe(w.topic.AddChannel(name, 1), 7))
	}
	for range 100 {
		w.block(10)
	}
	alone := newLogWorld(t, 0, 1)
	alone.main, alone.topic = w.main, NewLoggedTopic(alone.config(), LogState{}, w.first, w.topic.End(), 0, nil)
	c := alone.topic.AddChannel("c", 1)
	alone.deliver(c, subscribe(c, 1<<20))

	got := make([][]int, len(ks))
	var run Run
	for range 2000 {
		for i, k := range ks {
			if k.channel.Next(k, &run, 1<<20, 1) {
				got[i] = append(got[i], numbersIn(&run)...)
				k.channel.Release(&run)
				finishAll(t, k.channel, k)
			}
		}
		w.work(2)
	}
	for i := range got {
		if !slices.Equal(got[i], upTo(0, 1000)) {
			t.Errorf("channel %d gets %d messages: %v", i, len(got[i]), got[i])
		}
	}
	if w.loads > alone.loads+alone.loads/4 {
		t.Errorf("%d reads of the log for eight channels, and %d for one", w.loads, alone.loads)
	}
	w.audit()
	if w.store.blocks != 0 {
		t.Errorf("%d blocks are still held", w.store.blocks)
	}
}

// TestStagedIsUnseen lets a channel read the log while something is written
// there that is not committed and then taken back.
func TestStagedIsUnseen(t *testing.T) {
	w := newLogWorld(t, 0, 1)
	c := w.topic.AddChannel("c", 1)
	k := subscribe(c, 1000)
	w.block(5)
	w.stage(3, 10)
	w.write()
	var run Run
	if c.Next(k, &run, 1<<20, 1) {
		t.Fatal("what is in the log comes without being read")
	}
	job, _ := w.topic.Work()
	done := w.read(job) // all eight
	w.rollback()
	w.publish(4, 10)
	done()
	if got := w.deliver(c, k); !slices.Equal(got, []int{0, 1, 2, 3, 4, 8, 9, 10, 11}) {
		t.Errorf("delivered: %v", got)
	}
}

// TestFetchWhileStalled has bodies fetched while a consumer finds that the next
// block has to be read, too: both must come.
func TestFetchWhileStalled(t *testing.T) {
	w := newLogWorld(t, 0, 1)
	c := w.topic.AddChannel("c", 1)
	k := subscribe(c, 1000)
	w.deferred(0)
	w.block(5)
	fetch, ok := w.topic.Work()
	if !ok || fetch.Kind != Fetch {
		t.Fatalf("the first work is %v", fetch.Kind)
	}
	var run Run
	c.Next(k, &run, 1<<20, 1)
	w.read(fetch)()
	if got := w.deliver(c, k); !slices.Equal(slices.Sorted(slices.Values(got)), upTo(0, 6)) {
		t.Errorf("delivered: %v", got)
	}
}

// TestNextWhileLoading asks again and again while a block is being read. That
// must not be read in vain.
func TestNextWhileLoading(t *testing.T) {
	w := newLogWorld(t, 0, 1)
	c := w.topic.AddChannel("c", 1)
	k := subscribe(c, 1000)
	w.block(1)
	var run Run
	c.Next(k, &run, 1<<20, 1)
	job, _ := w.topic.Work()
	done := w.read(job)
	c.Next(k, &run, 1<<20, 1)
	done()
	if !c.Next(k, &run, 1<<20, 1) || w.loads != 1 {
		t.Errorf("after %d reads there is nothing", w.loads)
	}
}

// TestLostBodies fetches bodies that are not there any more, and asks for those
// that nobody has: they are counted, and nothing else is held up.
func TestLostBodies(t *testing.T) {
	w := newLogWorld(t, 0, 1)
	c := w.topic.AddChannel("c", 1)
	for range 5 {
		w.deferred(0)
	}
	w.side[1].frame, w.side[3].frame = nil, nil
	if got := w.deliver(c, subscribe(c, 1000)); !slices.Equal(got, []int{0, 2, 4}) || c.Counts().Lost != 2 {
		t.Errorf("delivered: %v, lost %d", got, c.Counts().Lost)
	}
	if err := c.Delete(3); !errors.Is(err, ErrNotDead) {
		t.Errorf("deleting what is not dead: %v", err)
	}
}
