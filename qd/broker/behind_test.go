package broker

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSlowSyncs has a disk that writes at once and takes long for each sync. What
// consumers finish is written down after a few of them at most, however many
// there are to be made.
func TestSlowSyncs(t *testing.T) {
	const slow, channels = 100 * time.Millisecond, 10
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, Disk)
		begun := time.Now()
		var pause atomic.Int64 // of each sync, ns
		var mu sync.Mutex      // guards last and longest
		last, longest := make(map[string]time.Duration), time.Duration(0)
		w.fs = hooked{w.disk, func(op, path string) error {
			if op == "sync" {
				time.Sleep(time.Duration(pause.Load()))
			}
			if op == "write" && strings.Contains(path, "/acks/") {
				mu.Lock()
				defer mu.Unlock()
				path, now := strings.TrimSuffix(path, ".tmp"), time.Since(begun)
				longest = max(longest, now-last[path])
				last[path] = now
			}
			return nil
		}}
		var err error
		w.live, err = launch(t, dir, w.seen(), func(s *Settings) {
			w.settings(s)
			s.SegmentBytes = 1 << 20
		})
		must(t, err)
		must(t, w.create("orders"))
		orders, err := w.topic("orders")
		must(t, err)
		var consumers []*client
		for n := range channels {
			consumers = append(consumers, subscribe(t, orders, string(rune('a'+n)), 1))
		}
		step := func() {
			must(t, w.publish("orders", 1, 10))
			for _, c := range consumers {
				c.consume(1)
			}
			time.Sleep(20 * time.Millisecond)
		}
		for range 50 { // the files are there
			step()
		}
		mu.Lock()
		longest = 0
		mu.Unlock()
		pause.Store(int64(slow))
		for range 1000 {
			step()
		}
		pause.Store(0)
		mu.Lock()
		if most := behindBy + 4*slow; longest > most || len(last) < channels {
			t.Errorf("a channel's file was not written for %s, want %s at most; %d were", longest, most, len(last))
		}
		mu.Unlock()
		for _, c := range consumers {
			c.close()
		}
		must(t, w.stop())
	})
}
