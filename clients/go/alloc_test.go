//go:build !race

package millrace

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// TestBatchesAllocateNothing counts what is allocated for a million messages,
// over sockets, by client and daemon. The race detector empties pools at random.
func TestBatchesAllocateNothing(t *testing.T) {
	const total, warm = 300_000, 50_000
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var before, after runtime.MemStats
	handled := 0
	r, err := NewReader(ReaderConfig{
		Topic: "t", Channel: "c", Addresses: []string{serveNull(t, flood(total))}, MaxInFlight: 1000,
		BatchHandler: BatchHandlerFunc(func(_ context.Context, batch []*Message) error {
			if handled < warm && handled+len(batch) >= warm {
				runtime.ReadMemStats(&before)
			}
			if handled += len(batch); handled == total {
				runtime.ReadMemStats(&after)
				cancel()
			}
			return nil
		}),
	})
	noError(t, err)
	began := time.Now()
	noError(t, r.Run(ctx))
	count := float64(after.Mallocs-before.Mallocs) / (total - warm)
	t.Logf("%.5f allocations for a message, %.0f messages/s", count, total/time.Since(began).Seconds())
	if count > 0.01 {
		t.Errorf("%.5f allocations for a message", count)
	}
}
