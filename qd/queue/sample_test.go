package queue

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// sampler is a consumer of either kind of world that remembers what it got.
type sampler struct {
	c     *Channel
	k     *Consumer
	rate  int32
	run   Run
	awake bool
	ids   []uint64 // of what it holds
	got   []int    // numbers, in order
}

func newSampler(c *Channel, rate int32, ready int) *sampler {
	s := &sampler{c: c, rate: rate, awake: true}
	s.k = c.Subscribe(s, 1000)
	s.k.SetSampleRate(rate)
	s.k.SetReady(ready)
	return s
}

// take takes a run, and reports whether there was one.
func (s *sampler) take(maxBytes int, now int64) bool {
	s.awake = s.c.Next(s.k, &s.run, maxBytes, now)
	frames := slices.Clone(s.run.Frames)
	for _, a := range s.run.Again {
		frames = a.Append(frames)
	}
	for n := 0; len(frames) > 0; n++ {
		size := int(uint32(frames[0])<<24|uint32(frames[1])<<16|uint32(frames[2])<<8|uint32(frames[3])) + 4
		s.ids = append(s.ids, idOf(frames))
		s.got = append(s.got, numberOf(frames))
		frames = frames[size:]
	}
	return s.awake
}

func (s *sampler) finish(t *testing.T) {
	t.Helper()
	s.c.Finish(s.k, s.ids, 1, func(i int, err error) { t.Fatalf("FIN %x: %v", s.ids[i], err) })
	s.ids = s.ids[:0]
}

// exact checks that the consumer got its part of what was offered to it.
func (s *sampler) exact(t *testing.T) {
	t.Helper()
	offered := len(s.got) + int(s.k.Sampled())
	want := offered
	if s.rate > 0 {
		want = offered * int(s.rate) / 100
	}
	if len(s.got) != want {
		t.Errorf("at %d %%, a consumer got %d of %d", s.rate, len(s.got), offered)
	}
}

// drive lets all consumers take and finish until there is nothing more.
func drive(t *testing.T, topic *Topic, all []*sampler, work func()) {
	t.Helper()
	for busy := true; busy; {
		busy = false
		work()
		for _, k := range topic.Woken() {
			k.Owner.(*sampler).awake = true
		}
		for _, s := range all {
			if s.awake {
				busy = true
				s.take(2000, 1)
			}
			if len(s.ids) > 0 {
				busy = true
				s.finish(t)
			}
		}
	}
	for _, s := range all {
		s.c.Release(&s.run)
	}
}

// sampled are topics of both kinds, with n messages and one channel.
func sampled(t *testing.T, n int, f func(t *testing.T, topic *Topic, c *Channel, work func())) {
	for _, memory := range []int{0, 1 << 30} {
		t.Run(fmt.Sprint("memory ", memory), func(t *testing.T) {
			w := newWorld(t, "t", memory, 1)
			c := w.topic.AddChannel("c", w.now)
			for left := n; left > 0; left -= 50 {
				w.publish(min(left, 50), 20)
			}
			f(t, w.topic, c, func() { w.work(1 << 30) })
			w.topic.Idle()
			w.audit()
			if w.store.blocks != 0 || w.store.charged != 0 {
				t.Errorf("%d blocks and %d bytes are still held", w.store.blocks, w.store.charged)
			}
		})
		t.Run(fmt.Sprint("log, memory ", memory), func(t *testing.T) {
			w := newLogWorld(t, memory, 1)
			c := w.topic.AddChannel("c", w.now)
			for left := n; left > 0; left -= 50 {
				w.publish(min(left, 50), 20)
			}
			f(t, w.topic, c, func() { w.work(1 << 30) })
			w.topic.Idle()
			w.audit()
			if w.store.blocks != 0 || w.store.charged != 0 {
				t.Errorf("%d blocks and %d bytes are still held", w.store.blocks, w.store.charged)
			}
		})
	}
}

// TestSampleRate: a consumer alone gets exactly its part of every hundred
// messages, and the channel is empty afterwards.
func TestSampleRate(t *testing.T) {
	const n = 10_000
	for _, rate := range []int32{1, 33, 50, 99} {
		t.Run(fmt.Sprint(rate, " percent"), func(t *testing.T) {
			sampled(t, n, func(t *testing.T, topic *Topic, c *Channel, work func()) {
				s := newSampler(c, rate, 7)
				drive(t, topic, []*sampler{s}, work)
				hundreds := map[int]int{}
				for _, number := range s.got {
					hundreds[number/100]++
				}
				for h := range n / 100 {
					if hundreds[h] != int(rate) {
						t.Fatalf("%d messages of hundred %d", hundreds[h], h)
					}
				}
				if got := c.Counts(); c.Depth() != 0 || got.Finished != uint64(rate)*n/100 || got.Sampled != n-got.Finished {
					t.Errorf("depth %d, %+v", c.Depth(), got)
				}
			})
		})
	}
}

