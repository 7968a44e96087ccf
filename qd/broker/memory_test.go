package broker

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

// TestMemoryLimit publishes far more than the memory limit to very many
// topics. What is in use may exceed the limit by a small block that each topic
// is writing to and one on its way to disk, and not much else; and when the
// topics are quiet for a while, it must not exceed it at all. Nor may the
// process run out of files.
func TestMemoryLimit(t *testing.T) {
	topics, messages := 3000, 20
	if testing.Short() || raceEnabled {
		topics = 1200
	}
	const limit, size = 8 << 20, 1000
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), func(s *Settings) { s.MemoryBytes = limit })
		var all []*Topic
		for i := range topics {
			all = append(all, r.topic(fmt.Sprint("t", i)))
			if err := all[i].CreateChannel("c"); err != nil {
				t.Fatal(err)
			}
		}
		most := int64(0)
		var wg sync.WaitGroup
		for i := range 4 { // publishers
			wg.Go(func() {
				for n := range messages {
					for j := i; j < topics; j += 4 {
						publish(t, all[j], n, n+1, size)
						if i == 0 {
							most = max(most, r.memory.used.Load())
						}
					}
				}
			})
		}
		wg.Wait()
		if allowed := int64(limit*5/4 + topics*2*16<<10); most > allowed {
			t.Errorf("up to %d MB were in use; the limit is %d MB, with two blocks for each topic %d MB", most>>20, limit>>20, allowed>>20)
		}
		if n := openFiles(t, r.spill.Dir); n > 4*cap(r.disks) {
			t.Errorf("%d files are open", n)
		}
		time.Sleep(3 * idleAfter)
		synctest.Wait()
		if used := r.memory.used.Load(); used > limit {
			t.Errorf("%d MB are in use when nothing happens; the limit is %d MB", used>>20, limit>>20)
		}
		for j := 0; j < topics; j += 97 {
			c := subscribe(t, all[j], "c", 2500)
			inOrder(t, c.consume(messages), 0)
			c.close()
		}
	})
}

// TestNoMemory refuses deferred messages when memory is short, and takes them
// again when it is not.
func TestNoMemory(t *testing.T) {
	r := start(t, t.TempDir(), func(s *Settings) { s.MemoryBytes = 100_000 })
	topic := r.topic("t")
	var err error
	n := 0
	for ; n < 1000 && err == nil; n++ {
		err = topic.Defer(body(n, 1000), time.Hour)
	}
	mustFail(t, err, queue.ErrNoMemory)
	if n < 75 || n > 95 { // each takes about 240 bytes more than its body
		t.Errorf("%d messages of 1 kB were taken", n-1)
	}
	publish(t, topic, 0, 100, 1000) // others are spilled
	if err := topic.Empty(); err != nil {
		t.Fatal(err)
	}
	if err := topic.Defer(body(n, 1000), time.Hour); err != nil {
		t.Errorf("when there is memory again: %v", err)
	}
}

// TestKeeper lets topics have many short deadlines before a long one. All are
// kept to, and the clock does not fill with calls.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const topics = 5
		r := start(t, t.TempDir(), nil)
		var cs []*client
		for i := range topics {
			topic := r.topic(fmt.Sprint("t", i))
			cs = append(cs, subscribe(t, topic, "c", 10))
			if err := topic.Defer(body(0, 1), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for i, c := range cs {
			wg.Go(func() {
				for n := range 500 {
					at := time.Now().Add(time.Duration(1+n*(i+3)%11) * time.Millisecond)
					if err := c.topic.Defer(body(n, 1), time.Until(at)); err != nil {
						t.Error(err)
					}
					c.receiveAt(at, n)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if n := len(r.keeper.calls); n > topics {
			t.Errorf("%d topics have %d calls", topics, n)
		}
		for i, c := range cs {
			c.close()
			if err := r.DeleteTopic(fmt.Sprint("t", i)); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(r.keeper.calls); n > 0 {
			t.Errorf("deleted topics have %d calls", n)
		}
	})
}
