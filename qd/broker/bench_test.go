package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// BenchmarkBatch publishes, delivers and finishes batches of 200 messages of
// 200 bytes, with and without going through the disk; ns/op and allocs/op are
// for a batch.
func BenchmarkBatch(b *testing.B) {
	for _, channels := range []int{1, 8} {
		b.Run(fmt.Sprintf("channels=%d", channels), func(b *testing.B) {
			benchmarkBatch(b, channels, 1<<30, 1)
		})
	}
	b.Run("spilled", func(b *testing.B) { benchmarkBatch(b, 1, 10_000, 500) })
}

// benchmarkBatch publishes some batches at a time and then consumes them.
func benchmarkBatch(b *testing.B, channels, memory, together int) {
	r := start(b, b.TempDir(), func(s *Settings) { s.MemoryMessages, s.FileBytes = memory, 100<<20 })
	topic := r.topic("t")
	ks := make([]*client, channels)
	for i := range ks {
		ks[i] = subscribe(b, topic, fmt.Sprint("c", i), 2500)
		ks[i].SetReady(2500)
	}
	bodies := make([][]byte, 200)
	for i := range bodies {
		bodies[i] = make([]byte, 200)
	}
	ids := make([]uint64, 0, 2500)
	failed := func(int, error) { b.Error("a message is not in flight") }
	b.ReportAllocs()
	b.SetBytes(200 * 200)
	b.ResetTimer()
	for left := b.N; left > 0; left -= together {
		n := min(together, left)
		for range n {
			if err := topic.Publish(bodies); err != nil {
				b.Fatal(err)
			}
		}
		for _, c := range ks {
			for finished := 0; finished < n*len(bodies); {
				ok, err := c.Next(&c.run, 64<<10)
				if err != nil {
					b.Fatal(err)
				}
				if !ok {
					<-c.Awake()
					continue
				}
				first, _ := protocol.ParseID(c.run.Frames[protocol.IDOffset:protocol.BodyOffset])
				ids = ids[:0]
				for i := range uint64(c.run.N) {
					ids = append(ids, first+i)
				}
				c.Finish(ids, failed)
				finished += c.run.N
			}
		}
	}
	b.StopTimer()
	for _, c := range ks {
		c.close()
	}
}

// BenchmarkFinish finishes batches of 200 messages that were published together,
// or each at a time of its own; ns/op is for a batch.
func BenchmarkFinish(b *testing.B) {
	for _, quantiles := range [][]float64{nil, {0.99}} {
		for _, together := range []int{200, 1} {
			b.Run(fmt.Sprintf("percentiles=%d/together=%d", len(quantiles), together), func(b *testing.B) {
				r := start(b, b.TempDir(), func(s *Settings) { s.Percentiles, s.PercentileWindow = quantiles, 10*time.Minute })
				topic := r.topic("t")
				c := subscribe(b, topic, "c", 2500)
				defer c.close()
				bodies := make([][]byte, together)
				for i := range bodies {
					bodies[i] = make([]byte, 200)
				}
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					for range 200 / together {
						topic.core.Publish(bodies, r.Now()-int64(rand.IntN(1e9)))
					}
					var ids []uint64
					for len(ids) < 200 {
						if ok, err := c.Next(&c.run, 64<<10); !ok || err != nil {
							b.Fatal(err)
						}
						first, _ := protocol.ParseID(c.run.Frames[protocol.IDOffset:protocol.BodyOffset])
						for i := range uint64(c.run.N) {
							ids = append(ids, first+i)
						}
					}
					b.StartTimer()
					c.Finish(ids, nil)
				}
			})
		}
	}
}

// BenchmarkContended has publishers and consumers of one channel on all
// processors; ns/op is for a batch of 200 messages of 200 bytes.
func BenchmarkContended(b *testing.B) {
	r := start(b, b.TempDir(), nil)
	topic := r.topic("t")
	var wg sync.WaitGroup
	left := make(chan struct{})
	for range runtime.GOMAXPROCS(0) {
		c := subscribe(b, topic, "c", 2500)
		wg.Go(func() {
			defer c.close()
			var ids []uint64
			for {
				ok, _ := c.Next(&c.run, 64<<10)
				if ok {
					first, _ := protocol.ParseID(c.run.Frames[protocol.IDOffset:protocol.BodyOffset])
					ids = ids[:0]
					for i := range uint64(c.run.N) {
						ids = append(ids, first+i)
					}
					c.Finish(ids, func(int, error) {})
					continue
				}
				select {
				case <-c.Awake():
				case <-left:
					return
				}
			}
		})
	}
	bodies := make([][]byte, 200)
	for i := range bodies {
		bodies[i] = make([]byte, 200)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := topic.Publish(bodies); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	close(left)
	wg.Wait()
}

// BenchmarkIdleTopics reports what a topic with a channel takes when nothing
// happens in it: after its creation, and after a message has gone through.
func BenchmarkIdleTopics(b *testing.B) {
	const topics = 2000
	for _, used := range []bool{false, true} {
		b.Run(fmt.Sprintf("used=%v", used), func(b *testing.B) {
			for b.Loop() {
				var before, after runtime.MemStats
				r := start(b, b.TempDir(), nil)
				runtime.GC()
				runtime.ReadMemStats(&before)
				for i := range topics {
					topic, err := r.Topic(context.Background(), fmt.Sprint("t", i))
					if err != nil {
						b.Fatal(err)
					}
					c := subscribe(b, topic, "c", 1)
					if used {
						publish(b, topic, 0, 1, 200)
						c.consume(1)
					}
					c.close()
				}
				if used {
					for _, topic := range r.Topics() { // as time would
						topic.mu.Lock()
						topic.core.Idle()
						topic.unlock()
					}
				}
				time.Sleep(100 * time.Millisecond) // the metadata is written
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/topics, "B/topic")
				b.ReportMetric(float64(int64(after.StackInuse)-int64(before.StackInuse))/topics, "stack-B/topic")
				if err := r.stop(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
