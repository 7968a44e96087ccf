package millrace_test

import (
	"context"
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
