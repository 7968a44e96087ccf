package millrace

import (
	"context"
	"fmt"
	"testing"
)

// BenchmarkConsumeBatch and BenchmarkMessages receive from a daemon that does
// nothing but send; see BenchmarkConsume for a Handler.
func BenchmarkConsumeBatch(b *testing.B) {
	for _, inFlight := range []int{200, 2500} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			handled := 0
			benchmarkReader(b, ReaderConfig{MaxInFlight: inFlight, BatchHandler: BatchHandlerFunc(func(_ context.Context, batch []*Message) error {
				if handled += len(batch); handled == b.N {
					cancel()
				}
				return nil
			})}, func(r *Reader) error { return r.Run(ctx) })
		})
	}
}

func BenchmarkMessages(b *testing.B) {
	benchmarkReader(b, ReaderConfig{MaxInFlight: 2500}, func(r *Reader) error {
		handled := 0
		for m, err := range r.Messages(b.Context()) {
			if err != nil {
				return err
			}
			m.Finish()
			if handled++; handled == b.N {
				break
			}
		}
		return nil
	})
}

func benchmarkReader(b *testing.B, config ReaderConfig, run func(r *Reader) error) {
	config.Topic, config.Channel, config.Addresses = "t", "c", []string{serveNull(b, flood(b.N))}
	r, err := NewReader(config)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(200)
	b.ResetTimer()
	if err := run(r); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}
