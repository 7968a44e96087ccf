package queue

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// numbersOf returns the bodies of a run's messages, which number them.
func numbersOf(t testing.TB, run *Run) (numbers []int) {
	t.Helper()
	frames := slices.Clone(run.Frames)
	for _, a := range run.Again {
		frames = a.Append(frames)
	}
	b := NewBlock(nil)
	for len(frames) > 0 {
		size := 4 + int(uint32(frames[0])<<24|uint32(frames[1])<<16|uint32(frames[2])<<8|uint32(frames[3]))
		if err := b.Load(frames[:size]); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, int(frames[protocol.MessageOverhead+7])|int(frames[protocol.MessageOverhead+6])<<8)
		frames = frames[size:]
	}
	return numbers
}

// TestWakingIsHandedOn wakes a consumer for what it then does not take, or not
// all of it: the next one that waits must be woken, and not only when the first
// one has written what it got.
func TestWakingIsHandedOn(t *testing.T) {
	tests := map[string]func(c *Channel, k *Consumer, run *Run){
		"RDY 0":      func(c *Channel, k *Consumer, run *Run) { k.SetReady(0); c.Next(k, run, 1000, 1) },
		"disconnect": func(c *Channel, k *Consumer, _ *Run) { c.Unsubscribe(k, 1) },
		"its part":   func(c *Channel, k *Consumer, run *Run) { c.Next(k, run, 1000, 1) },
	}
	for name, refuse := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "t", 1000, 1)
			c := w.topic.AddChannel("c", 1)
			var run Run
			first, second := c.Subscribe(nil, 1000), c.Subscribe(nil, 1000)
			for _, k := range []*Consumer{first, second} {
				k.SetReady(1)
				if c.Next(k, &run, 1000, 1) {
					t.Fatal("something comes out of an empty channel")
				}
			}
			w.publish(2, 10)
			if woken := w.topic.Woken(); !slices.Equal(woken, []*Consumer{first}) {
				t.Fatalf("%d consumers are woken at once, or not the one that waited longest", len(woken))
			}
			refuse(c, first, &run)
			if woken := w.topic.Woken(); !slices.Equal(woken, []*Consumer{second}) {
				t.Fatal("the message waits while a consumer with credit sleeps")
			}
			if !c.Next(second, &run, 1000, 1) {
				t.Fatal("the second consumer gets nothing")
			}
			w.audit()
		})
	}
}

// TestShares simulates equal consumers, each a goroutine that takes a moment to
// wake, to write and to be answered, on a channel that has little to do, a lot,
// more than they can take, or a backlog. Their shares must be equal within a
// tenth.
func TestShares(t *testing.T) {
	loads := []struct {
		name         string
		batch, every int // messages, µs
	}{{"single messages", 1, 50}, {"batches", 100, 40}, {"more than enough", 50, 20}, {"a backlog", 20_000, 1 << 40}}
	for _, load := range loads {
		for _, consumers := range []int{2, 3, 8} {
			for _, size := range []int{10, 200, 5000} {
				t.Run(fmt.Sprintf("%s of %d bytes for %d", load.name, size, consumers), func(t *testing.T) {
					sh := &sharing{world: newWorld(t, "t", 1<<30, 1), runs: map[*Consumer]*Run{}}
					sh.run(consumers, load.batch, load.every, size)
				})
			}
		}
	}
}

// sharing is a simulation with a clock in µs.
type sharing struct {
	*world
	c      *Channel
	runs   map[*Consumer]*Run
	events []event
	at     int
}

type event struct {
	when int
	do   func()
}

// after does something delay µs later, or up to half as much later still.
func (s *sharing) after(delay int, do func()) {
	when := s.at + delay + s.rng.IntN(1+delay/2)
	i := sort.Search(len(s.events), func(i int) bool { return s.events[i].when > when })
	s.events = slices.Insert(s.events, i, event{when, do})
}

