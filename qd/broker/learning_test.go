package broker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// partly has new topics created while lookupds have not all answered.
func partly(s *Settings) {
	s.Channels = func(context.Context, string) ([]string, bool) { return nil, false }
}

// bubble runs test under a fake clock. Channels in the pool of intents are of one
// bubble, or of none.
func bubble(t *testing.T, test func(t *testing.T)) {
	reset := func() { intents = sync.Pool{New: intents.New} }
	defer reset()
	synctest.Test(t, func(t *testing.T) {
		reset()
		test(t)
	})
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
		bubble(t, func(t *testing.T) {
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
		bubble(t, func(t *testing.T) {
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
				topic.Learned()
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
		topic.Learned()

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
// too, are published: each channel gets each message once.
func TestLearningWhilePublishing(t *testing.T) {
	const rounds = 50
	m := boot(t, Disk, partly)
	topic := m.topic("t")
	published := make(chan error, 1)
	go func() {
		for i := range rounds {
			if err := topic.Publish([][]byte{body(2*i, 10)}); err != nil {
				published <- err
				return
			}
			if err := topic.Defer(body(2*i+1, 10), 0); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	var names []string
	for i := range 5 {
		name := fmt.Sprint("c", i)
		names = append(names, name)
		learn(t, topic, names, name)
	}
	must(t, <-published)
	for _, name := range names {
		c := subscribe(t, topic, name, 2500)
		var numbers []int
		for _, g := range c.consume(2 * rounds) {
			numbers = append(numbers, g.number)
		}
		slices.Sort(numbers)
		for i, n := range numbers {
			if i != n {
				t.Fatalf("%s gets %v", name, numbers)
			}
		}
		c.close()
	}
}
