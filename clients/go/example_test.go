package millrace_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{"127.0.0.1:4150"}})
	if err != nil {
		log.Fatal(err)
	}
	if err := w.Publish(ctx, "orders", []byte("one coffee")); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	r, err := millrace.NewReader(millrace.ReaderConfig{
		Topic: "orders", Channel: "kitchen",
		Lookupds: []string{"127.0.0.1:4161"},
		Handler: millrace.HandlerFunc(func(ctx context.Context, m *millrace.Message) error {
			fmt.Printf("%s\n", m.Body)
			return nil
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// A publish whose fate is unknown may be repeated if a duplicate does no harm.
func ExampleUncertainError() {
	publish := func() error {
		return &millrace.UncertainError{Address: "127.0.0.1:4150", Err: errors.New("EOF")}
	}
	err := publish()
	if _, ok := errors.AsType[*millrace.UncertainError](err); ok {
		fmt.Println("again:", err)
	}
	// Output: again: publish to 127.0.0.1:4150 may or may not have been stored: EOF
}

// Batches on their way, with one place that hears of failures.
func ExampleWriter_PublishAsync() {
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{"127.0.0.1:4150", "127.0.0.1:5150"}})
	if err != nil {
		log.Fatal(err)
	}
	failed := make(chan error, 1)
	for _, batch := range [][][]byte{{[]byte("a"), []byte("b")}, {[]byte("c")}} {
		err := w.PublishAsync(context.Background(), "letters", batch, func(err error) {
			if err != nil {
				select {
				case failed <- err:
				default: // the first is enough
				}
			}
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil { // waits for the answers
		log.Fatal(err)
	}
	select {
	case err := <-failed:
		log.Fatal(err)
	default:
	}
}

// Messages are finished once their bytes are on the disk, many to an fsync.
func ExampleErrAnswerLater() {
	f, err := os.Create("orders.log")
	if err != nil {
		log.Fatal(err)
	}
	var unsynced []*millrace.Message
	r, err := millrace.NewReader(millrace.ReaderConfig{
		Topic: "orders", Channel: "archive", Addresses: []string{"127.0.0.1:4150"},
		Handler: millrace.HandlerFunc(func(_ context.Context, m *millrace.Message) error {
			if _, err := f.Write(append(m.Body, '\n')); err != nil {
				return err // requeued
			}
			unsynced = append(unsynced, m)
			return millrace.ErrAnswerLater
		}),
		OnIdle: func() { // never while the handler runs, since Concurrency is 1
			err := f.Sync()
			for _, m := range unsynced {
				if err != nil {
					m.Requeue(-1)
				} else {
					m.Finish()
				}
			}
			unsynced = nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
