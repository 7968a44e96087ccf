package metrics_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/millrace-mq/millrace/qd/metrics"
)

// BenchmarkScrape is what a scrape costs with ten thousand topics of two
// channels, and how large the answer is.
func BenchmarkScrape(b *testing.B) {
	d := start(b, 0)
	for i := range 10_000 {
		name := fmt.Sprintf("topic%05d", i)
		d.topic(name, "ship", "bill")
		d.publish(name, 1)
	}
	for _, most := range []int{100, 500, 10_000} {
		for _, encoding := range []string{"identity", "gzip"} {
			h := metrics.Handler(d.source, most, slog.New(slog.DiscardHandler))
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