// TestSampleRates: consumers with different rates have their parts of what each
// is offered, and every message is given to one of them or skipped by one.
func TestSampleRates(t *testing.T) {
	const n = 10_000
	sampled(t, n, func(t *testing.T, topic *Topic, c *Channel, work func()) {
		var all []*sampler
		for i, rate := range []int32{1, 50, 99, 0, 1} {
			all = append(all, newSampler(c, rate, 3+10*i))
		}
		drive(t, topic, all, work)
		seen := map[int]bool{}
		for _, s := range all {
			s.exact(t)
			for _, number := range s.got {
				if seen[number] {
					t.Fatalf("message %d came twice", number)
				}
				seen[number] = true
			}
			if offered := len(s.got) + int(s.k.Sampled()); offered < n/100 {
				t.Errorf("at %d %%, a consumer was offered %d of %d messages", s.rate, offered, n)
			}
		}
		if counts := c.Counts(); len(seen)+int(counts.Sampled) != n || c.Depth() != 0 {
			t.Errorf("%d delivered, %d skipped, depth %d", len(seen), counts.Sampled, c.Depth())
		}
	})
}

// TestSampledOnce: what was delivered once is not skipped when it comes again,
// nor is what somebody has revived. Deferred publishes are skipped as others are.
func TestSampledOnce(t *testing.T) {
	sampled(t, 100, func(t *testing.T, topic *Topic, c *Channel, work func()) {
		s := newSampler(c, 1, 100)
		for s.take(1000, 1) {
		}
		work()
		for len(s.got) == 0 && s.take(1000, 1) {
		}
		for range 200 {
			if len(s.ids) != 1 {
				t.Fatalf("%d messages of a hundred", len(s.ids))
			}
			if err := c.Requeue(s.k, s.ids[0], 0, 1); err != nil {
				t.Fatal(err)
			}
			s.ids = s.ids[:0]
			work()
			s.take(1000, 1)
		}
		c.SetMaxAttempts(1)
		if err := c.Requeue(s.k, s.ids[0], 0, 1); err != nil {
			t.Fatal(err)
		}
		if err := c.Revive(s.ids[0], 1); err != nil {
			t.Fatal(err)
		}
		s.ids = s.ids[:0]
		work()
		if s.take(1000, 1); len(s.ids) != 1 {
			t.Fatal("a revived message was skipped")
		}
		s.finish(t)
		c.Release(&s.run)
		if counts := c.Counts(); counts.Sampled != 99 || counts.Finished != 1 {
			t.Errorf("%+v", counts)
		}
	})
}

func TestSampledDeferred(t *testing.T) {
	w := newLogWorld(t, 1<<30, 1)
	c := w.topic.AddChannel("c", w.now)
	for range 200 {
		w.deferred(10)
	}
	w.now += 20
	w.topic.Expire(w.now)
	s := newSampler(c, 25, 3)
	drive(t, w.topic, []*sampler{s}, func() { w.work(1 << 30) })
	if counts := c.Counts(); counts.Finished != 50 || counts.Sampled != 150 {
		t.Errorf("%+v", counts)
	}
	w.keep(c)
	if n := len(w.kept["c"].entries); n != 0 {
		t.Errorf("%d entries are kept of what was skipped", n)
	}
	w.audit()
}

// TestSampledRestart: what was skipped is finished for a restart, too; what was
// in flight comes again, and none of that is skipped.
func TestSampledRestart(t *testing.T) {
	w := newLogWorld(t, 10, 1)
	w.topic.AddChannel("c", w.now)
	for range 20 {
		w.publish(50, 20)
	}
	before := newSampler(w.topic.Channel("c"), 50, 200)
	for len(before.ids) < 200 {
		w.work(1 << 30)
		before.take(700, w.now)
	}
	held, offered := slices.Clone(before.got), len(before.got)+int(before.k.Sampled())
	w.keep(w.topic.Channel("c"))
	w.audit()
	w.settled()
	w.crash()
	after := newSampler(w.topic.Channel("c"), 50, 1000)
	drive(t, w.topic, []*sampler{after}, func() { w.work(1 << 30) })
	if !slices.Equal(after.got[:len(held)], held) {
		t.Fatalf("of %d messages in flight, after the restart came %d first", len(held), after.got[:len(held)])
	}
	if rest := len(after.got) - len(held); rest != (1000-offered)/2 {
		t.Errorf("%d messages of %d came after them", rest, 1000-offered)
	}
	all := map[int]bool{}
	for _, number := range after.got {
		all[number] = true
	}
	if len(all) != len(after.got) {
		t.Errorf("%d messages came, %d different ones: %v", len(after.got), len(all), slices.Sorted(maps.Keys(all)))
	}
	w.audit()
}
