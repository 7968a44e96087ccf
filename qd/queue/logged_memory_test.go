package queue

import (
	"runtime"
	"testing"
)

// TestMemoryIsGivenUp delivers what is in memory, or drops it. Nothing is kept
// there then, though nothing else happens.
func TestMemoryIsGivenUp(t *testing.T) {
	tests := map[string]func(w *logWorld){
		"delivered": func(w *logWorld) {
			var run Run
			for _, name := range []string{"a", "b"} {
				c := w.topic.OpenChannelAt(name, 0, 1)
				defer func() {
					k := subscribe(c, 1000)
					for c.Next(k, &run, 1<<20, 1) {
						finishAll(w.t, c, k)
					}
				}()
			}
		},
		"emptied": func(w *logWorld) { w.topic.Empty() },
		"removed": func(w *logWorld) { w.cut(130) },
		"tight": func(w *logWorld) {
			w.store.tight = true
			w.topic.HasWork()
		},
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			w := newLogWorld(t, 1000, 1)
			for range 3 {
				w.block(10)
			}
			if w.store.blocks != 3 {
				t.Fatalf("%d blocks are in memory", w.store.blocks)
			}
			if do(w); w.store.blocks != 0 {
				t.Errorf("%d blocks are still held", w.store.blocks)
			}
			w.audit()
		})
	}
}

// TestDropOldestAtHole bounds what waits, of which a part in the middle was
// emptied: as many messages stay as may.
func TestDropOldestAtHole(t *testing.T) {
	for _, most := range []int{2, 3, 5, 6, 7, 20} {
		w := newLogWorld(t, most, 1)
		c, e := w.topic.AddChannel("c", 1), w.topic.AddChannel("e#ephemeral", 1)
		w.block(4)
		w.topic.Pause(Pause{})
		w.block(10)
		w.topic.Empty()
		w.topic.Unpause(1)
		w.block(3)
		w.topic.DropOldest(most)
		w.audit()
		if want := min(most, 7); c.Depth() != want || e.Depth() != want || c.Counts().Dropped != uint64(7-want) {
			t.Errorf("of 7 messages, %d and %d stay, and %d may", c.Depth(), e.Depth(), most)
		}
	}
}

// TestMemoryOfDeferred has a million deferred messages, which must take less
// than 60 bytes each.
func TestMemoryOfDeferred(t *testing.T) {
	const n = 1_000_000
	if per := memoryOf(t, n); per > 60 || per < 32 {
		t.Errorf("%.1f bytes for each of %d deferred messages", per, n)
	}
}

// BenchmarkDeferred measures the memory that ten million deferred messages take.
func BenchmarkDeferred(b *testing.B) {
	const n = 10_000_000
	for b.Loop() {
		b.ReportMetric(memoryOf(b, n), "B/message")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/message")
}

// memoryOf is how many bytes each of n deferred messages takes, when what is
// due has been written down.
func memoryOf(t testing.TB, n int) float64 {
	w := newLogWorld(t, 0, 1)
	c := w.topic.AddChannel("c", 1)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var p Progress
	for i := range n {
		w.topic.Deferred(uint64(i+1), Side|uint64(i), 100, int64(1000+i*7919%n), 1)
		if i%1000 == 0 {
			c.Progress(&p)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if c.Deferred() != n {
		t.Fatalf("%d messages are deferred", c.Deferred())
	}
	return float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
}
