package millrace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// batches is a BatchHandler that keeps what it was given, as text.
type batches struct {
	mu   sync.Mutex
	list [][]string
}

func (b *batches) HandleBatch(_ context.Context, batch []*Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var bodies []string
	for _, m := range batch {
		bodies = append(bodies, string(m.Body))
	}
	b.list = append(b.list, bodies)
	return nil
}

func (b *batches) bodies() []string { return slices.Concat(b.list...) }

func (b *batches) sizes() (sizes []int) {
	for _, bodies := range b.list {
		sizes = append(sizes, len(bodies))
	}
	return sizes
}

func TestBatchHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		bodies := numbered(5000)
		b.put("t", bodies...)
		var got batches
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, BatchHandler: &got, BatchSize: 70})
		synctest.Wait()
		want(t, "handled", got.bodies(), bodies)
		want(t, "finished", b.finishedBodies(), bodies)
		want(t, "largest batch", slices.Max(got.sizes()), 70)
		want(t, "stats", r.Stats(), Stats{Connections: 1, Received: 5000, Finished: 5000})
		want(t, "most in flight", b.maxOut, 200)
	})
}

// TestBatchAnswers has a handler answer some messages itself, spoil the slice that
// it was given, and return each kind of result for the others.
func TestBatchAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		result             error
		panics             bool
		finished, requeued []string
		stats              Stats
	}{
		"nil":       {nil, false, []string{"b", "a", "d"}, []string{"c 2000"}, Stats{Connections: 1, Received: 4, Finished: 3, Requeued: 1}},
		"an error":  {errors.New("no"), false, []string{"b"}, []string{"c 2000", "a 5000", "d 5000"}, Stats{Connections: 1, Received: 4, Finished: 1, Requeued: 3}},
		"a panic":   {nil, true, []string{"b"}, []string{"c 2000", "a 5000", "d 5000"}, Stats{Connections: 1, Received: 4, Finished: 1, Requeued: 3}},
		"not yet":   {ErrAnswerLater, false, []string{"b"}, []string{"c 2000"}, Stats{Connections: 1, InFlight: 2, Received: 4, Finished: 1, Requeued: 1}},
		"later, so": {fmt.Errorf("so: %w", ErrAnswerLater), false, []string{"b"}, []string{"c 2000"}, Stats{Connections: 1, InFlight: 2, Received: 4, Finished: 1, Requeued: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				b.put("t", "a", "b", "c", "d")
				r := startReader(t, n, ReaderConfig{
					Addresses: []string{"q:1"}, ShutdownTimeout: time.Second,
					BatchHandler: BatchHandlerFunc(func(_ context.Context, batch []*Message) error {
						want(t, "messages", len(batch), 4)
						batch[1].Finish()
						batch[2].Requeue(2 * time.Second)
						batch[2].Finish()
						clear(batch)
						if c.panics {
							panic("oh")
						}
						return c.result
					}),
				})
				synctest.Wait()
				want(t, "finished", b.finishedBodies(), c.finished)
				want(t, "requeued", b.requeued, c.requeued)
				want(t, "stats", r.Stats(), c.stats)
				r.stop() // before anything comes again
			})
		})
	}
}

// checked is a message's body that tells whether it was changed.
func checked(i int) string {
	return strings.Repeat(fmt.Sprintf("%06d.", i), 1+i*i%60*(1+i%7))
}

func intact(t *testing.T, what string, body []byte) {
	t.Helper()
	var i int
	if _, err := fmt.Sscanf(string(body[:min(len(body), 6)]), "%d", &i); err != nil || string(body) != checked(i) {
		t.Errorf("%s was overwritten: %.60q", what, body)
	}
}

