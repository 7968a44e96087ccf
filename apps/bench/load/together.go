package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Together runs parts at once and returns when all have, with the first error
// or with why ctx ended. An error of one ends the others.
func Together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, part := range parts {
		wg.Go(func() {
			if err := part(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// Progress counts what producers and consumers get done, so that a broker that
// has stopped answering is noticed. It is safe for concurrent use.
type Progress struct{ n atomic.Int64 }

// Add counts n messages, or whatever else is got done.
func (p *Progress) Add(n int64) { p.n.Add(n) }

// Watch runs f and ends it with an error when the progress has stood still
// for stall. The error says that f was waiting for what describe returns.
func (p *Progress) Watch(ctx context.Context, stall time.Duration, describe func() string, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	finished := make(chan struct{})
	defer close(finished)
	wg.Go(func() {
		ticker := time.NewTicker(stall)
		defer ticker.Stop()
		for last := p.n.Load(); ; {
			select {
			case <-finished:
				return
			case <-ticker.C:
			}
			now := p.n.Load()
			if now == last {
				cancel(fmt.Errorf("nothing happened for %v while waiting for %s", stall, describe()))
				return
			}
			last = now
		}
	})
	return f(ctx)
}
