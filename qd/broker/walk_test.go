package broker

import (
	"math"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

const (
	walkedSize = 100_000 // bytes of the bodies, so that a dozen are read at a time
	walkedDead = 30
)

// deadAhead leaves channel c of topic t with dead messages at the beginning of the log,
// of which every third is revived and finished by the function returned, and many
// behind them that another one finishes.
func deadAhead(t *testing.T, m *machine) (topic *Topic, revived, rest func()) {
	t.Helper()
	const all = 200
	topic = m.topic("t")
	publish(t, topic, 0, walkedDead, walkedSize)
	c := subscribe(t, topic, "c", all)
	if err := topic.SetMaxAttempts("c", 1); err != nil {
		t.Fatal(err)
	}
	dead := c.receive(walkedDead)
	for _, g := range dead {
		if err := c.Requeue(g.id, 0); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, topic, walkedDead, all, walkedSize)
	behind := c.receive(all - walkedDead)
	revived = func() {
		for i := 0; i < walkedDead; i += 3 {
			if _, err := topic.Revive("c", dead[i].id, false); err != nil {
				t.Fatal(err)
			}
		}
		c.consume(walkedDead / 3)
	}
	return topic, revived, func() { c.finish(behind) }
}

// TestCopyOfWhatGoesElsewhere copies while what lies ahead of the copy is moved out of
// the log's way, and some of it is revived and finished: neither is damaged.
func TestCopyOfWhatGoesElsewhere(t *testing.T) {
	m := boot(t, Disk, nil)
	topic, revive, finish := deadAhead(t, m)
	k := copier{
		Copying: Copying{Channel: "c", To: "to", All: true, State: queue.DeadMessages, Limit: 1000},
		ctx:     t.Context(), from: topic, until: math.MaxInt64,
	}
	seen := 0
	err := topic.walk("c", queue.DeadMessages, 0, func(s Seen) error {
		if seen++; seen == 2 {
			revive() // the first of them was visited
			finish()
			m.quiet()
			if err := topic.inPlaceOfTend(func() error { return topic.trim(topic.cut(topic.low(), Policy{}, false)) }); err != nil {
				t.Fatal(err)
			}
			if topic.logs.main.Start() < walkedDead {
				t.Fatalf("the log still begins at %d", topic.logs.main.Start())
			}
		}
		return k.visit(s)
	})
	if err == nil {
		err = k.publish()
	}
	// What had been read when it was revived is copied, too.
	if least := walkedDead - walkedDead/3; err != nil || k.done.Unreadable > 0 || k.done.Count < least || k.done.Count == walkedDead {
		t.Errorf("%+v, %v; at least %d were dead all the time", k.done, err, least)
	}
	if left := topic.dead("c"); left != walkedDead-walkedDead/3 {
		t.Errorf("%d are dead", left)
	}
}

func (t *Topic) dead(channel string) (n int) {
	t.View(func(core *queue.Topic) { n = core.Channel(channel).Dead() })
	return n
}

// TestWalkReadsAFew has no more bodies in memory than it says, wherever they come
// from.
func TestWalkReadsAFew(t *testing.T) {
	for _, level := range []Level{Memory, Disk} {
		t.Run(level.String(), func(t *testing.T) {
			m := boot(t, level, nil)
			topic, _, _ := deadAhead(t, m)
			w := walk{topic: topic, channel: "c", state: queue.DeadMessages}
			const most = walkBytes + walkedSize + 100
			steps := 0
			for count := 0; count < walkedDead; steps++ {
				found, err := w.look()
				if err != nil || len(found) == 0 {
					t.Fatalf("after %d: %v", count, err)
				}
				size := 0
				for _, s := range found {
					size += len(s.Frame)
				}
				some, err := topic.load(found)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range some {
					size += len(s.Body)
					w.after = s.ID
				}
				if len(some) == 0 || size > 2*most {
					t.Errorf("%d bytes of %d messages at a time, want no more than %d", size, len(some), most)
				}
				count += len(some)
			}
			if steps < 3 {
				t.Errorf("it took %d steps", steps)
			}
		})
	}
}

// TestWalkOfADeletedTopic is told so, and not of files.
func TestWalkOfADeletedTopic(t *testing.T) {
	m := boot(t, Disk, nil)
	topic, _, _ := deadAhead(t, m)
	seen := 0
	err := topic.walk("c", queue.DeadMessages, 0, func(Seen) error {
		if seen++; seen == 1 {
			if err := m.DeleteTopic("t"); err != nil {
				t.Fatal(err)
			}
		}
		return nil
	})
	if seen == walkedDead {
		t.Error("all were visited")
	}
	mustFail(t, err, ErrGone)
	_, err = topic.Copy(t.Context(), Copying{Channel: "c", To: "to", All: true, State: queue.DeadMessages, Limit: 10, Within: time.Minute})
	if err == nil {
		t.Error("it can still be copied")
	}
}