// TestBatchMemoryIsUsedAgain lets handlers take their time at their messages, while
// others' are received into memory that was used before. Under the race detector,
// what is free for use is overwritten at once.
func TestBatchMemoryIsUsedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		const total = 20000
		var brokers []*broker
		var bodies []string
		for i := range total {
			bodies = append(bodies, checked(i))
		}
		bodies[777] = checked(777) + strings.Repeat(checked(777), 300) // longer than what is read into
		for i := range 3 {
			b := startBroker(t, n.listen(fmt.Sprintf("q:%d", i)))
			b.put("t", bodies[i*total/3:(i+1)*total/3]...)
			brokers = append(brokers, b)
		}
		var mu sync.Mutex
		clones, kept := map[string]*Message{}, []*Message(nil)
		var held []*byte // so that only the Reader can use their memory again
		blocks := map[uintptr]bool{}
		calls := 0
		startReader(t, n, ReaderConfig{
			Addresses: []string{"q:0", "q:1", "q:2"}, Concurrency: 4, BatchSize: 30, RequeueDelay: -1, MaxInFlight: 1000,
			BatchHandler: BatchHandlerFunc(func(_ context.Context, batch []*Message) error {
				mu.Lock()
				calls++
				call := calls
				for i, m := range batch {
					at := unsafe.SliceData(m.Body)
					held = append(held, at)
					blocks[uintptr(unsafe.Pointer(at))/4096] = true
					if (call+i)%10 == 0 {
						clones[string(m.Body)] = m.Clone()
					}
				}
				mu.Unlock()
				time.Sleep(time.Duration(call%5) * time.Millisecond)
				for _, m := range batch {
					if string(m.Body) != bodies[777] {
						intact(t, "a handler's", m.Body)
					}
				}
				switch {
				case call%50 == 1:
					mu.Lock()
					defer mu.Unlock()
					kept = append(kept, batch...)
					return ErrAnswerLater
				case call%50 == 2:
					return errors.New("again")
				case call%50 == 3:
					panic("again")
				}
				return nil
			}),
		})
		pass(time.Minute)
		if all := len(strings.Join(bodies, "")) / 4096; len(blocks) > all*9/10 {
			t.Errorf("%d blocks of memory were used for %d: hardly any was used again", len(blocks), all)
		}
		runtime.KeepAlive(held)
		if len(clones) < total/20 {
			t.Errorf("only %d clones", len(clones))
		}
		for body, m := range clones {
			want(t, "a clone", string(m.Body), body)
			m.Finish() // to no avail
		}
		for _, m := range kept {
			if string(m.Body) != bodies[777] {
				intact(t, "a message that was kept", m.Body)
			}
			m.Finish()
		}
		synctest.Wait()
		var finished []string
		for _, b := range brokers {
			want(t, "answers that came too late", b.late, 0)
			finished = append(finished, b.finishedBodies()...)
		}
		slices.Sort(finished)
		slices.Sort(bodies)
		want(t, "every one is finished once", slices.Equal(finished, bodies), true)
	})
}

// TestBatchesOfManyDaemons: answers go to whom each message came from.
func TestBatchesOfManyDaemons(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		brokers := map[string]*broker{}
		for i := range 5 {
			address := fmt.Sprintf("q:%d", i)
			brokers[address] = startBroker(t, n.listen(address))
		}
		sizes := 0
		startReader(t, n, ReaderConfig{
			Addresses: slices.Collect(maps.Keys(brokers)), BatchWait: time.Second,
			BatchHandler: BatchHandlerFunc(func(_ context.Context, batch []*Message) error {
				sizes = len(batch)
				for _, m := range batch {
					want(t, "body", string(m.Body), m.Address)
				}
				return nil
			}),
		})
		synctest.Wait()
		for address, b := range brokers {
			b.put("t", address, address)
		}
		pass(2 * time.Second)
		want(t, "messages of the batch", sizes, 10)
		for address, b := range brokers {
			want(t, "finished", b.finishedBodies(), []string{address, address})
		}
	})
}

func TestBatchWait(t *testing.T) {
	for name, c := range map[string]struct {
		config ReaderConfig
		puts   int           // one message every 100 ms
		want   []int         // sizes of batches
		first  time.Duration // when it was handed over, after the first message
	}{
		"no wait":                  {ReaderConfig{}, 5, []int{1, 1, 1, 1, 1}, 0},
		"until it is full":         {ReaderConfig{BatchWait: time.Minute, BatchSize: 3}, 6, []int{3, 3}, 200 * time.Millisecond},
		"until the credit is gone": {ReaderConfig{BatchWait: time.Minute, MaxInFlight: 4}, 8, []int{4, 4}, 300 * time.Millisecond},
		"until it has waited":      {ReaderConfig{BatchWait: 450 * time.Millisecond}, 8, []int{5, 3}, 450 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				var got batches
				var first time.Time
				c.config.Addresses = []string{"q:1"}
				c.config.BatchHandler = BatchHandlerFunc(func(ctx context.Context, batch []*Message) error {
					if first.IsZero() {
						first = time.Now()
					}
					return got.HandleBatch(ctx, batch)
				})
				startReader(t, n, c.config)
				pass(time.Second)
				began := time.Now()
				for i := range c.puts {
					b.put("t", fmt.Sprint(i))
					pass(100 * time.Millisecond)
				}
				pass(10 * time.Second)
				want(t, "sizes", got.sizes(), c.want)
				want(t, "the first one's time", first.Sub(began), c.first)
			})
		})
	}
}

