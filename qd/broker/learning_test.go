package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

// partly has new topics created while lookupds have not all answered.
func partly(s *Settings) {
	s.Channels = func(context.Context, string) ([]string, []string) { return nil, []string{"l"} }
}

// learn checks which channels are created.
func learn(t *testing.T, topic *Topic, names []string, want ...string) {
	t.Helper()
	got, err := topic.Learn(names)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("of %q, %q are created, want %q: %v", names, got, want, err)
	}
}

// TestLateChannels learns of channels after messages have come and gone: they get
// all of them while the topic is young, then what is left, and at level memory what
// comes.
func TestLateChannels(t *testing.T) {
	const messages = 2000 // several segments
	for _, c := range []struct {
		level Level
		after time.Duration
		want  func(n int) bool
	}{
		{Disk, time.Minute - time.Second, func(n int) bool { return n == messages }},
		{Fsync, time.Minute - time.Second, func(n int) bool { return n == messages }},
		{Disk, time.Minute + time.Second, func(n int) bool { return n < messages/2 }},
		{Memory, time.Second, func(n int) bool { return n == 0 }},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := boot(t, c.level, partly)
			topic := m.topic("t")
			first := subscribe(t, topic, "first", 2500)
			for at := 0; at < messages; at += 100 {
				publish(t, topic, at, at+100, 200)
				first.consume(100)
			}
			time.Sleep(c.after)
			learn(t, topic, []string{"late", "first", "later"}, "late", "later")
			for _, name := range []string{"late", "later"} {
				n := 0
				late := subscribe(t, topic, name, 2500)
				for {
					some := late.poll()
					if len(some) == 0 {
						synctest.Wait() // what is not in memory is read ahead
						if some = late.poll(); len(some) == 0 {
							break
						}
					}
					inOrder(t, some, some[0].number)
					late.finish(some)
					n += len(some)
				}
				if !c.want(n) {
					t.Errorf("level %s, after %s: %s gets %d of %d messages", c.level, c.after, name, n, messages)
				}
				late.close()
			}
			if got := figures(topic, "first"); got != "depth 0, in flight 0, deferred 0" {
				t.Errorf("the first channel has %s", got)
			}
			first.close()
		})
	}
}

// TestLearnedFreesTheLog keeps no longer than it must what nobody needs.
func TestLearnedFreesTheLog(t *testing.T) {
	for _, all := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := boot(t, Disk, partly)
			topic := m.topic("t")
			c := subscribe(t, topic, "c", 2500)
			publish(t, topic, 0, 2000, 200)
			c.consume(2000)
			time.Sleep(30 * time.Second)
			if start := topic.logs.main.Start(); start != 0 {
				t.Errorf("the log begins at %d while it may still be needed", start)
			}
			if all {
				topic.Heard("l")
				if n := len(m.Learning()); n != 0 {
					t.Errorf("%d topics learn", n)
				}
			} else {
				time.Sleep(31 * time.Second)
			}
			time.Sleep(15 * time.Second)
			if start := topic.logs.main.Start(); start == 0 {
				t.Errorf("all known %v: the log still has everything", all)
			}
			c.close()
		})
	}
}

