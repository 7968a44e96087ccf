package stats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/session"
	"github.com/millrace-mq/millrace/qd/stats"
)

// BenchmarkStats is what /stats costs with ten thousand topics of two channels:
// gathering, and rendering.
func BenchmarkStats(b *testing.B) {
	source := many(b, 10_000)
	b.Run("gather", func(b *testing.B) {
		for b.Loop() {
			source.Gather(stats.Selection{})
		}
	})
	b.Run("json", func(b *testing.B) {
		for b.Loop() {
			all := source.Gather(stats.Selection{Clients: true, Memory: true})
			if err := json.NewEncoder(io.Discard).Encode(all); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("text", func(b *testing.B) {
		for b.Loop() {
			all := source.Gather(stats.Selection{Clients: true, Memory: true})
			all.Text(source.Started)
		}
	})
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
