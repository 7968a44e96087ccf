package registry

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/load"
)

// pingEvery is how often daemons speak: qd's and nsqd's interval.
const pingEvery = 15 * time.Second

// disturbance goes on beside a measurement until done is closed, and then ends
// as soon as everything is as it was before.
type disturbance func(ctx context.Context, done <-chan struct{}) error

// together runs f, and the disturbances until f has returned.
func together(ctx context.Context, f func(context.Context) error, meanwhile ...disturbance) error {
	done := make(chan struct{})
	parts := []func(context.Context) error{func(ctx context.Context) error {
		defer close(done)
		return f(ctx)
	}}
	for _, m := range meanwhile {
		parts = append(parts, func(ctx context.Context) error { return m(ctx, done) })
	}
	return load.Together(ctx, parts...)
}

// pause waits for d, or until done is closed or ctx ends.
func pause(ctx context.Context, done <-chan struct{}, d time.Duration) (ended bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return false
	case <-done:
	case <-ctx.Done():
	}
	return true
}

// pinging has each of daemons speak once in every, one after the other.
func pinging(daemons []*daemon, every time.Duration) disturbance {
	return func(ctx context.Context, done <-chan struct{}) error {
		for i := 0; len(daemons) > 0; i++ {
			if pause(ctx, done, every/time.Duration(len(daemons))) {
				break
			}
			if err := daemons[i%len(daemons)].ping(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// returns counts how often daemons came back, and how long each took.
type returns struct {
	mu    sync.Mutex // guards times
	times []time.Duration
}

// of has d leave and come back, first after delay. The last connection ends with
// life, not with the disturbance.
func (r *returns) of(life context.Context, d *daemon, delay, cycle time.Duration) disturbance {
	return func(ctx context.Context, done <-chan struct{}) error {
		if pause(ctx, done, delay) {
			return nil
		}
		for ended := false; !ended; {
			d.leave()
			ended = pause(ctx, done, cycle/2)
			took, err := d.back(life, ctx)
			if err != nil {
				return err
			}
			r.mu.Lock()
			r.times = append(r.times, took)
			r.mu.Unlock()
			ended = ended || pause(ctx, done, cycle/2)
		}
		return nil
	}
}

// back connects, until life ends, and registers all again. It returns how long
// that took.
func (d *daemon) back(life, ctx context.Context) (time.Duration, error) {
	start := time.Now()
	err := d.join(life)
	if err == nil {
		err = d.announce(ctx)
	}
	return time.Since(start), err
}

// String says how often, and the median of how long. It may be called when the
// disturbance has ended.
func (r *returns) String() string {
	if len(r.times) == 0 {
		return "nobody came back"
	}
	return fmt.Sprintf("%d × back in %s", len(r.times), round(median(r.times)))
}

func median(times []time.Duration) time.Duration {
	times = slices.Sorted(slices.Values(times))
	return times[(len(times)-1)/2]
}

// round leaves three digits or so.
func round(d time.Duration) time.Duration {
	for unit := time.Microsecond; unit < time.Second; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
	return d.Round(time.Second)
}

// reading asks for whole listings, one after the other, and throws them away.
type reading struct {
	client
	paths []string
	count int
	bytes int64
}

func (r *reading) run(ctx context.Context, done <-chan struct{}) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { // a listing may take longer than anybody wants to wait at the end
		defer stop()
		select {
		case <-done:
		case <-ctx.Done():
		}
	})
	defer r.close()
	for ; ; r.count++ {
		path := r.paths[r.count%len(r.paths)]
		err := r.begin(ctx, path)
		var n int64
		if err == nil {
			n, err = io.Copy(io.Discard, &r.client)
			r.bytes += n
		}
		if err == nil && r.status != 200 {
			err = fmt.Errorf("lookupd answered %d", r.status)
		}
		select {
		case <-done:
			return nil
		default:
		}
		if err != nil {
			return fmt.Errorf("GET %s: %w", path, because(ctx, err))
		}
	}
}

// String may be called when the disturbance has ended.
func (r *reading) String() string {
	return fmt.Sprintf("%d listings, %.0f MB", r.count, float64(r.bytes)/1e6)
}
