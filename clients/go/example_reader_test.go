package millrace_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

// A handler answers by what it returns. Here ten run at once, each with half a
// minute for its message.
func ExampleHandler() {
	r, err := millrace.NewReader(millrace.ReaderConfig{
		Topic: "orders", Channel: "invoices", Lookupds: []string{"127.0.0.1:4161"},
		Concurrency: 10, MaxInFlight: 1000,
		Handler: millrace.HandlerFunc(func(ctx context.Context, m *millrace.Message) error {
			ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			return sendInvoice(ctx, m.Body) // nil finishes it; with an error it comes again, later each time
		}),
		Connection: millrace.Connection{Log: slog.Default()},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := r.Run(ctx); err != nil { // returns when the last handler has
		log.Fatal(err)
	}
}

func sendInvoice(context.Context, []byte) error { return nil }

// table stands for a database.
type table struct{ rows []string }

func (t *table) insert(_ context.Context, rows []string) error {
	t.rows = append(t.rows, rows...)
	return nil
}

// Many messages become one insert. A batch is as large as what has come while
// the last one was inserted, and waits for more only because BatchWait says so.
func ExampleBatchHandler() {
	var orders table
	r, err := millrace.NewReader(millrace.ReaderConfig{
		Topic: "orders", Channel: "database", Lookupds: []string{"127.0.0.1:4161"},
		MaxInFlight: 5000, BatchSize: 1000, BatchWait: 50 * time.Millisecond,
		MaxBackoff: time.Minute, // a database that is down is left alone
		BatchHandler: millrace.BatchHandlerFunc(func(ctx context.Context, batch []*millrace.Message) error {
			rows := make([]string, 0, len(batch))
			for _, m := range batch {
				if len(m.Body) == 0 {
					m.Finish() // by itself: nobody wants it, whatever becomes of the others
					continue
				}
				rows = append(rows, string(m.Body)) // a copy: Body is the Reader's after we return
			}
			return orders.insert(ctx, rows) // the answer to all that have none
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := r.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// A loop takes messages when it is ready for them, and answers each.
func ExampleReader_Messages() {
	r, err := millrace.NewReader(millrace.ReaderConfig{
		Topic: "orders", Channel: "kitchen", Lookupds: []string{"127.0.0.1:4161"}, MaxInFlight: 10,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cups := 0
	for m, err := range r.Messages(ctx) {
		switch {
		case errors.Is(err, context.Canceled): // always the last
			fmt.Println("closing time")
		case err != nil:
			log.Fatal(err)
		case string(m.Body) == "one coffee":
			cups++
			m.Finish()
		default:
			m.Requeue(time.Minute) // another kitchen may know what it is
		}
		if cups == 100 {
			break // what is on its way goes to other readers at once
		}
	}
}

// What fails ten times goes to a topic of its own, with the reason for looking at
// it: where it came from.
func ExampleReaderConfig_deadLetters() {
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{"127.0.0.1:4150"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	r, err := millrace.NewReader(millrace.ReaderConfig{
		Topic: "orders", Channel: "invoices", Addresses: []string{"127.0.0.1:4150"},
		Handler:     millrace.HandlerFunc(func(ctx context.Context, m *millrace.Message) error { return sendInvoice(ctx, m.Body) }),
		MaxAttempts: 10,
		OnGiveUp: millrace.HandlerFunc(func(ctx context.Context, m *millrace.Message) error {
			// As long as this fails, the message stays in its channel.
			return w.Publish(ctx, "orders.dead", append([]byte("invoices: "), m.Body...))
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := r.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// Stats has counters, OnHandled what a histogram wants: with Prometheus' own
// library, its Observe. Without it, an HTTP handler does.
func ExampleReader_Stats() {
	var handlers atomic.Int64 // nanoseconds in them
	r, err := millrace.NewReader(millrace.ReaderConfig{
		Topic: "orders", Channel: "invoices", Addresses: []string{"127.0.0.1:4150"},
		Handler:   millrace.HandlerFunc(func(ctx context.Context, m *millrace.Message) error { return sendInvoice(ctx, m.Body) }),
		OnHandled: func(h millrace.Handled) { handlers.Add(int64(h.Took)) },
	})
	if err != nil {
		log.Fatal(err)
	}
	metrics := func(w http.ResponseWriter, _ *http.Request) {
		s := r.Stats()
		fmt.Fprintf(w, "reader_connections %d\n", s.Connections)
		fmt.Fprintf(w, "reader_in_flight %d\n", s.InFlight)
		fmt.Fprintf(w, "reader_messages_total{end=\"finished\"} %d\n", s.Finished)
		fmt.Fprintf(w, "reader_messages_total{end=\"requeued\"} %d\n", s.Requeued)
		fmt.Fprintf(w, "reader_handler_seconds_total %g\n", time.Duration(handlers.Load()).Seconds())
	}
	answer := httptest.NewRecorder()
	metrics(answer, nil)
	fmt.Println(strings.TrimSpace(answer.Body.String()))
	// Output:
	// reader_connections 0
	// reader_in_flight 0
	// reader_messages_total{end="finished"} 0
	// reader_messages_total{end="requeued"} 0
	// reader_handler_seconds_total 0
}
