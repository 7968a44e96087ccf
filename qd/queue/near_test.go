package queue

import (
	"fmt"
	"slices"
	"testing"
)

// town is a topic with a channel and consumers that are near and far.
type town struct {
	*world
	c         *Channel
	consumers []*sampler
}

func newTown(t *testing.T) *town {
	w := newWorld(t, "t", 1<<30, 1)
	return &town{world: w, c: w.topic.AddChannel("c", w.now)}
}

// settler adds a consumer that has asked for messages and waits.
func (w *town) settler(near Nearness, ready int) *sampler {
	s := &sampler{c: w.c}
	s.k = w.c.Subscribe(s, 1e12)
	s.k.SetNearness(near)
	s.k.SetReady(ready)
	w.consumers = append(w.consumers, s)
	w.turn(s)
	return s
}

// turn lets a consumer take all that it is given.
func (w *town) turn(s *sampler) {
	for s.take(1<<20, w.now) {
	}
}

// woken are the consumers that were named to be woken.
func (w *town) woken() (all []*sampler) {
	for _, k := range w.topic.Woken() {
		k.Owner.(*sampler).awake = true
		all = append(all, k.Owner.(*sampler))
	}
	return all
}

// settle lets those who are woken take what they are given, until nobody is.
func (w *town) settle() {
	for all := w.woken(); len(all) > 0; all = w.woken() {
		for _, s := range all {
			w.turn(s)
		}
	}
}

// held is how many messages each consumer holds.
func (w *town) held() (n []int) {
	for _, s := range w.consumers {
		n = append(n, len(s.ids))
	}
	return n
}

func (w *town) mustHold(what string, want ...int) {
	w.t.Helper()
	if got := w.held(); !slices.Equal(got, want) {
		w.t.Fatalf("%s: the consumers hold %v messages, not %v", what, got, want)
	}
	w.audit()
}

// TestNearFirst: those in the zone get what they have credit for, then those in
// the region, then all others, whatever the order in which they came.
func TestNearFirst(t *testing.T) {
	for _, order := range [][]Nearness{{Zone, Region, Elsewhere}, {Elsewhere, Region, Zone}, {Region, Elsewhere, Zone}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			w := newTown(t)
			for _, near := range order {
				w.settler(near, 10)
			}
			holds := func(what string, zone, region, elsewhere int) {
				t.Helper()
				var want []int
				for _, near := range order {
					want = append(want, map[Nearness]int{Zone: zone, Region: region, Elsewhere: elsewhere}[near])
				}
				w.mustHold(what, want...)
			}
			zone := w.consumers[slices.Index(order, Zone)]
			for range 5 {
				w.publish(1, 10)
				w.settle()
			}
			holds("one by one", 5, 0, 0)
			w.publish(12, 10)
			w.settle()
			holds("beyond the credit of the first", 10, 7, 0)
			w.publish(20, 10)
			w.settle()
			holds("beyond that of all", 10, 10, 10)
			zone.finish(t)
			w.settle()
			holds("the first has credit again", 7, 10, 10)
			if got := w.c.Counts().Delivered; got != [nearnesses]uint64{Elsewhere: 10, Region: 10, Zone: 17} {
				t.Errorf("delivered: %v", got)
			}
		})
	}
}

// TestEqualShares: those who are equally near have equal shares, however many
// there are who are farther.
func TestEqualShares(t *testing.T) {
	w := newTown(t)
	for _, near := range []Nearness{Zone, Elsewhere, Zone, Elsewhere, Elsewhere} {
		w.settler(near, 100)
	}
	w.publish(60, 10)
	w.settle()
	w.mustHold("within the credit of the near ones", 30, 0, 30, 0, 0)
	w.publish(140+150, 10)
	w.settle()
	w.mustHold("beyond it", 100, 50, 100, 50, 50)
}

// TestPartOfALine: those who are busy leave something for the others of their
// line, and nothing for those who are farther.
func TestPartOfALine(t *testing.T) {
	for _, near := range []Nearness{Region, Elsewhere} {
		w := newTown(t)
		all := []*sampler{w.settler(near, 100), w.settler(near, 100)}
		for other := Elsewhere; other < nearnesses; other++ {
			if other != near {
				for range 3 {
					w.settler(other, 0)
				}
			}
		}
		w.publish(2, 10)
		for _, s := range w.woken() {
			s.take(1<<20, w.now)
		}
		for _, s := range w.woken() {
			s.take(1<<20, w.now)
		}
		w.mustHold("woken", 1, 1, 0, 0, 0, 0, 0, 0)
		w.publish(80, 10) // while both write
		all[0].take(1<<20, w.now)
		w.mustHold("one of two comes back", 21, 1, 0, 0, 0, 0, 0, 0)
		w.c.Unsubscribe(all[1].k, w.now)
		all[1].ids = nil
		all[0].take(1<<20, w.now) // what the other one held
		all[0].take(1<<20, w.now)
		all[0].take(1<<20, w.now)
		w.mustHold("it is alone in its line", 82, 0, 0, 0, 0, 0, 0, 0)
	}
}