// TestLateChannelsAtKill kills the daemon right after a channel was learned of: it
// has all that it would have had, deferred messages too, which other channels have
// had already or are yet to get.
func TestLateChannelsAtKill(t *testing.T) {
	m := boot(t, Disk, partly)
	topic := m.topic("t")
	if err := topic.Defer(body(0, 10), 0); err != nil {
		t.Fatal(err)
	}
	first := subscribe(t, topic, "first", 10)
	first.consume(1)
	first.close()
	if err := topic.DeleteChannel("first"); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 3; i++ {
		if err := topic.Defer(body(i, 10), time.Duration(i-1)*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, topic, 3, 5, 10)
	learn(t, topic, []string{"late", "first", "later"}, "late", "later")
	for _, when := range []string{"before", "after"} {
		for _, name := range []string{"late", "later"} {
			if got := figures(topic, name); got != "depth 4, in flight 0, deferred 1" && got != "depth 2, in flight 0, deferred 3" {
				t.Errorf("%s the kill, %s has %s", when, name, got)
			}
		}
		if when == "before" {
			m.kill()
			topic = m.topic("t")
		}
	}
	for _, name := range []string{"late", "later"} {
		c := subscribe(t, topic, name, 10)
		var numbers []int
		for _, g := range c.consume(4) {
			numbers = append(numbers, g.number)
		}
		slices.Sort(numbers)
		if !slices.Equal(numbers, []int{0, 1, 3, 4}) {
			t.Errorf("%s gets %v", name, numbers)
		}
		c.close()
	}
	if n := len(m.Learning()); n != 0 {
		t.Errorf("%d topics learn after a restart", n)
	}
}

// TestLearnedNotAgain does not create what was deleted, nor what was emptied, nor
// anything in a topic that is gone.
func TestLearnedNotAgain(t *testing.T) {
	for _, level := range []Level{Disk, Memory} {
		m := boot(t, level, partly)
		topic := m.topic("t")
		mustFail(t, topic.DeleteChannel("elsewhere"), ErrNoChannel)
		must(t, topic.CreateChannel("deleted"))
		must(t, topic.DeleteChannel("deleted"))
		publish(t, topic, 0, 3, 10)
		must(t, topic.Empty())
		publish(t, topic, 3, 5, 10)
		learn(t, topic, []string{"deleted", "elsewhere", "a"}, "a")
		if got := figures(topic, "a"); got != "depth 2, in flight 0, deferred 0" {
			t.Errorf("it has %s, want what came since the topic was emptied", got)
		}
		must(t, topic.DeleteChannel("a"))
		learn(t, topic, []string{"a"})
		must(t, m.DeleteTopic("t"))
		if n := len(m.Learning()); n != 0 {
			t.Errorf("%d topics learn", n)
		}
		_, err := topic.Learn([]string{"b"})
		mustFail(t, err, ErrGone)
		topic.Heard("l")

		// Who deletes channels without end cannot take memory without end: the topic
		// learns nothing more then, rather than what was deleted.
		topic = m.topic("t")
		for i := range maxForgotten + 1 {
			mustFail(t, topic.DeleteChannel(fmt.Sprint("c", i)), ErrNoChannel)
		}
		learn(t, topic, []string{"c0", "new"})
	}
}

// TestLearningWhilePublishing learns of channels while messages, deferred ones
// too, are published together, and segments are filled that nobody else needs: each
// channel gets each message once.
func TestLearningWhilePublishing(t *testing.T) {
	const publishers, rounds = 4, 50
	for _, level := range []Level{Disk, Fsync} {
		m := boot(t, level, partly)
		topic := m.topic("t")
		first := subscribe(t, topic, "first", 2500)
		var published sync.WaitGroup
		for p := range publishers {
			published.Go(func() {
				for i := range rounds {
					n := 2 * (p*rounds + i)
					if err := errors.Join(topic.Publish([][]byte{body(n, 2000)}), topic.Defer(body(n+1, 10), 0)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		names := []string{"first"}
		for i := range 5 {
			name := fmt.Sprint("c", i)
			names = append(names, name)
			learn(t, topic, names, name)
			first.finish(first.poll())
		}
		published.Wait()
		first.close()
		for _, name := range names[1:] {
			c := subscribe(t, topic, name, 2500)
			var numbers []int
			for _, g := range c.consume(2 * publishers * rounds) {
				numbers = append(numbers, g.number)
			}
			slices.Sort(numbers)
			for i, n := range numbers {
				if i != n {
					t.Fatalf("level %s: %s gets %v", level, name, numbers)
				}
			}
			c.close()
		}
	}
}

// TestAFullDiskHoldsNothing lets go, on a disk that is full, of what is kept for
// channels that may still come: publishes matter more.
func TestAFullDiskHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const floor = 1 << 20
		m := boot(t, Disk, func(s *Settings) { partly(s); s.MinFree = floor })
		topic := m.topic("t")
		c := subscribe(t, topic, "c", 2500)
		publish(t, topic, 0, 2000, 200)
		c.consume(2000)
		time.Sleep(20 * time.Second)
		if start := topic.logs.main.Start(); start != 0 {
			t.Fatalf("the log begins at %d while it may still be needed", start)
		}
		used := 1<<30 - free(t, m)
		m.disk.SetCapacity(used + floor - 1)
		time.Sleep(5 * time.Second)
		if start := topic.logs.main.Start(); start == 0 {
			t.Error("the log still has everything")
		}
		publish(t, topic, 2000, 2001, 200)
		learn(t, topic, []string{"late"}, "late")
		late := subscribe(t, topic, "late", 2500)
		if got := late.consume(1); got[0].number == 0 {
			t.Error("it begins with a message that should have gone")
		}
		late.close()
		c.close()
	})
}

// free is what is left of a disk of 1 GiB.
func free(t *testing.T, m *machine) int64 {
	t.Helper()
	m.disk.SetCapacity(1 << 30)
	n, _, err := m.disk.Space(m.path)
	must(t, err)
	return int64(n)
}

// TestLearnedDespiteFaults learns of a channel while the first operation on the
// disk fails, then the second, and so on: whoever tries again has it, and it is there
// after a crash.
func TestLearnedDespiteFaults(t *testing.T) {
	for _, reads := range []bool{false, true} {
		for n := 0; ; n++ {
			m := boot(t, Fsync, partly)
			topic := m.topic("t")
			must(t, topic.Defer(body(0, 10), time.Hour))
			publish(t, topic, 1, 3, 10)
			if m.disk.FailAt(n, nil); reads {
				m.disk.Heal()
				m.disk.FailReadAt(n, nil)
			}
			_, err := topic.Learn([]string{"late"})
			met := m.disk.Failed()
			m.disk.Heal()
			if err != nil {
				_, err = topic.Learn([]string{"late"})
			}
			must(t, err)
			m.restart(m.disk.Crash(disktest.None, nil))
			if got := figures(m.topic("t"), "late"); got != "depth 2, in flight 0, deferred 1" {
				t.Errorf("fault %d: it has %s", n, got)
			}
			if !met {
				break
			}
		}
	}
}

// TestLearnedWithinBounds gives a channel no more than the topic may keep.
func TestLearnedWithinBounds(t *testing.T) {
	m := boot(t, Disk, partly)
	topic, err := m.Create(t.Context(), "t", Policy{MaxMessages: 10, DropOldest: true})
	must(t, err)
	c := subscribe(t, topic, "c", 2500)
	publish(t, topic, 0, 30, 10)
	c.close()
	learn(t, topic, []string{"late"}, "late")
	if got := figures(topic, "late"); got != "depth 10, in flight 0, deferred 0" {
		t.Errorf("it has %s", got)
	}
}
