package metrics_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/metrics"
	"github.com/millrace-mq/millrace/qd/session"
	"github.com/millrace-mq/millrace/qd/stats"
)

// BenchmarkScrape is what a scrape costs with ten thousand topics of two
// channels, and how large the answer is.
func BenchmarkScrape(b *testing.B) {
	source := many(b, 10_000)
	for _, most := range []int{100, 500, 10_000} {
		for _, encoding := range []string{"identity", "gzip"} {
			h := metrics.Handler(source, most, slog.New(slog.DiscardHandler))
			b.Run(fmt.Sprintf("shown=%d/%s", most, encoding), func(b *testing.B) {
				size := 0
				for b.Loop() {
					r := httptest.NewRequest("GET", "/metrics", nil)
					r.Header.Set("Accept-Encoding", encoding)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					if w.Code != http.StatusOK {
						b.Fatal(w.Body.String())
					}
					size = w.Body.Len()
				}
				b.ReportMetric(float64(size), "bytes/answer")
			})
		}
	}
}

// many is a daemon with topics of two channels, each with a message.
func many(b *testing.B, topics int) *stats.Source {
	b.Helper()
	broke, err := broker.Open(broker.Settings{
		DataPath: b.TempDir(), MemoryMessages: 1000, MemoryBytes: 1 << 30, FileBytes: 1 << 20, SyncEvery: 1000,
		SyncTimeout: time.Hour, MaxMsgTimeout: time.Hour, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- broke.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if err := broke.Close(); err != nil {
			b.Error(err)
		}
	})
	for i := range topics {
		t, err := broke.Topic(ctx, fmt.Sprintf("topic%05d", i))
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range []string{"ship", "bill"} {
			if err := t.CreateChannel(c); err != nil {
				b.Fatal(err)
			}
		}
		if err := t.Publish([][]byte{[]byte("x")}); err != nil {
			b.Fatal(err)
		}
	}
	return &stats.Source{Broker: broke, Clients: func() []session.Client { return nil }, Started: time.Now()}
}
