package web

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// However many look, daemons are asked once, and again when the answer is old.
func TestMemoAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m memo[int]
		asked := 0
		look := func(ctx context.Context) (int, error) {
			return m.get(ctx, 2*time.Second, time.Minute, func(ctx context.Context) int {
				asked++
				time.Sleep(time.Second)
				if ctx.Err() != nil {
					t.Error("who asks was given up with its browser")
				}
				return asked
			})
		}
		first, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				ctx := t.Context()
				if i == 0 {
					ctx = first
				}
				if n, err := look(ctx); n != 1 && err == nil {
					t.Errorf("got %d", n)
				}
			})
		}
		synctest.Wait()
		leave()
		all.Wait()
		if n, err := look(t.Context()); n != 1 || err != nil {
			t.Errorf("at once: %d, %v", n, err)
		}
		time.Sleep(3 * time.Second)
		if n, err := look(t.Context()); n != 2 || err != nil {
			t.Errorf("later: %d, %v", n, err)
		}
	})
}

// Who waits for another's answer is not bound to wait.
func TestMemoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m memo[int]
		ask := func(context.Context) int { time.Sleep(time.Hour); return 1 }
		go func() { _, _ = m.get(t.Context(), time.Second, 2*time.Hour, ask) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.get(ctx, time.Second, time.Second, ask); err == nil {
			t.Error("an answer though none had come")
		}
		time.Sleep(2 * time.Hour)
	})
}
