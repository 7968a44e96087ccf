package program

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// supervised is a daemon that a test plays.
type supervised struct {
	run   func(ctx context.Context) error
	work  chan struct{} // what all work goes through, one at a time
	endBy func(told time.Time) time.Time
}

func (s *supervised) Run(ctx context.Context) error { return s.run(ctx) }

func (s *supervised) Alive() {
	s.work <- struct{}{}
	<-s.work
}

func (s *supervised) EndBy(told time.Time) time.Time { return s.endBy(told) }

// heard is what the manager was told, with the seconds since the start.
type heard struct {
	began time.Time
	mu    sync.Mutex // guards all
	all   []string
}

func hear() *heard { return &heard{began: time.Now()} }

func (h *heard) tell(state string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, time.Since(h.began).String()+" "+strings.ReplaceAll(state, "\n", " "))
}

func (h *heard) only(word string) (all []string) {
	for _, line := range h.all {
		if strings.Contains(line, word) {
			all = append(all, line)
		}
	}
	return all
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestManagerIsToldOfADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := hear()
		term, terminate := context.WithCancel(t.Context())
		d := &supervised{endBy: func(told time.Time) time.Time { return told.Add(7 * time.Second) }}
		d.run = func(context.Context) error {
			time.Sleep(time.Minute)
			terminate()
			time.Sleep(3 * time.Second)
			return errors.New("the disk is gone")
		}
		if err := (manager{tell: told.tell}).run(t.Context(), term, d); err == nil || err.Error() != "the disk is gone" {
			t.Errorf("it ends with %v", err)
		}
		equal(t, told.all,
			"0s READY=1 STATUS=serving",
			"1m0s STOPPING=1",
			"1m0s STATUS=ending, within 7s EXTEND_TIMEOUT_USEC=37000000",
			"1m2s STATUS=ending, within 5s EXTEND_TIMEOUT_USEC=35000000",
		)
	})
}

// One that does not end is not given time for ever.
func TestNoMoreTimeForWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := hear()
		ctx, stop := context.WithCancel(t.Context())
		d := &supervised{endBy: func(told time.Time) time.Time { return told.Add(3 * time.Second) }}
		d.run = func(context.Context) error {
			stop()
			time.Sleep(time.Hour)
			return nil
		}
		if err := (manager{tell: told.tell}).run(ctx, ctx, d); err != nil {
			t.Error(err)
		}
		equal(t, told.only("EXTEND"),
			"0s STATUS=ending, within 3s EXTEND_TIMEOUT_USEC=33000000",
			"2s STATUS=ending, within 1s EXTEND_TIMEOUT_USEC=31000000",
		)
	})
}

func TestADrainWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := hear()
		ctx, stop := context.WithCancel(t.Context())
		d := &supervised{endBy: func(told time.Time) time.Time { return told.Add(1 << 62) }}
		d.run = func(context.Context) error {
			stop()
			time.Sleep(time.Second)
			return nil
		}
		if err := (manager{tell: told.tell}).run(ctx, ctx, d); err != nil {
			t.Error(err)
		}
		equal(t, told.only("EXTEND"), "0s STATUS=ending, within 24h0m0s EXTEND_TIMEOUT_USEC=86430000000")
	})
}

// Who ends by himself says so.
func TestManagerIsToldOfAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := hear()
		d := &supervised{run: func(context.Context) error { return nil }}
		if err := (manager{tell: told.tell}).run(t.Context(), t.Context(), d); err != nil {
			t.Error(err)
		}
		equal(t, told.all, "0s READY=1 STATUS=serving", "0s STOPPING=1")
	})
}

func TestWatchdogIsFedByTheLiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := hear()
		d := &supervised{work: make(chan struct{}, 1)}
		d.run = func(context.Context) error {
			time.Sleep(25 * time.Second)
			d.work <- struct{}{} // from here on it hangs
			time.Sleep(time.Minute)
			<-d.work
			time.Sleep(time.Second)
			return nil
		}
		if err := (manager{tell: told.tell, watchdog: 40 * time.Second}).run(t.Context(), t.Context(), d); err != nil {
			t.Error(err)
		}
		equal(t, told.only("WATCHDOG=1"), "0s WATCHDOG=1", "10s WATCHDOG=1", "20s WATCHDOG=1", "1m25s WATCHDOG=1", "1m25s WATCHDOG=1") // a tick is kept
	})
}

func TestManagerIsToldOfAReload(t *testing.T) {
	told := hear()
	(manager{tell: told.tell}).reloading(func() { told.tell("reload") })()
	if len(told.all) != 3 || !strings.Contains(told.all[0], "RELOADING=1 MONOTONIC_USEC=") || !strings.Contains(told.all[1], "reload") || !strings.HasSuffix(told.all[2], " READY=1") {
		t.Errorf("told: %q", told.all)
	}
}
