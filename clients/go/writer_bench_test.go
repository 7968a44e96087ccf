package millrace

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
)

// benchAddress returns the daemon to publish to: one that only answers, unless
// MILLRACE_QD names another.
func benchAddress(b *testing.B) string {
	if address := os.Getenv("MILLRACE_QD"); address != "" {
		return address
	}
	return serveNull(b, answerAll)
}

func benchWriter(b *testing.B, c WriterConfig) *Writer {
	c.Addresses = []string{benchAddress(b)}
	w, err := NewWriter(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = w.Close() })
	if err := w.Publish(b.Context(), "bench", []byte("first")); err != nil {
		b.Fatal(err)
	}
	return w
}

func report(b *testing.B, w *Writer, messages int) {
	s := w.Stats()
	b.ReportMetric(float64(b.N*messages)/b.Elapsed().Seconds(), "msgs/s")
	b.ReportMetric(float64(s.Published)/float64(s.Batches), "msgs/batch")
}

func BenchmarkPublishAsync(b *testing.B) {
	w := benchWriter(b, WriterConfig{})
	body := bytes.Repeat([]byte{'x'}, 200)
	failed := func(err error) {
		if err != nil {
			b.Error(err)
		}
	}
	ctx := context.Background()
	b.ReportAllocs()
	b.SetBytes(200)
	for b.Loop() {
		if err := w.PublishAsync(ctx, "bench", body, failed); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	report(b, w, 1)
}

func BenchmarkPublishManyAsync(b *testing.B) {
	const batch = 200
	w := benchWriter(b, WriterConfig{})
	bodies := make([][]byte, batch)
	for i := range bodies {
		bodies[i] = bytes.Repeat([]byte{'x'}, 200)
	}
	failed := func(err error) {
		if err != nil {
			b.Error(err)
		}
	}
	ctx := context.Background()
	b.ReportAllocs()
	b.SetBytes(200 * batch)
	for b.Loop() {
		if err := w.PublishManyAsync(ctx, "bench", bodies, failed); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	report(b, w, batch)
}

// BenchmarkPublish has some goroutines publish and wait, each one message at a time.
func BenchmarkPublish(b *testing.B) {
	for _, goroutines := range []int{1, 100} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			w := benchWriter(b, WriterConfig{})
			body := bytes.Repeat([]byte{'x'}, 200)
			b.ReportAllocs()
			b.SetParallelism((goroutines + 1) / 2)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := w.Publish(context.Background(), "bench", body); err != nil {
						b.Error(err)
					}
				}
			})
			report(b, w, 1)
		})
	}
}