func (s *sharing) run(consumers, batch, every, size int) {
	s.c = s.topic.AddChannel("c", 1)
	for range consumers {
		k := s.c.Subscribe(nil, math.MaxInt32)
		k.SetReady(200)
		s.runs[k] = new(Run)
		s.next(k)
	}
	var publish func()
	publish = func() {
		s.publish(batch, size)
		s.wake()
		s.after(every, publish)
	}
	publish()
	for s.at < 15_000 && s.c.Depth() > 0 || every < 1<<40 && s.at < 15_000 {
		e := s.events[0]
		s.events = s.events[1:]
		s.at = e.when
		e.do()
	}
	total := 0.0
	for k := range s.runs {
		total += float64(k.delivered)
	}
	for k := range s.runs {
		if part := float64(k.delivered) * float64(consumers) / total; part < 0.9 || part > 1.1 {
			s.t.Errorf("a consumer got %.2f of an equal share of %.0f", part, total)
		}
	}
	s.audit()
}

func (s *sharing) wake() {
	for _, k := range s.topic.Woken() {
		s.after(5, func() { s.next(k) })
	}
}

// next is a consumer's goroutine once around: take, write, and meanwhile the
// client answers.
func (s *sharing) next(k *Consumer) {
	if s.c.Next(k, s.runs[k], 64<<10, 1) {
		ids := idsOf(k.leases.root.prev.member) // the newest lease is that of the run
		s.after(5+len(ids)/50, func() { s.next(k) })
		s.after(30+len(ids)/20, func() {
			s.c.Finish(k, ids, 1, func(_ int, err error) { s.t.Fatal(err) })
			s.wake()
		})
	}
	s.wake()
}

// idsOf returns the IDs under a lease.
func idsOf(l *lease) (ids []uint64) {
	if l.parked != nil {
		return []uint64{l.parked.id}
	}
	for i := l.from; i < l.to; i++ {
		if l.chunk.leases[i] == l.slot {
			ids = append(ids, l.chunk.first+uint64(i))
		}
	}
	return ids
}

// finishAll finishes all that k holds.
func finishAll(t testing.TB, c *Channel, k *Consumer) {
	t.Helper()
	for l := k.leases.front(); l != nil; l = k.leases.front() {
		c.Finish(k, idsOf(l), 1, func(_ int, err error) { t.Fatal(err) })
	}
}

// TestStuckMessages has slow consumers hold a few messages for ever while very
// many flow. Neither the blocks that are held nor the window may grow.
func TestStuckMessages(t *testing.T) {
	const times = 700
	tests := map[string]struct{ first, each int }{
		"one of each block":            {0, 1},
		"a run, then one of each":      {200, 1},
		"all of a block, then nothing": {2000, 0},
		"a whole block, then one":      {2000, 1},
	}
	for name, stuck := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "t", 1<<30, 1)
			c := w.topic.AddChannel("c", 1)
			slow, fast := c.Subscribe(nil, math.MaxInt32), c.Subscribe(nil, math.MaxInt32)
			fast.SetReady(2500)
			var slowRun, fastRun Run
			take := func(n int) {
				c.Yield(fast) // or it would have the first turn
				slow.SetReady(slow.InFlight() + n)
				for w.publish(n, 200); slow.credit() > 0; {
					if !c.Next(slow, &slowRun, 1<<20, 1) {
						t.Fatal("nothing comes")
					}
				}
			}
			take(stuck.first)
			for range times { // about 250 blocks
				take(stuck.each)
				w.publish(500, 200)
				for c.Next(fast, &fastRun, 1<<20, 1) {
					finishAll(t, c, fast)
				}
				if w.store.blocks > 64 || c.window.chunks.len() > 80 {
					t.Fatalf("%d blocks are held for %d messages in flight, the window has %d chunks",
						w.store.blocks, c.InFlight(), c.window.chunks.len())
				}
			}
			w.audit()
			if want := stuck.first + times*stuck.each; slow.InFlight() != want {
				t.Fatalf("%d messages are held, not %d", slow.InFlight(), want)
			}
			// They are as much in flight as ever.
			for id := range c.parking.byID {
				if err := c.Touch(slow, id, math.MaxInt32, 1); err != nil {
					t.Fatal(err)
				}
			}
			finishAll(t, c, slow)
			c.Release(&slowRun)
			w.topic.Idle()
			w.audit()
			if w.store.blocks != 0 || w.store.charged != 0 {
				t.Errorf("%d blocks and %d bytes are still held", w.store.blocks, w.store.charged)
			}
		})
	}
}

