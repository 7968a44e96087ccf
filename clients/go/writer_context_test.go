package millrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// TestWriterContextEnds ends the context of a publish at each of its stages: one that
// was not sent by then is never sent.
func TestWriterContextEnds(t *testing.T) {
	const after = 500 * time.Microsecond
	for _, c := range []struct {
		stage   string
		config  WriterConfig
		before  int // publishes that are on their way
		already bool
		want    string
	}{
		{stage: "before the call", already: true, want: "unavailable"},
		{stage: "waiting for room", config: WriterConfig{MaxInFlight: 1}, before: 1, want: "unavailable"},
		{stage: "gathering", before: 1, want: "unavailable"},
		{stage: "waiting for a daemon", config: WriterConfig{Addresses: []string{"q:9"}}, want: "unavailable"},
		{stage: "waiting for the answer", config: WriterConfig{Linger: -1}, want: "uncertain"},
	} {
		for _, deadline := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, deadline %t", c.stage, deadline), func(t *testing.T) {
				inBubble(t, func(t *testing.T, n *pipeNet) {
					b := startBroker(t, n.listen("q:1"))
					storeSilently(b)
					if c.config.Addresses == nil {
						c.config.Addresses = []string{"q:1"}
					}
					w := openWriter(t, n, c.config)
					for range c.before {
						noError(t, w.PublishAsync(t.Context(), "t", []byte("before"), nil))
					}
					synctest.Wait()
					pass(time.Second)
					ctx, cancel := context.WithTimeout(t.Context(), after)
					defer cancel()
					cause := context.DeadlineExceeded
					if !deadline {
						ctx, cancel = context.WithCancel(t.Context())
						cause = context.Canceled
						time.AfterFunc(after, cancel)
					}
					if c.already {
						<-ctx.Done()
					}
					began := time.Now()
					err := w.Publish(ctx, "t", []byte("x"))
					want(t, "outcome", kind(t, err), c.want)
					want(t, "because", errors.Is(err, cause), true)
					if took := time.Since(began); took > after {
						t.Errorf("took %v", took)
					}
					pass(10 * time.Millisecond) // what gathered is sent by then
					want(t, "sent", slices.Contains(b.bodies("t"), "x"), c.want == "uncertain")
					want(t, "in flight", w.Stats().InFlight, len(b.bodies("t")))
				})
			})
		}
	}
}

// TestWriterContextOfOneOfMany: of messages that wait together, those whose context ends
// are told so at once, and the others are stored.
func TestWriterContextOfOneOfMany(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		began := time.Now()
		o := outcomes{t: t}
		var names []string
		for i := range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour+time.Duration(i/2)*time.Second)
			defer cancel()
			switch i % 4 {
			case 1:
				ctx = t.Context()
			case 2:
				cancel = func() {}
			}
			name := fmt.Sprintf("m%02d", i)
			told := o.of(name)
			noError(t, w.PublishAsync(ctx, "t", []byte(name), func(err error) {
				if err != nil {
					want(t, "told "+name, time.Since(began), time.Hour+time.Duration(i/2)*time.Second)
				}
				told(err)
			}))
			names = append(names, name)
		}
		pass(2 * time.Hour)
		b := startBroker(t, n.listen("q:1"))
		noError(t, w.Flush(t.Context()))
		var stored []string
		for i, name := range names {
			outcome := "unavailable"
			if i%4 == 1 {
				outcome = "stored"
				stored = append(stored, name)
			}
			want(t, name, kind(t, o.errs[name]), outcome)
		}
		want(t, "stored", b.bodies("t"), stored)
	})
}

// TestWriterContextAfterSending: an asynchronous publish that is on its way has its
// answer waited for, and is not tried again once its context has ended.
func TestWriterContextAfterSending(t *testing.T) {
	for _, answered := range []bool{true, false} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			b := startBroker(t, n.listen("q:1"))
			holdPublishes(b)
			w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
			ctx, cancel := context.WithCancel(t.Context())
			o := outcomes{t: t}
			noError(t, w.PublishAsync(ctx, "t", []byte("x"), o.of("x")))
			synctest.Wait()
			cancel()
			synctest.Wait()
			want(t, "before the answer", o.told, []string(nil))
			if answered {
				answer(b, 1)
			} else {
				refusing(b, "E_PUB_FAILED", "PUB failed")
				b.each(func(s *session) {
					s.sendLocked([]byte("\x00\x00\x00\x11\x00\x00\x00\x01E_PUB_FAILED "))
					s.ended = true
				})
			}
			noError(t, w.Flush(t.Context()))
			want(t, "told", o.told, map[bool][]string{true: {"x stored"}, false: {"x unavailable"}}[answered])
		})
	}
}

