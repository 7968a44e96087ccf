package web

import (
	"context"
	"sync"
	"time"
)

// memo remembers for a while what daemons have answered, so that they are asked
// once however many people look. Whoever finds it too old asks, and those who come
// meanwhile wait for that.
type memo[T any] struct {
	mu    sync.Mutex // guards below; not held while somebody asks
	value T
	until time.Time
	asks  chan struct{} // closed when who asks is done; nil if nobody does
}

// get returns what is remembered, or asks. Who asks does so to the end, within
// patience, though its browser may have gone: others wait for the answer.
func (m *memo[T]) get(ctx context.Context, keep, patience time.Duration, ask func(context.Context) T) (T, error) {
	for {
		m.mu.Lock()
		if time.Now().Before(m.until) {
			defer m.mu.Unlock()
			return m.value, nil
		}
		if m.asks == nil {
			break
		}
		asks := m.asks
		m.mu.Unlock()
		select {
		case <-asks:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
	}
	done := make(chan struct{})
	m.asks = done
	m.mu.Unlock()
	defer close(done)
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	defer func() { // should ask panic, nobody waits for ever
		m.mu.Lock()
		m.asks = nil
		m.mu.Unlock()
	}()
	value := ask(asking)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.value, m.until = value, time.Now().Add(keep)
	return value, nil
}
