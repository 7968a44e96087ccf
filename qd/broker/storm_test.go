package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

// storm is everybody doing everything at once.
type storm struct {
	*running
	until     time.Time
	published atomic.Int64 // messages of the topic that nobody empties
	mu        sync.Mutex   // guards finished
	finished  map[string]map[int]bool
}

func (s *storm) goes() bool { return time.Now().Before(s.until) }

// TestStorm has publishers, consumers and operators work on the same few names
// for a while. What nobody emptied or deleted must come out, and the books of
// everything must balance.
func TestStorm(t *testing.T) {
	for _, memory := range []int{0, 2000} {
		t.Run(fmt.Sprintf("memory for %d", memory), func(t *testing.T) {
			s := &storm{until: time.Now().Add(1500 * time.Millisecond), finished: map[string]map[int]bool{"a": {}, "b": {}}}
			s.running = start(t, t.TempDir(), func(s *Settings) {
				s.MemoryMessages, s.MemoryBytes, s.MaxMsgTimeout = memory, 20<<20, time.Second
			})
			kept := s.topic("kept")
			for channel := range s.finished {
				if err := kept.CreateChannel(channel); err != nil {
					t.Fatal(err)
				}
			}
			var wg sync.WaitGroup
			for i := range 2 {
				wg.Go(func() { s.publishKept() })
				wg.Go(func() { s.publishWild() })
				wg.Go(func() { s.operate(uint64(i)) })
				for channel := range s.finished {
					wg.Go(func() { s.consumeKept(channel, uint64(i)) })
				}
				wg.Go(func() { s.consumeWild(uint64(i)) })
			}
			wg.Wait()
			s.audit()
			s.settle(kept)
		})
	}
}

// settle takes what is left of the topic that was kept.
func (s *storm) settle(kept *Topic) {
	if err := kept.Unpause(); err != nil {
		s.t.Fatal(err)
	}
	for channel, finished := range s.finished {
		c := subscribe(s.t, kept, channel, 2500)
		for len(finished) < int(s.published.Load()) {
			for _, m := range c.consume(1) {
				finished[m.number] = true
			}
		}
		c.close()
		if got := figures(kept, channel); got != "depth 0, in flight 0, deferred 0" {
			s.t.Errorf("channel %s has %s when all is finished", channel, got)
		}
	}
	s.audit()
}

func (s *storm) publishKept() {
	topic := s.topic("kept")
	for s.goes() {
		var batch [][]byte
		end := int(s.published.Add(50))
		for n := end - 50; n < end; n++ {
			batch = append(batch, body(n, 300))
		}
		if err := topic.Publish(batch); err != nil {
			s.t.Error(err)
			return
		}
	}
}

func (s *storm) publishWild() {
	for n := 0; s.goes(); n++ {
		topic := s.topic("wild")
		err := topic.Publish([][]byte{body(n, n%5000), body(n, 10)})
		if err == nil && n%10 == 0 {
			err = topic.Defer(body(n, 10), time.Duration(n%100)*time.Millisecond)
		}
		if err != nil && !errors.Is(err, ErrGone) && !errors.Is(err, queue.ErrNoMemory) {
			s.t.Error(err)
		}
	}
}

func (s *storm) consumeKept(channel string, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for s.goes() {
		c := subscribe(s.t, s.topic("kept"), channel, 1+rng.IntN(200))
		for range 1 + rng.IntN(200) {
			messages := c.poll()
			if messages == nil {
				c.wait(5 * time.Millisecond)
				continue
			}
			n := len(messages)
			if rng.IntN(10) == 0 {
				n = rng.IntN(n) // the rest comes again when it disconnects
			}
			c.finish(messages[:n])
			s.mu.Lock()
			for _, m := range messages[:n] {
				if s.finished[channel][m.number] {
					s.t.Errorf("channel %s: %d was finished before", channel, m.number)
				}
				s.finished[channel][m.number] = true
			}
			s.mu.Unlock()
			c.SetReady(rng.IntN(200))
		}
		c.close()
	}
}

func (c *client) wait(most time.Duration) {
	select {
	case <-c.Awake():
	case <-time.After(most):
	}
}

// consumeWild consumes channels that come and go.
func (s *storm) consumeWild(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	for s.goes() {
		k, err := s.topic("wild").Subscribe([]string{"a", "b", "c#ephemeral"}[rng.IntN(3)], nil, Membership{Timeout: 20 * time.Millisecond})
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			s.t.Error(err)
			return
		}
		c := &client{Consumer: k, t: s.t}
		for range 100 {
			k.SetReady(rng.IntN(20))
			ok, err := k.Next(&c.run, 1000)
			if errors.Is(err, ErrGone) {
				break
			}
			if !ok {
				c.wait(time.Millisecond)
				continue
			}
			if len(c.run.Frames) > 0 {
				b := queue.NewBlock(nil)
				if err := b.Load(c.run.Frames); err != nil {
					s.t.Errorf("a run of messages is damaged: %v", err)
				}
				ids := []uint64{b.First(), b.First() + uint64(b.Len()) - 1}
				k.Finish(ids[:1], func(int, error) {}) // may have been emptied since
				_ = k.Touch(ids[1])
				_ = k.Requeue(ids[1], time.Duration(rng.IntN(10))*time.Millisecond)
			}
		}
		c.close()
	}
}

// operate does what operators do.
func (s *storm) operate(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	for s.goes() {
		topic, channel := s.topic("wild"), []string{"a", "b", "c#ephemeral", "d"}[rng.IntN(4)]
		// Half of the pauses end by themselves, often while they are made.
		pause := queue.Pause{Until: rng.Int64N(2) * (s.Now() + rng.Int64N(int64(2*time.Millisecond)))}
		var err error
		switch rng.IntN(12) {
		case 0:
			err = s.DeleteTopic("wild")
		case 1:
			err = topic.Empty()
		case 2:
			err = topic.Pause(pause)
		case 3, 4:
			err = topic.Unpause()
		case 5:
			err = topic.EmptyChannel(channel)
		case 6:
			err = topic.PauseChannel(channel, pause)
		case 7:
			err = topic.UnpauseChannel(channel)
		case 8:
			err = topic.DeleteChannel(channel)
		case 9:
			err = topic.CreateChannel(channel)
		case 10:
			err = s.topic("kept").Pause(pause)
		case 11:
			err = s.topic("kept").Unpause()
		}
		if err != nil && !errors.Is(err, ErrGone) && !errors.Is(err, ErrNoTopic) && !errors.Is(err, ErrNoChannel) {
			s.t.Error(err)
		}
		s.audit()
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
	}
}