func TestTouch(t *testing.T) {
	const timeout, most = 1000, 2500
	tests := []struct {
		name    string
		touches []int64
		ends    int64
	}{
		{"never", nil, 1000},
		{"once", []int64{600}, 1600},
		{"often", []int64{600, 1200, 1400}, 2400},
		{"at most", []int64{600, 1200, 1800, 2400}, 2500},
		{"at once", []int64{0, 0}, 1000},
	}
	for _, evacuated := range []bool{false, true} {
		for _, test := range tests {
			t.Run(fmt.Sprintf("%s, out of the window %v", test.name, evacuated), func(t *testing.T) {
				w := newWorld(t, "t", 1000, 1)
				c := w.topic.AddChannel("c", 0)
				k := c.Subscribe(nil, timeout)
				k.SetReady(3)
				w.publish(3, 10)
				var run Run
				for c.Next(k, &run, 1000, 0) {
				}
				ids := make([]uint64, 3)
				for i := range ids {
					ids[i] = c.window.chunks.at(0).first + uint64(i)
				}
				if evacuated {
					w.topic.seal()
					c.evacuate(c.window.chunks.at(0))
				}
				for _, at := range test.touches {
					c.Expire(at)
					if err := c.Touch(k, ids[1], most, at); err != nil {
						t.Fatalf("at %d: %v", at, err)
					}
				}
				c.Expire(test.ends - 1)
				if _, err := c.hold(k, ids[1]); err != nil {
					t.Errorf("before its time: %v", err)
				}
				c.Expire(test.ends)
				if _, err := c.hold(k, ids[1]); !errors.Is(err, ErrNotInFlight) {
					t.Errorf("after its time: %v", err)
				}
				c.Expire(timeout)
				if c.InFlight() != 0 || c.counts.TimedOut != 3 {
					t.Errorf("%d in flight, %d timed out", c.InFlight(), c.counts.TimedOut)
				}
				w.audit()
			})
		}
	}
}

// TestExpireOrder checks that messages become ready in the order in which
// they become due, be they timed out, requeued or deferred.
func TestExpireOrder(t *testing.T) {
	w := newWorld(t, "t", 1000, 1)
	c := w.topic.AddChannel("c", 0)
	var run Run
	for i, timeout := range []int64{500, 100, 300} { // messages 0 to 2
		w.publish(1, 0)
		k := c.Subscribe(nil, timeout)
		k.SetReady(1)
		if !c.Next(k, &run, 1000, 0) {
			t.Fatalf("message %d does not come", i)
		}
	}
	w.now = 0
	for _, delay := range []int64{400, 200} { // 3 and 4
		if err := w.deferred(delay); err != nil {
			t.Fatal(err)
		}
	}
	k := c.Subscribe(nil, 10_000)
	k.SetReady(10)
	w.publish(1, 0) // 5
	c.Next(k, &run, 1000, 0)
	if err := c.Requeue(k, c.window.chunks.at(0).first+3, 250, 0); err != nil {
		t.Fatal(err)
	}
	var got []int
	for now := int64(0); now <= 1000; now += 50 {
		w.topic.Expire(now)
		for c.Next(k, &run, 1000, now) {
			got = append(got, numbersOf(t, &run)...)
		}
	}
	if want := []int{1, 4, 5, 2, 3, 0}; !slices.Equal(got, want) {
		t.Errorf("messages come again in the order %v, not %v", got, want)
	}
	if len(w.topic.Woken()) == 0 {
		t.Error("nobody was woken")
	}
	w.audit()
}

