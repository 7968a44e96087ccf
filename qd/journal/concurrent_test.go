package journal_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/millrace-mq/millrace/qd/journal"
)

// TestConcurrent reads, syncs and asks while commits and removals go on.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, journal.Options{SegmentBytes: 5000})
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for {
				select {
				case <-done:
					return
				default:
				}
				pos := w.log.Start()
				if _, err := readFrom(t, w.log, pos+rng.Uint64N(20), 1000); err != nil {
					t.Errorf("read: %v", err)
					return
				}
				err := w.log.Get([]uint64{pos, pos + 30}, func(int, journal.Message) error { return nil })
				if _, _, err2 := w.log.FindID(1<<33 + pos); err != nil || err2 != nil {
					t.Errorf("get: %v, find: %v", err, err2)
				}
				w.log.BytesFrom(pos + 10)
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := w.log.Sync(); err != nil {
				t.Errorf("sync: %v", err)
			}
		}
	})
	for i := range 600 {
		w.must(w.commit(i%50 == 0, 60, 1+i%4))
		switch i % 20 {
		case 5:
			w.must(w.removeBefore(max(w.log.End(), 300) - 300))
		case 9:
			w.log.Rest()
		}
	}
	close(done)
	wg.Wait()
	w.holds(w.acked, "at last")
	if len(w.findings) > 0 {
		t.Errorf("findings: %v", w.findings)
	}
}
