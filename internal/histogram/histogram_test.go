package histogram_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/histogram"
)

func TestBuckets(t *testing.T) {
	h := histogram.New(time.Millisecond, time.Second)
	for _, d := range []time.Duration{-1, 0, time.Millisecond, time.Millisecond + 1, time.Second, time.Second + 1, time.Hour} {
		h.Add(d)
	}
	s := h.Snapshot()
	if want := []uint64{3, 2, 2}; !slices.Equal(s.Counts, want) {
		t.Errorf("counts %v, not %v", s.Counts, want)
	}
	if want := 2*time.Millisecond + 2*time.Second + time.Hour + 2; s.Sum != want {
		t.Errorf("sum %v, not %v", s.Sum, want)
	}
	if want := []time.Duration{time.Millisecond, time.Second}; !slices.Equal(s.Bounds, want) {
		t.Errorf("bounds %v, not %v", s.Bounds, want)
	}
}

func TestManyAdd(t *testing.T) {
	h := histogram.New(10, 20)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 3000 {
				h.Add(time.Duration(i % 30))
				h.Snapshot()
			}
		})
	}
	wg.Wait()
	if s := h.Snapshot(); !slices.Equal(s.Counts, []uint64{8 * 1100, 8 * 1000, 8 * 900}) || s.Sum != 8*100*435 {
		t.Errorf("%v", s)
	}
}