// TestErrors asks for what a consumer must not have.
func TestErrors(t *testing.T) {
	w := newWorld(t, "t", 1000, 1)
	c := w.topic.AddChannel("c", 0)
	owner, other := c.Subscribe(nil, 1000), c.Subscribe(nil, 1000)
	owner.SetReady(10)
	w.publish(3, 10)
	var run Run
	for c.Next(owner, &run, 1000, 0) {
	}
	id := c.window.chunks.at(0).first
	finish := func(k *Consumer, id uint64) (err error) {
		c.Finish(k, []uint64{id}, 1, func(_ int, e error) { err = e })
		return err
	}
	if err := finish(owner, id+1); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		k    *Consumer
		id   uint64
		want error
	}{
		"another's":         {other, id, ErrNotOwner},
		"finished already":  {owner, id + 1, ErrNotInFlight},
		"never delivered":   {owner, id + 3, ErrNotInFlight},
		"below all":         {owner, id - 1, ErrNotInFlight},
		"zero":              {owner, 0, ErrNotInFlight},
		"the highest there": {owner, math.MaxUint64, ErrNotInFlight},
	} {
		if err := finish(test.k, test.id); !errors.Is(err, test.want) {
			t.Errorf("FIN of a message that is %s: %v", name, err)
		}
		if err := c.Requeue(test.k, test.id, 0, 0); !errors.Is(err, test.want) {
			t.Errorf("REQ of a message that is %s: %v", name, err)
		}
		if err := c.Touch(test.k, test.id, 1000, 0); !errors.Is(err, test.want) {
			t.Errorf("TOUCH of a message that is %s: %v", name, err)
		}
	}
	if c.InFlight() != 2 {
		t.Errorf("%d messages are in flight", c.InFlight())
	}
	w.audit()
}

// TestAttempts counts deliveries up to the most that the wire can tell.
func TestAttempts(t *testing.T) {
	w := newWorld(t, "t", 1000, 1)
	c := w.topic.AddChannel("c", 0)
	k := c.Subscribe(nil, 1000)
	k.SetReady(1)
	w.publish(1, 10)
	var run Run
	for i := range math.MaxUint16 + 3 {
		if !c.Next(k, &run, 1000, 0) {
			t.Fatal("nothing comes")
		}
		frame := run.Frames
		if len(run.Again) > 0 {
			frame = run.Again[0].Append(nil)
		}
		if got, want := int(attemptsOf(frame)), min(i+1, math.MaxUint16); got != want {
			t.Fatalf("delivery %d has attempts %d", i+1, got)
		}
		if err := c.Requeue(k, idOf(frame), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestParkedLimit has a consumer requeue all that it gets. What is parked
// cannot go to disk, so first deliveries end until some of it is finished.
func TestParkedLimit(t *testing.T) {
	w := newWorld(t, "t", 1<<30, 1)
	w.store.parkedLimit = 100_000
	c := w.topic.AddChannel("c", 1)
	k := c.Subscribe(nil, math.MaxInt32)
	k.SetReady(10)
	w.publish(10_000, 200)
	var run Run
	taken := 0
	for c.Next(k, &run, 1<<20, 1) {
		taken += run.N
		for l := k.leases.front(); l != nil; l = k.leases.front() {
			for _, id := range idsOf(l) {
				if err := c.Requeue(k, id, 1000, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if taken < 150 || taken > 300 || w.store.charged > 120_000 {
		t.Fatalf("%d messages were taken and requeued, for %d bytes", taken, w.store.charged)
	}
	w.topic.Woken()
	w.topic.Expire(2000) // all of them are due
	for n := 0; n < 10_000; {
		if !c.Next(k, &run, 1<<20, 2000) {
			t.Fatalf("nothing comes after %d messages", n)
		}
		n += run.N
		finishAll(t, c, k)
	}
	c.Release(&run)
	w.audit()
	if w.store.charged != 0 {
		t.Errorf("%d bytes are still charged", w.store.charged)
	}
}

// TestLimitLoweredForMany: when very many messages have been delivered as often as they
// now may be, no call takes the time of burying all, and all are buried.
func TestLimitLoweredForMany(t *testing.T) {
	const n = 10 * buriedAtOnce
	w := newWorld(t, "t", 1<<30, 1)
	s := newSampler(w.topic.AddChannel("c", 1), 0, n)
	w.publish(n, 10)
	for s.take(1<<20, 1) {
	}
	for _, id := range s.ids {
		if err := s.c.Requeue(s.k, id, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	w.topic.Woken()
	s.ids, s.awake = nil, true
	s.c.SetMaxAttempts(1)
	for calls := 1; s.awake; calls++ {
		s.take(1<<20, 1)
		if dead := s.c.Dead(); len(s.ids) > 0 || dead > calls*buriedAtOnce {
			t.Fatalf("after %d calls, %d are dead and %d delivered", calls, dead, len(s.ids))
		}
		s.awake = len(w.topic.Woken()) > 0
	}
	if dead := s.c.Dead(); dead != n {
		t.Errorf("%d of %d are dead, and nobody is woken", dead, n)
	}
	w.audit()
}
