package otel_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"slices"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/clients/go/examples/otel"
	"github.com/millrace-mq/millrace/qd"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func Example() {
	address, stop := daemon()
	defer stop()
	figures := metric.NewManualReader() // or one that exports
	meter := metric.NewMeterProvider(metric.WithReader(figures)).Meter("orders")
	tracer := sdktrace.NewTracerProvider().Tracer("orders")

	wc := millrace.WriterConfig{Addresses: []string{address}}
	must(otel.MeasureWriter(meter, &wc))
	w, err := millrace.NewWriter(wc)
	must(err)
	_, err = otel.ObserveWriter(meter, w)
	must(err)
	ctx, span := tracer.Start(context.Background(), "order")
	must(w.Publish(ctx, "orders", otel.Wrap(ctx, []byte("one coffee"))))
	span.End()

	running, done := context.WithCancel(context.Background())
	rc := millrace.ReaderConfig{
		Topic: "orders", Channel: "kitchen", Addresses: []string{address},
		Handler: millrace.HandlerFunc(func(ctx context.Context, m *millrace.Message) error {
			ctx, body := otel.Unwrap(ctx, m.Body)
			fmt.Printf("%s, in the same trace: %v\n", body, trace.SpanContextFromContext(ctx).TraceID() == span.SpanContext().TraceID())
			done()
			return nil
		}),
	}
	must(otel.MeasureReader(meter, &rc))
	r, err := millrace.NewReader(rc)
	must(err)
	must(r.Run(running))

	var all metricdata.ResourceMetrics
	must(figures.Collect(context.Background(), &all))
	for _, line := range counts(all) {
		fmt.Println(line)
	}
	must(w.Close())
	// Output:
	// one coffee, in the same trace: true
	// messaging.client.consumed.messages 1
	// messaging.client.operation.duration 1
	// messaging.client.sent.messages 1
	// messaging.process.duration 1
	// millrace.message.age 1
	// millrace.writer.in_flight 0
	// millrace.writer.spooled 0
}

// counts are the figures that do not depend on time: a histogram's is how many it
// has recorded.
func counts(all metricdata.ResourceMetrics) (lines []string) {
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			var n any
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				n = data.DataPoints[0].Value
			case metricdata.Gauge[int64]:
				n = data.DataPoints[0].Value
			case metricdata.Histogram[float64]:
				n = data.DataPoints[0].Count
			}
			lines = append(lines, fmt.Sprint(m.Name, " ", n))
		}
	}
	slices.Sort(lines)
	return lines
}

// daemon starts a qd in this process, which keeps what it has in a folder that goes
// with it.
func daemon() (address string, stop func()) {
	dir, err := os.MkdirTemp("", "otel-")
	must(err)
	s := qd.Defaults()
	s.TCPAddress, s.HTTPAddress, s.DataPath = "127.0.0.1:0", "127.0.0.1:0", dir
	d, err := qd.Listen(s, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	return d.TCPAddr().String(), func() {
		cancel()
		must(<-ended)
		must(os.RemoveAll(dir))
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