// TestBatchWaitBesideAnIdleDaemon: the little credit of a daemon that has nothing does
// not hold back the batches of one that has sent all that it may.
func TestBatchWaitBesideAnIdleDaemon(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		busy := startBroker(t, n.listen("q:1"))
		startBroker(t, n.listen("q:2"))
		var got batches
		startReader(t, n, ReaderConfig{Addresses: []string{"q:1", "q:2"}, BatchHandler: &got, MaxInFlight: 1000, BatchSize: 1000, BatchWait: 20 * time.Second})
		pass(time.Second)
		busy.put("t", numbered(20_000)...)
		pass(time.Second)
		if n := len(got.bodies()); n < 19_000 {
			t.Errorf("%d of 20000 messages were handled in a second, in batches of %v", n, got.sizes())
		}
	})
}

// TestBatchWaitBesideManyIdleDaemons: nor does the credit of many, though it is a good part
// of all.
func TestBatchWaitBesideManyIdleDaemons(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		busy := startBroker(t, n.listen("q:0"))
		addresses := []string{"q:0"}
		for i := range 30 {
			addresses = append(addresses, fmt.Sprint("q:", i+1))
			startBroker(t, n.listen(addresses[i+1]))
		}
		var got batches
		startReader(t, n, ReaderConfig{Addresses: addresses, BatchHandler: &got, MaxInFlight: 100, BatchSize: 100, BatchWait: 20 * time.Second})
		pass(5 * time.Second)
		busy.put("t", numbered(2000)...)
		pass(time.Second)
		if n := len(got.bodies()); n < 1900 {
			t.Errorf("%d of 2000 messages were handled in a second, in batches of %v", n, got.sizes())
		}
	})
}

// TestBatchWaitLongerThanTheTimeout: what waits for company must not be taken back.
func TestBatchWaitLongerThanTheTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		b.msgTimeout = 10 * time.Second
		b.start(n.listen("q:1"))
		t.Cleanup(b.stop)
		var got batches
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, BatchHandler: &got, BatchWait: time.Minute})
		b.put("t", "a")
		pass(6 * time.Second)
		want(t, "handled", got.bodies(), []string{"a"})
		want(t, "expired", r.Stats().Expired, uint64(0))
	})
}

// TestBatchWaitEndsWithTheReader: messages that wait for company go back.
func TestBatchWaitEndsWithTheReader(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", "a", "b")
		var got batches
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, BatchHandler: &got, BatchWait: time.Minute})
		pass(time.Second)
		began := time.Now()
		r.stop()
		want(t, "took", time.Since(began), time.Duration(0))
		want(t, "handled", len(got.list), 0)
		want(t, "given back", b.requeued, []string{"a 0", "b 0"})
	})
}

// TestBatchesWhenTheDaemonIsSlow has messages wait until the daemon takes them back.
func TestBatchesThatExpire(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		b.msgTimeout = time.Second
		b.start(n.listen("q:1"))
		t.Cleanup(b.stop)
		b.put("t", numbered(200)...)
		var got batches
		slow := true
		r := startReader(t, n, ReaderConfig{
			Addresses: []string{"q:1"}, BatchSize: 10, TouchFor: -1,
			BatchHandler: BatchHandlerFunc(func(ctx context.Context, batch []*Message) error {
				if slow {
					slow = false
					time.Sleep(10*time.Second + time.Millisecond)
				}
				return got.HandleBatch(ctx, batch)
			}),
		})
		pass(time.Minute)
		distinct := map[string]bool{}
		for _, body := range b.finishedBodies() {
			distinct[body] = true
		}
		want(t, "finished", len(distinct), 200)
		want(t, "handled", len(got.bodies()), 210) // the first batch twice
		if s := r.Stats(); s.Expired < 1000 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}