// TestWriterBounds: the bounds hold exactly, for each message, and what is larger
// than they are goes alone.
func TestWriterBounds(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		holdPublishes(b)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, MaxInFlight: 50, MaxInFlightBytes: 1000, Linger: -1})
		accept := func(body []byte) string {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := w.PublishAsync(context.WithoutCancel(ctx), "t", body, nil)
			return kind(t, err)
		}
		try := func(bodies ...[]byte) string {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return kind(t, w.PublishManyAsync(ctx, "t", bodies, nil))
		}
		for range 50 {
			want(t, "within the bound of messages", accept(make([]byte, 1)), "stored")
		}
		want(t, "the 51st", try([]byte{1}), "unavailable")
		want(t, "in flight", w.Stats().InFlight, 50)
		synctest.Wait()
		answer(b, 50)
		synctest.Wait()
		for range 10 {
			want(t, "within the bound of bytes", accept(make([]byte, 99)), "stored")
		}
		want(t, "in flight", w.Stats().InFlightBytes, 990)
		want(t, "too many bytes", try(make([]byte, 11)), "unavailable")
		want(t, "just enough", accept(make([]byte, 10)), "stored")
		want(t, "larger than everything", try(make([]byte, 2000)), "unavailable")
		synctest.Wait()
		answer(b, 11)
		synctest.Wait()
		want(t, "larger than everything, alone", accept(make([]byte, 2000)), "stored")
		want(t, "next to it", try([]byte{1}), "unavailable")
		synctest.Wait()
		answer(b, 1)
		synctest.Wait()
		many := slices.Repeat([][]byte{{1}}, 60)
		want(t, "a large batch, alone", kind(t, w.PublishManyAsync(t.Context(), "t", many, nil)), "stored")
		synctest.Wait()
		answer(b, 1)
	})
}

// TestWriterWaitsInTurn: who waits for room gets it in the order of coming, and a large
// one is not passed by small ones.
func TestWriterWaitsInTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		holdPublishes(b)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, MaxInFlight: 10, Linger: -1})
		for range 10 {
			noError(t, w.PublishAsync(t.Context(), "t", []byte("x"), nil))
		}
		var mu sync.Mutex
		var order []int
		for i := range 12 {
			size := 1
			if i == 3 {
				size = 10
			}
			go func() {
				bodies := slices.Repeat([][]byte{{1}}, size)
				var err error
				if i%2 == 0 {
					err = w.PublishManyAsync(t.Context(), "t", bodies, nil)
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
				} else {
					err = w.PublishMany(t.Context(), "t", bodies)
				}
				if err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		for range 10 { // one at a time
			answer(b, 1)
			synctest.Wait()
		}
		want(t, "accepted before the large one", order, []int{0, 2})
		for range 20 {
			answer(b, 1)
			synctest.Wait()
		}
		slices.Sort(order) // those behind it came in together
		want(t, "accepted", order, []int{0, 2, 4, 6, 8, 10})
	})
}

// TestWriterCallbackBlocks: a done that blocks stops only who publishes
// asynchronously, and that only when the bounds are reached.
func TestWriterCallbackBlocks(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{
			Addresses: []string{"q:1"}, MaxInFlight: 10, Connection: Connection{HeartbeatInterval: time.Second},
		})
		gate := make(chan struct{})
		told := 0
		publish := func(ctx context.Context) error {
			return w.PublishAsync(ctx, "t", []byte("x"), func(err error) {
				if err != nil {
					t.Error(err)
				}
				told++
				<-gate
			})
		}
		for range 10 {
			noError(t, publish(t.Context()))
		}
		pass(time.Minute)
		want(t, "told", told, 1)
		want(t, "stored", len(b.bodies("t")), 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		want(t, "one too many", kind(t, publish(ctx)), "unavailable")
		accepted := make(chan error, 3)
		for range 3 {
			go func() { accepted <- publish(t.Context()) }()
		}
		synctest.Wait()
		for range 20 {
			noError(t, w.Publish(t.Context(), "t", []byte("y")))
		}
		noError(t, w.PublishMany(t.Context(), "t", slices.Repeat([][]byte{{'z'}}, 10)))
		want(t, "connections", n.dialled("q:1"), 1)

		// Each that returns makes room for one, not only the last of a batch.
		gate <- struct{}{}
		synctest.Wait()
		want(t, "accepted", len(accepted), 1)
		close(gate)
		for range 3 {
			noError(t, <-accepted)
		}
		noError(t, w.Flush(t.Context()))
		want(t, "told", told, 13)
	})
}

func TestWriterCallbackPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		startBroker(t, n.listen("q:1"))
		var log strings.Builder
		w := openWriter(t, n, WriterConfig{
			Addresses: []string{"q:1"}, MaxInFlight: 3, Connection: Connection{Log: slog.New(slog.NewTextHandler(&log, nil))},
		})
		told := 0
		for range 10 {
			noError(t, w.PublishAsync(t.Context(), "t", []byte("x"), func(error) {
				told++
				panic("not today")
			}))
		}
		noError(t, w.Flush(t.Context()))
		want(t, "told", told, 10)
		want(t, "reported", strings.Count(log.String(), "not today"), 10)
	})
}

// TestWriterCallbackPublishes: a done may publish again.
func TestWriterCallbackPublishes(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		var again func(left int) func(error)
		again = func(left int) func(error) {
			return func(err error) {
				if err != nil || left == 0 {
					return
				}
				if err := w.PublishAsync(t.Context(), "t", fmt.Append(nil, left), again(left-1)); err != nil {
					t.Error(err)
				}
				if err := w.Publish(t.Context(), "t", fmt.Append(nil, left)); err != nil {
					t.Error(err)
				}
			}
		}
		noError(t, w.PublishAsync(t.Context(), "t", []byte("x"), again(10)))
		for range 12 {
			noError(t, w.Flush(t.Context()))
		}
		want(t, "stored", len(b.bodies("t")), 21)
	})
}

// TestWriterForgetsTheForsaken: a message whose publisher was told that it is uncertain is not
// sent again when the daemon then refuses it; those that shared its command are.
func TestWriterForgetsTheForsaken(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		holdPublishes(b)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		o := outcomes{t: t}
		noError(t, w.PublishAsync(t.Context(), "t", []byte("first"), nil)) // the others gather behind it
		synctest.Wait()
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		forsaken := make(chan error, 1)
		go func() { forsaken <- w.Publish(ctx, "t", []byte("forsaken")) }()
		noError(t, w.PublishAsync(t.Context(), "t", []byte("last"), o.of("last")))
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		cancel()
		want(t, "the forsaken", kind(t, <-forsaken), "uncertain")
		b.mu.Lock()
		b.intercept = nil
		b.mu.Unlock()
		b.each(func(s *session) {
			s.sendLocked(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK))
			s.sendLocked(protocol.AppendFrame(nil, protocol.FrameError, "E_MPUB_FAILED MPUB failed DRAINING: go away"))
			s.ended = true
		})
		noError(t, w.Flush(t.Context()))
		want(t, "told", o.told, []string{"last stored"})
		want(t, "stored", b.bodies("t"), []string{"last"})
		want(t, "statistics", w.Stats(), WriterStats{Connections: 1, Published: 2, Uncertain: 1, Retried: 1, Batches: 2})
	})
}

// TestWriterRoomLeftByWhoGaveUp: one that is small does not wait behind one that is large and
// has given up.
func TestWriterRoomLeftByWhoGaveUp(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, MaxInFlight: 3, CloseTimeout: time.Millisecond})
		noError(t, w.PublishManyAsync(t.Context(), "t", bytesOf("a", "b"), nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { _ = w.PublishManyAsync(ctx, "t", bytesOf("c", "d"), nil) }()
		synctest.Wait()
		began := time.Now()
		noError(t, w.PublishAsync(t.Context(), "t", []byte("e"), nil))
		want(t, "waited", time.Since(began), time.Second)
	})
}