// TestNearNotReady: what is farther gets messages when, for whatever reason, what
// is nearer cannot take them, and only then.
func TestNearNotReady(t *testing.T) {
	for name, step := range map[string]func(w *town, near *sampler){
		"out of credit": func(w *town, near *sampler) { near.k.SetReady(1) },
		"gone":          func(w *town, near *sampler) { w.c.Unsubscribe(near.k, w.now) },
		"yields":        func(w *town, near *sampler) { w.c.Yield(near.k) },
		"stuck": func(w *town, near *sampler) {
			for when, ok := w.topic.Earliest(); ok && when <= w.now+patience; when, ok = w.topic.Earliest() {
				w.now = when
				w.topic.Expire(w.now)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			near, far := w.settler(Region, 10), w.settler(Elsewhere, 10)
			w.publish(1, 10)
			if !slices.Equal(w.woken(), []*sampler{near}) || !near.take(1<<20, w.now) {
				t.Fatal("the nearer one does not have its turn")
			}
			w.publish(5, 10) // while it writes
			w.turn(far)
			w.mustHold("while the nearer one writes", 1, 0)
			step(w, near)
			w.settle()
			if got := len(far.ids); got < 5 {
				t.Fatalf("the farther one holds %d messages", got)
			}
			w.audit()
			if name != "yields" && name != "stuck" {
				return
			}
			near.k.SetReady(20)
			w.turn(near) // it is back
			w.publish(3, 10)
			w.settle()
			w.mustHold("when it is back", 4, 5)
		})
	}
}

// TestFarIsNotStarved: whatever the near ones do, as long as there are fewer of
// them than messages, all messages are delivered, without any wait but patience.
func TestFarIsNotStarved(t *testing.T) {
	for seed := range uint64(20) {
		w := newTown(t)
		w.rng.Uint64()
		for range seed {
			w.rng.Uint64()
		}
		for i := range 6 {
			w.settler(Nearness((i+1)%nearnesses), 1+w.rng.IntN(5))
		}
		stuck := map[*sampler]bool{}
		for range 300 {
			w.publish(w.rng.IntN(4), 10)
			for _, s := range w.woken() {
				s.take(1<<20, w.now)
			}
			s := w.consumers[w.rng.IntN(len(w.consumers)-1)]
			switch w.rng.IntN(5) {
			case 0:
				s.finish(t)
			case 1:
				stuck[s] = s.awake && !stuck[s]
			case 2:
				w.c.Yield(s.k)
				s.awake = true
			}
			if s.awake && !stuck[s] {
				s.take(1<<20, w.now)
			}
			w.audit()
		}
		// All but the last and farthest never come again.
		last := w.consumers[5]
		last.k.SetReady(1 << 20)
		for _, s := range w.consumers[:5] {
			if !s.awake { // it waits and would take something if it were woken
				s.k.SetReady(0)
			}
		}
		for i := 0; w.c.Depth() > 0 && i < 1000; i++ {
			w.now += patience
			w.topic.Expire(w.now)
			for _, s := range w.woken() {
				if s == last {
					w.turn(last)
				} else if s.k.turn {
					s.take(1<<20, w.now) // whoever is woken comes once
				}
			}
			if last.awake {
				w.turn(last)
			}
		}
		if n := w.c.Depth(); n > 0 {
			t.Fatalf("seed %d: %d messages are left, and nobody comes for them", seed, n)
		}
		w.audit()
	}
}

// TestFarComesBack: one who is farther, and was busy itself, is not given what
// the nearer one will come for, not even when that one has yielded once.
func TestFarComesBack(t *testing.T) {
	w := newTown(t)
	near, far := w.settler(Zone, 0), w.settler(Elsewhere, 100)
	w.publish(1, 10)
	if !slices.Equal(w.woken(), []*sampler{far}) || !far.take(1<<20, w.now) {
		t.Fatal("the farther one does not get what nobody else wants")
	}
	near.k.SetReady(100)
	for n := range 3 {
		w.publish(5, 10)
		w.woken()
		near.take(1<<20, w.now)
		w.publish(5, 10) // while it writes
		w.turn(far)
		w.mustHold("while the nearer one writes", 10*n+5, 1)
		near.take(1<<20, w.now)
		w.mustHold("when it has come back", 10*n+10, 1)
		w.c.Yield(near.k)
		far.awake = false
	}
	w.c.Yield(near.k)
	w.publish(2, 10)
	w.settle()
	w.mustHold("while the nearer one yields", 30, 3)
}
