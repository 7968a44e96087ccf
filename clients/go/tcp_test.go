package millrace

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

func listenTCP(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// goroutines returns the stacks of those that run this package's code, the
// caller's excepted.
func goroutines() (stacks []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for i, s := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(s, "clients/go.(*") {
			stacks = append(stacks, s)
		}
	}
	return stacks
}

// TestOverTCP publishes and consumes over real sockets, with an orderly end:
// every answer must reach the daemon, and no goroutine be left.
func TestOverTCP(t *testing.T) {
	const total = 20000
	b := newBroker(t)
	b.start(listenTCP(t))
	w, err := NewWriter(WriterConfig{Addresses: []string{b.address}})
	noError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	handled := 0
	r, err := NewReader(ReaderConfig{
		Topic: "t", Channel: "c", Addresses: []string{b.address}, MaxInFlight: 1000,
		Handler: HandlerFunc(func(context.Context, *Message) error {
			if handled++; handled == total {
				cancel()
			}
			return nil
		}),
	})
	noError(t, err)
	published := make(chan error, 1)
	go func() {
		var errs []error
		bodies := numbered(total)
		for i := 0; i < total; i += 100 {
			errs = append(errs, w.PublishManyAsync(context.Background(), "t", bytesOf(bodies[i:i+100]...), func(err error) { noError(t, err) }))
		}
		published <- errors.Join(append(errs, w.Close())...)
	}()
	noError(t, r.Run(ctx))
	noError(t, <-published)
	b.stop()
	want(t, "finished", b.finishedBodies(), numbered(total))
	var left []string
	for range 10_000 { // what only has to return may not have had the processor yet
		if left = goroutines(); len(left) == 0 {
			return
		}
		time.Sleep(time.Millisecond) // nothing tells of a goroutine's end but a look
	}
	t.Errorf("goroutines left:\n%s", strings.Join(left, "\n\n"))
}
