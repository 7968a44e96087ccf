package millrace_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"expvar"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/clients/go/spool"
	"github.com/millrace-mq/millrace/protocol"
)

// startDaemon stands for a queue daemon: it answers OK to everything.
func startDaemon() (address string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveDaemon(c)
		}
	}()
	return l.Addr().String(), func() { _ = l.Close() }
}

func serveDaemon(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	_, _ = in.Discard(len(protocol.MagicV2))
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if line == "NOP\n" {
			continue
		}
		var size uint32
		if err := binary.Read(in, binary.BigEndian, &size); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, in, int64(size)); err != nil {
			return
		}
		if _, err := c.Write(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK)); err != nil {
			return
		}
	}
}

func ExampleWriter_Publish() {
	address, stop := startDaemon()
	defer stop()
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{address}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := w.Publish(ctx, "orders", []byte("one coffee")); err != nil {
		log.Fatal(err)
	}
	if err := w.PublishMany(ctx, "orders", [][]byte{[]byte("two teas"), []byte("a glass of water")}); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("a daemon has", w.Stats().Published, "orders")
	// Output: a daemon has 3 orders
}

// A callback hears what has become of each message; Flush waits for all of them.
func ExampleWriter_PublishAsync() {
	address, stop := startDaemon()
	defer stop()
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{address}})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	ctx := context.Background()
	stored := 0 // callbacks are called by one goroutine, and Flush returns after them
	for i := range 1000 {
		body := fmt.Appendf(nil, "order %d", i)
		err := w.PublishAsync(ctx, "orders", body, func(err error) {
			if err != nil {
				log.Printf("order %d: %v", i, err)
				return
			}
			stored++
		})
		if err != nil { // it was not accepted: its callback is not called
			log.Fatal(err)
		}
	}
	if err := w.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(stored, "stored")
	// Output: 1000 stored
}

// What is known about a message whose publish failed.
func ExampleUncertainError() {
	explain := func(err error) {
		var refused *millrace.RefusedError
		var unavailable *millrace.UnavailableError
		var uncertain *millrace.UncertainError
		switch {
		case errors.As(err, &refused):
			fmt.Println("not stored, and never will be:", refused)
		case errors.As(err, &unavailable):
			fmt.Println("not stored, worth another try:", unavailable.Topic)
		case errors.As(err, &uncertain):
			fmt.Println("perhaps stored, publish it again if a duplicate does no harm:", uncertain)
		}
	}
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{"127.0.0.1:1"}}) // nobody is there
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	explain(w.Publish(context.Background(), "two words", []byte("x")))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	explain(w.Publish(ctx, "orders", []byte("x")))
	explain(&millrace.UncertainError{Address: "127.0.0.1:4150", Err: io.EOF})
	// Output:
	// not stored, and never will be: publish to two words was refused: "two words" is not a valid topic name
	// not stored, worth another try: orders
	// perhaps stored, publish it again if a duplicate does no harm: publish to 127.0.0.1:4150 may or may not have been stored: EOF
}

// A publisher that does not stop when every daemon is away.
func ExampleWriterConfig_spool() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	open := func(daemon string) *millrace.Writer {
		kept, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 1 << 30})
		if err != nil {
			log.Fatal(err)
		}
		w, err := millrace.NewWriter(millrace.WriterConfig{
			Addresses: []string{daemon}, Spool: kept, SpoolAfter: 10 * time.Millisecond,
		})
		if err != nil {
			log.Fatal(err)
		}
		return w
	}
	w := open("127.0.0.1:1") // nobody is there
	if err := w.Publish(context.Background(), "orders", []byte("one coffee")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.Stats().Spooled, "record is on disk")
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	// The program is started again, and so is a daemon.
	address, stop := startDaemon()
	defer stop()
	w = open(address)
	for w.Stats().Spooled > 0 {
		time.Sleep(time.Millisecond) // the spool is delivered in the background
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.Stats().Batches, "was delivered")
	// Output:
	// 1 record is on disk
	// 1 was delivered
}

// Counters for Prometheus, and a histogram of how long publishes take.
func ExampleWriter_Stats() {
	address, stop := startDaemon()
	defer stop()
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "publish_seconds"})
	w, err := millrace.NewWriter(millrace.WriterConfig{
		Addresses: []string{address},
		OnPublish: func(p millrace.Published) { took.Observe(p.Took.Seconds()) },
	})
	if err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(took,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "publishes_in_flight"},
			func() float64 { return float64(w.Stats().InFlight) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "published_total"},
			func() float64 { return float64(w.Stats().Published) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "publishes_uncertain_total"},
			func() float64 { return float64(w.Stats().Uncertain) }))
	if err := w.Publish(context.Background(), "orders", []byte("one coffee")); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		m := f.GetMetric()[0]
		fmt.Println(f.GetName(), m.GetGauge().GetValue()+m.GetCounter().GetValue()+float64(m.GetHistogram().GetSampleCount()))
	}
	// Output:
	// publish_seconds 1
	// published_total 1
	// publishes_in_flight 0
	// publishes_uncertain_total 0
}

// All counters at /debug/vars, with the standard library alone.
func ExampleWriter_Stats_expvar() {
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{"127.0.0.1:4150"}})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	expvar.Publish("orders_writer", expvar.Func(func() any { return w.Stats() }))
	fmt.Println(strings.Contains(expvar.Get("orders_writer").String(), `"Published":0`))
	// Output: true
}
