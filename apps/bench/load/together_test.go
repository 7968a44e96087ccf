package load

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatch(t *testing.T) {
	const stall = 10 * time.Second
	waiting := func() string { return "an answer" }
	synctest.Test(t, func(t *testing.T) {
		var p Progress
		start := time.Now()
		err := p.Watch(t.Context(), stall, waiting, func(ctx context.Context) error {
			for range 5 { // slow, but never still for long
				time.Sleep(9 * time.Second)
				p.Add(1)
			}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if err == nil || !strings.Contains(err.Error(), "waiting for an answer") {
			t.Errorf("a stall gave %v", err)
		}
		if d := time.Since(start); d < 45*time.Second+stall || d > 45*time.Second+2*stall {
			t.Errorf("a stall was noticed after %v", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("failed")
		if err := new(Progress).Watch(t.Context(), stall, waiting, func(context.Context) error { return failed }); err != failed {
			t.Errorf("error %v", err)
		}
	})
}

func TestTogether(t *testing.T) {
	failed := errors.New("failed")
	untilEnd := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
	if err := Together(t.Context(), untilEnd, func(context.Context) error { return failed }, untilEnd); err != failed {
		t.Errorf("one of three failed: %v", err)
	}
	if err := Together(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Errorf("none failed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Together(ctx, untilEnd); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestDueTimes(t *testing.T) {
	l := NewLatency(3, time.Second, 3*time.Second)
	if l.count != 12 {
		t.Errorf("%d messages, want 12", l.count)
	}
	for i, want := range map[int64]time.Duration{
		0: lead, 1: lead + time.Second/3, 2: lead + time.Second*2/3,
		3:             lead + time.Second,
		3_000_000_000: lead + 1_000_000_000*time.Second, // no drift, no overflow
	} {
		if got := l.due(i); got != want {
			t.Errorf("message %d is due at %v, want %v", i, got, want)
		}
	}
}

// A message counts from when it was due, and not at all in the warm-up.
func TestLatencySamples(t *testing.T) {
	l := NewLatency(10, time.Second, time.Second)
	l.now = lead + 1500*time.Millisecond
	l.record(uint64(lead + 999*time.Millisecond))
	l.record(uint64(lead + 1400*time.Millisecond))
	l.record(uint64(lead + 1000*time.Millisecond))
	want := []time.Duration{100 * time.Millisecond, 500 * time.Millisecond}
	if got := l.Sorted(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("samples %v, want %v", got, want)
	}
}
