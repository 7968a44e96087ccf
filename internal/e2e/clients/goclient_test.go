package clients

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/clients/go/spool"
)

// goClient is Go's client, in this process.
type goClient struct{}

func (goClient) String() string  { return "go" }
func (goClient) pid() string     { return "self" }
func (goClient) hasSnappy() bool { return true }

func (s security) connection(t *testing.T) millrace.Connection {
	t.Helper()
	c := millrace.Connection{DialTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second}
	switch s.Compression {
	case "snappy":
		c.Compression = millrace.Snappy
	case "deflate":
		c.Compression = millrace.Deflate
	}
	if s.CA == "" {
		return c
	}
	text, err := os.ReadFile(s.CA)
	must(t, err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatalf("%s holds no certificate", s.CA)
	}
	c.TLS = &tls.Config{RootCAs: roots}
	return c
}

type goWriter struct {
	*millrace.Writer
}

func (goClient) writer(t *testing.T, s writerSettings) writer {
	t.Helper()
	c := millrace.WriterConfig{
		Addresses: s.Addresses, Lookupds: s.Lookupds, LookupInterval: lookupInterval,
		MaxInFlight: s.MaxInFlight, RetryUncertain: s.RetryUncertain, SpoolAfter: spoolAfter, Connection: s.connection(t),
	}
	if s.Spool != "" {
		kept, err := spool.Open(spool.Config{Dir: s.Spool})
		must(t, err)
		c.Spool = kept
	}
	w, err := millrace.NewWriter(c)
	must(t, err)
	t.Cleanup(func() { _ = w.Close() }) // if the test has not
	return goWriter{w}
}

func (w goWriter) publish(timeout time.Duration, topic string, bodies ...[]byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if len(bodies) == 1 {
		return w.Publish(ctx, topic, bodies[0])
	}
	return w.PublishMany(ctx, topic, bodies)
}

func (w goWriter) publishDeferred(timeout time.Duration, topic string, delay time.Duration, body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return w.PublishDeferred(ctx, topic, delay, body)
}

func (w goWriter) publishAsync(topic string, bodies [][]byte, done func(int, error)) {
	for i, b := range bodies {
		if err := w.PublishAsync(context.Background(), topic, b, func(err error) { done(i, err) }); err != nil {
			done(i, err)
		}
	}
}

func (w goWriter) publishManyAsync(topic string, bodies [][]byte, done func(error)) {
	if err := w.PublishManyAsync(context.Background(), topic, bodies, done); err != nil {
		done(err)
	}
}

func (w goWriter) flush(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return w.Flush(ctx)
}

func (w goWriter) close() error { return w.Close() }

// goReader is a Reader with the goroutine that runs it.
type goReader struct {
	*millrace.Reader
	settings readerSettings
	came     chan *delivery
	ended    chan error
	closing  sync.Once
	err      error
}

// room is how many deliveries a test may leave lying; a Reader's handlers wait then.
const room = 1 << 13

func (goClient) reader(t *testing.T, s readerSettings) reader {
	t.Helper()
	r := &goReader{settings: s, came: make(chan *delivery, room), ended: make(chan error, 1)}
	c := millrace.ReaderConfig{
		Topic: s.Topic, Channel: s.Channel, Addresses: s.Addresses, Lookupds: s.Lookupds, LookupInterval: lookupInterval,
		MaxInFlight: s.MaxInFlight, Concurrency: s.Concurrency, RequeueDelay: requeueDelay,
		MsgTimeout: time.Duration(s.MsgTimeout * float64(time.Second)), Connection: s.connection(t),
	}
	switch s.Form {
	case handles:
		c.Handler = millrace.HandlerFunc(r.handle)
	case batches:
		c.BatchHandler = millrace.BatchHandlerFunc(r.handleBatch)
	}
	var err error
	r.Reader, err = millrace.NewReader(c)
	must(t, err)
	go func() {
		if s.Form == iterates {
			r.ended <- r.pull()
		} else {
			r.ended <- r.Run(context.Background())
		}
	}()
	t.Cleanup(func() { _ = r.close() })
	return r
}

// take hands a message over, and returns what the handler is to return.
func (r *goReader) take(ctx context.Context, m *millrace.Message) error {
	now := time.Now().UnixNano()
	answered := make(chan error, 1)
	d := &delivery{
		Body: append([]byte(nil), m.Body...), ID: string(m.ID[:]), Address: m.Address,
		Attempts: int(m.Attempts), Stamp: m.Timestamp.UnixNano(), Taken: now,
		Failed: r.settings.fails(m.Body, int(m.Attempts)),
		answer: func(how string, delay time.Duration) {
			switch how {
			case "finish":
				m.Finish()
			case "requeue":
				m.Requeue(delay)
			case "touch":
				m.Touch()
				return
			}
			answered <- nil
		},
	}
	if r.settings.Work > 0 {
		pause(ctx, time.Duration(r.settings.Work*float64(time.Second)))
	}
	r.came <- d
	switch {
	case d.Failed:
		return errFails
	case r.settings.Answer == later:
		return millrace.ErrAnswerLater
	case r.settings.Answer == waiting:
		select {
		case err := <-answered:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (r *goReader) handle(ctx context.Context, m *millrace.Message) error { return r.take(ctx, m) }

// handleBatch fails the batch's messages by themselves, and finishes the others.
func (r *goReader) handleBatch(ctx context.Context, batch []*millrace.Message) error {
	for _, m := range batch {
		if err := r.take(ctx, m); errors.Is(err, errFails) {
			m.Requeue(-1)
		}
	}
	if r.settings.Answer == later {
		return millrace.ErrAnswerLater
	}
	return nil
}

func (r *goReader) pull() error {
	ctx := context.Background()
	for m, err := range r.Messages(ctx) {
		if err != nil {
			return err
		}
		switch err := r.take(ctx, m); {
		case errors.Is(err, errFails):
			m.Requeue(-1)
		case err == nil:
			m.Finish()
		}
	}
	return nil
}

func (r *goReader) deliveries() <-chan *delivery { return r.came }

func (r *goReader) close() error {
	r.closing.Do(func() { r.err = errors.Join(r.Close(), <-r.ended) })
	return r.err
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
