package millrace

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWriterFlush(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		noError(t, w.Flush(t.Context()))
		takingTime(b, time.Second)
		var told atomic.Int32
		publish := func() {
			noError(t, w.PublishAsync(t.Context(), "t", []byte("x"), func(error) {
				time.Sleep(time.Second)
				told.Add(1)
			}))
		}
		publish()
		publish()
		began := time.Now()
		noError(t, w.Flush(t.Context()))
		want(t, "told", told.Load(), int32(2))
		if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("took %v", took)
		}
		publish()
		pass(time.Millisecond)
		done := make(chan error)
		go func() { done <- w.Flush(t.Context()) }()
		synctest.Wait()
		publish() // is not waited for
		noError(t, <-done)
		want(t, "told", told.Load(), int32(3))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		want(t, "for too long", errors.Is(w.Flush(ctx), context.DeadlineExceeded), true)
	})
}

func TestWriterClose(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		takingTime(b, 10*time.Millisecond)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, MaxInFlight: 20})
		o := outcomes{t: t}
		for range 20 {
			noError(t, w.PublishAsync(t.Context(), "t", []byte("x"), o.of("x")))
		}
		waiting := make(chan error)
		go func() { waiting <- w.PublishAsync(t.Context(), "t", []byte("x"), o.of("late")) }()
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- w.Close() }()
		noError(t, w.Close())
		noError(t, <-closed)
		want(t, "who waited for room", <-waiting, ErrClosed)
		want(t, "told", o.told, slices.Repeat([]string{"x stored"}, 20))
		want(t, "stored", len(b.bodies("t")), 20)
		noError(t, w.Close())
		noError(t, w.Flush(t.Context()))
		for _, err := range []error{
			w.Publish(t.Context(), "t", []byte("x")), w.PublishMany(t.Context(), "t", bytesOf("x")),
			w.PublishDeferred(t.Context(), "t", 0, []byte("x")), w.PublishAsync(t.Context(), "t", []byte("x"), o.of("after")),
			w.PublishManyAsync(t.Context(), "t", bytesOf("x"), nil), w.PublishDeferredAsync(t.Context(), "t", 0, []byte("x"), nil),
		} {
			want(t, "after Close", err, ErrClosed)
		}
	})
}

func TestWriterCloseUnused(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		noError(t, w.Close())
		want(t, "dialled", n.dialled("q:1"), 0)
	})
}

// TestWriterCloseGivesUp: what has no outcome when Close's time is up gets one.
func TestWriterCloseGivesUp(t *testing.T) {
	for _, c := range []struct{ address, want string }{{"q:1", "uncertain"}, {"q:9", "unavailable"}} {
		t.Run(c.want, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				holdPublishes(startBroker(t, n.listen("q:1")))
				w := openWriter(t, n, WriterConfig{Addresses: []string{c.address}, CloseTimeout: 3 * time.Second})
				o := outcomes{t: t}
				for range 3 {
					noError(t, w.PublishAsync(t.Context(), "t", []byte("x"), o.of("x")))
				}
				alone := make(chan error, 1)
				go func() { alone <- w.Publish(t.Context(), "t", []byte("y")) }()
				synctest.Wait()
				pass(10 * time.Millisecond)
				began := time.Now()
				err := w.Close()
				want(t, "took", time.Since(began), 3*time.Second)
				want(t, "Close says so", errors.Is(err, context.DeadlineExceeded), true)
				want(t, "told", o.told, slices.Repeat([]string{"x " + c.want}, 3))
				err = <-alone
				want(t, "synchronous", kind(t, err), c.want)
				want(t, "because", errors.Is(err, ErrClosed), true)
			})
		})
	}
}
