// Package metrics shows a daemon's figures to Prometheus, at /metrics. It keeps no
// counters of its own: they are read when somebody asks. docs/METRICS.md lists
// what there is.
package metrics

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millrace-mq/millrace/qd/stats"
)

// Handler answers scrapes with the figures of source: those of Go and of the process
// too. At most maxTopics topics, and four times as many channels, have series of
// their own. How many scrapes there are at a time is for the caller to bound: each
// holds all series in memory until it has been answered.
func Handler(source *stats.Source, maxTopics int, log *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		newCollector(source, maxTopics),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:          errorLog{log},
		EnableOpenMetrics: true,
	})
}

// errorLog logs what promhttp complains about.
type errorLog struct{ *slog.Logger }

func (l errorLog) Println(v ...any) {
	l.Warn("a scrape of /metrics failed", "error", fmt.Sprint(v...))
}
