package sampler

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/trouble"
)

// BenchmarkRound is one poll of all daemons and what is made of it: what it takes of
// processors (the fleet's part of it, sending bytes that lie ready, included), and the memory that is
// held afterwards and was taken in between.
func BenchmarkRound(b *testing.B) {
	for _, size := range []struct{ nodes, topics, spread int }{{1, 10_000, 1}, {3, 1000, 3}, {3, 10_000, 3}, {50, 10_000, 3}, {50, 10_000, 50}} {
		b.Run(fmt.Sprintf("nodes=%d/topics=%d/spread=%d", size.nodes, size.topics, size.spread), func(b *testing.B) {
			benchmarkRound(b, size.nodes, size.topics, size.spread)
		})
	}
}

func benchmarkRound(b *testing.B, nodes, topics, spread int) {
	f := clustertest.NewFleet(b, clustertest.Nodes(nodes), clustertest.Topics(topics), clustertest.Spread(spread))
	var bytes int64
	for _, n := range f.Nodes {
		answer := statsOf(n)
		bytes += int64(len(answer))
		n.HandlePath("/stats", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) })
		n.Change(func(d *clustertest.Daemon) { clear(d.Topics) }) // it says so from memory
	}
	theirs := liveHeap()
	s := New(Settings{}, f.Cluster(b), history.New(history.Settings{}), trouble.NewFinder(trouble.Settings{}), slog.New(slog.DiscardHandler))
	r := newRound(s)
	once := func() {
		r.begin(b.Context())
		for r.running > 0 {
			r.wait(b.Context())
		}
		r.make()
	}
	once()
	once()
	if got := len(s.Latest().Topics); got != topics {
		b.Fatalf("%d topics", got)
	}
	held := liveHeap() - theirs
	before := processorTime()
	b.SetBytes(bytes)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
	b.ReportMetric((processorTime()-before).Seconds()*1e3/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(held)/(1<<20), "live-MiB")
	b.ReportMetric(float64(s.store.Bytes())/(1<<20), "history-MiB")
	b.ReportMetric(s.Latest().Period.Seconds(), "period-s")
	runtime.KeepAlive(s)
}

// statsOf is what a node answers to a poll.
func statsOf(n *clustertest.Node) []byte {
	server := httptest.NewRequest("GET", "/stats?"+figuresOf("", "").Encode(), nil)
	w := httptest.NewRecorder()
	n.ServeHTTP(w, server)
	body, _ := io.ReadAll(w.Body)
	return body
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
