package broker

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// TestDrain wants publishes and new topics refused, everything else to go on,
// and the broker empty when what was there is finished: at each level.
func TestDrain(t *testing.T) {
	for _, level := range []Level{Memory, Disk, Fsync} {
		t.Run(level.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, t.TempDir(), func(s *Settings) { s.Durability = level })
				defer r.stop()
				topic := r.topic("t")
				c := subscribe(t, topic, "c", 100)
				publish(t, topic, 0, 3, 10)
				must(t, topic.Defer(body(3, 10), time.Minute))
				r.Drain()
				mustFail(t, topic.Publish([][]byte{body(9, 0)}), ErrDraining)
				mustFail(t, topic.Defer(body(9, 0), time.Second), ErrDraining)
				_, err := r.Topic(t.Context(), "other")
				mustFail(t, err, ErrDraining)
				_, err = r.TopicToPublish(t.Context(), "other", false)
				mustFail(t, err, ErrDraining)
				must(t, topic.CreateChannel("late"))

				soon, late := r.Now()+int64(time.Second), int64(math.MaxInt64)
				r.wantLeft(soon, "3 ready, 0 in flight, 0 due, 1 later, 0 dead in 1 topics for 1 consumers")
				first := c.receive(3)
				r.wantLeft(soon, "0 ready, 3 in flight, 0 due, 1 later, 0 dead in 1 topics for 1 consumers")
				c.finish(first[1:])
				must(t, c.Requeue(first[0].id, time.Second/2))
				r.wantLeft(soon, "0 ready, 0 in flight, 1 due, 1 later, 0 dead in 1 topics for 1 consumers")
				c.consume(1)
				r.wantLeft(soon, "0 ready, 0 in flight, 0 due, 1 later, 0 dead in 0 topics for 1 consumers")
				r.wantLeft(late, "0 ready, 0 in flight, 1 due, 0 later, 0 dead in 1 topics for 1 consumers")
				time.Sleep(time.Minute)
				c.consume(1)
				r.wantLeft(late, "0 ready, 0 in flight, 0 due, 0 later, 0 dead in 0 topics for 1 consumers")
				c.close()
			})
		})
	}
}

// wantLeft wants Left to say so, and Empty to agree.
func (r *running) wantLeft(until int64, want string) {
	r.t.Helper()
	l := r.Left(until)
	got := fmt.Sprintf("%d ready, %d in flight, %d due, %d later, %d dead in %d topics for %d consumers",
		l.Ready, l.InFlight, l.Due, l.Later, l.Dead, l.Topics, l.Consumers)
	if got != want {
		r.t.Errorf("left: %s; want %s", got, want)
	}
	if r.Empty(until) != (l.Messages() == 0) {
		r.t.Errorf("empty is %v with %s", r.Empty(until), got)
	}
}

// TestRefuseAfterDrain: a stop says that it is one, and is not undone by a drain.
func TestRefuseAfterDrain(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	mustFail(t, r.Refusal(), nil)
	r.Drain()
	mustFail(t, r.Refusal(), ErrDraining)
	r.Refuse()
	mustFail(t, r.Refusal(), ErrExiting)
	r.Drain()
	mustFail(t, r.Refusal(), ErrExiting)
}

// TestDrainWhilePublishing: a broker is not empty as long as a publish that was
// let in is being written, and those behind it; none of it is refused.
func TestDrainWhilePublishing(t *testing.T) {
	gated(t, Disk, func(w *world, g *gate, orders *Topic) {
		reopen := g.shut("write", "/log/")
		one, many := w.begin(orders, 1), w.begin(orders, 3)
		w.live.Drain()
		mustFail(t, orders.Publish([][]byte{body(0, 0)}), ErrDraining)
		if w.live.Empty(math.MaxInt64) {
			t.Error("empty while a publish is being written")
		}
		reopen()
		w.end(one)
		w.end(many)
		if got := fmt.Sprint(one.errs, many.errs); got != "[<nil>] [<nil> <nil> <nil>]" {
			t.Error(got)
		}
		if n := w.live.Left(math.MaxInt64).Messages(); n != 5 { // with one of before
			t.Errorf("%d messages are left", n)
		}
	})
}

// TestDrainRace has publishers hit the moment at which a drain begins: once the
// broker is empty it stays so, and all that was acknowledged has been delivered.
func TestDrainRace(t *testing.T) {
	for _, level := range []Level{Memory, Disk} {
		t.Run(level.String(), func(t *testing.T) {
			for range 20 {
				r := start(t, t.TempDir(), func(s *Settings) { s.Durability = level })
				topic := r.topic("t")
				c := subscribe(t, topic, "c", 1<<20)
				const publishers = 4
				stored := make(chan int, publishers)
				for range publishers {
					go func() {
						n := 0
						for topic.Publish([][]byte{body(n, 10)}) == nil {
							n++
						}
						stored <- n
					}()
				}
				got := len(c.consume(50))
				r.Drain()
				for !r.Empty(math.MaxInt64) {
					some := c.poll()
					c.finish(some)
					got += len(some)
				}
				want := 0
				for range publishers {
					want += <-stored
				}
				if got != want {
					t.Errorf("%d messages were delivered when it was empty, %d acknowledged", got, want)
				}
				c.close()
				must(t, r.stop())
			}
		})
	}
}

// TestEmptyOfManyTopics has one message in the last of some topics, without a
// channel.
func TestEmptyOfManyTopics(t *testing.T) {
	r := start(t, t.TempDir(), func(s *Settings) { s.Durability = Memory })
	for n := range 50 {
		must(t, r.topic(fmt.Sprint("t", n)).CreateChannel("c"))
	}
	if !r.Empty(math.MaxInt64) {
		t.Error("not empty without a message")
	}
	alone := r.topic("alone")
	publish(t, alone, 0, 1, 1)
	if r.Empty(math.MaxInt64) {
		t.Error("empty with a message that no channel has")
	}
	must(t, alone.Empty())
	if !r.Empty(math.MaxInt64) {
		t.Error("not empty once the topic was emptied")
	}
	// A dead message waits for an operator, not for a consumer.
	must(t, r.topic("t1").SetMaxAttempts("c", 1))
	publish(t, r.topic("t1"), 0, 1, 1)
	c := subscribe(t, r.topic("t1"), "c", 1)
	must(t, c.Requeue(c.receive(1)[0].id, 0))
	c.poll()
	r.wantLeft(math.MaxInt64, "0 ready, 0 in flight, 0 due, 0 later, 1 dead in 0 topics for 1 consumers")
	c.close()
}
