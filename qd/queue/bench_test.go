package queue

import (
	"fmt"
	"testing"
)

// BenchmarkBatch publishes, delivers and finishes batches of 200 messages of
// 200 bytes; ns/op and allocs/op are for a batch.
func BenchmarkBatch(b *testing.B) {
	w := newWorld(b, "t", 1<<30, 1)
	c := w.topic.AddChannel("c", 0)
	k := c.Subscribe(nil, 1e9)
	k.SetReady(2500)
	bodies := make([][]byte, 200)
	for i := range bodies {
		bodies[i] = make([]byte, 200)
	}
	var run Run
	ids := make([]uint64, 0, len(bodies))
	failed := func(int, error) { b.Fatal("a message is not in flight") }
	b.ReportAllocs()
	b.SetBytes(200 * 200)
	for now := range int64(b.N) {
		w.topic.Publish(bodies, now)
		for c.Next(k, &run, 1<<16, now) {
			ids = ids[:0]
			id := idOf(run.Frames)
			for i := range uint64(run.N) {
				ids = append(ids, id+i)
			}
			c.Finish(k, ids, now, failed)
		}
		w.topic.Woken()
	}
}

// BenchmarkSampled is BenchmarkBatch for a consumer that takes a part only.
func BenchmarkSampled(b *testing.B) {
	for _, rate := range []int32{1, 50, 99} {
		b.Run(fmt.Sprint(rate), func(b *testing.B) {
			w := newWorld(b, "t", 1<<30, 1)
			s := newSampler(w.topic.AddChannel("c", 0), rate, 2500)
			bodies := make([][]byte, 200)
			for i := range bodies {
				bodies[i] = make([]byte, 200)
			}
			b.ReportAllocs()
			for now := range int64(b.N) {
				w.topic.Publish(bodies, now)
				for s.c.Next(s.k, &s.run, 1<<16, now) {
					for _, a := range s.run.Again {
						s.ids = append(s.ids, idOf(a.frame))
					}
					s.c.Finish(s.k, s.ids, now, func(int, error) { b.Fatal("a message is not in flight") })
					s.ids = s.ids[:0]
				}
				w.topic.Woken()
			}
		})
	}
}
