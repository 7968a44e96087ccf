package millrace

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

func TestShutdownGivesBackWhatWasNotBegun(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", numbered(100)...)
		var rec recorder
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: HandlerFunc(func(ctx context.Context, m *Message) error {
			time.Sleep(3 * time.Second)
			if ctx.Err() != nil {
				t.Error("the handler's context ended with Run's")
			}
			return rec.Handle(ctx, m)
		})})
		pass(4 * time.Second)
		began := time.Now()
		r.stop()
		want(t, "took", time.Since(began), 2*time.Second)
		want(t, "handled", rec.got(), []string{"m00000", "m00001"})
		want(t, "finished", b.finishedBodies(), []string{"m00000", "m00001"})
		want(t, "given back", len(b.requeued), 98)
		want(t, "all at once", b.requeued[0], "m00002 0")
		want(t, "queued", len(b.bodies("t")), 98)
	})
}

func TestShutdownWaitsForKeptMessages(t *testing.T) {
	for name, c := range map[string]struct {
		answerAfter, took time.Duration
		finished          int
	}{
		"answered in time": {3 * time.Second, 3 * time.Second, 2},
		"never answered":   {time.Hour, 10 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				b.put("t", "a", "b")
				var held []*Message
				r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: HandlerFunc(func(_ context.Context, m *Message) error {
					held = append(held, m)
					return ErrAnswerLater
				})})
				synctest.Wait()
				began := time.Now()
				answer := time.AfterFunc(c.answerAfter, func() {
					for _, m := range held {
						m.Finish()
					}
				})
				defer answer.Stop()
				r.stop()
				want(t, "took", time.Since(began), c.took)
				synctest.Wait()
				want(t, "finished", len(b.finishedBodies()), c.finished)
				want(t, "said", slices.ContainsFunc(b.requeued, func(string) bool { return true }), false)
			})
		})
	}
}

func TestShutdownCancelsHandlersAfterAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", "a")
		r := startReader(t, n, ReaderConfig{
			Addresses: []string{"q:1"}, ShutdownTimeout: 4 * time.Second,
			Handler: HandlerFunc(func(ctx context.Context, m *Message) error { <-ctx.Done(); return ctx.Err() }),
		})
		synctest.Wait()
		began := time.Now()
		r.stop()
		want(t, "took", time.Since(began) < 6*time.Second, true)
	})
}

// TestShutdownWithAMessageUnderWay has a daemon send a message before it hears
// of CLS, so that message and CLOSE_WAIT come together.
func TestShutdownWithAMessageUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
			if l.Verb == protocol.Cls {
				s.put("t", "x")
			}
			return false
		}
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: &recorder{}})
		pass(time.Second)
		began := time.Now()
		r.stop()
		synctest.Wait()
		want(t, "took", time.Since(began), time.Duration(0))
		want(t, "answered", len(b.requeued)+len(b.finished), 1)
	})
}

// TestShutdownOfADeadDaemon checks that a daemon that says nothing, or is being
// connected to, does not hold up the end for longer than the timeout.
func TestShutdownOfADeadDaemon(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		_ = n.listen("q:2") // never accepts
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1", "q:2", "q:3"}, Handler: &recorder{}})
		pass(time.Second)
		b.each(func(s *session) { s.silent = true })
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestOnIdle(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", numbered(500)...)
		var held []*Message
		var sizes []int
		var r *running
		ready := make(chan struct{})
		r = startReader(t, n, ReaderConfig{
			Addresses: []string{"q:1"}, MaxInFlight: 200,
			Handler: HandlerFunc(func(_ context.Context, m *Message) error {
				held = append(held, m)
				return ErrAnswerLater
			}),
			OnIdle: func() {
				<-ready
				if len(held) == 200 && !r.Starved() {
					t.Error("not starved with all credit taken")
				}
				sizes = append(sizes, len(held))
				for _, m := range held {
					m.Finish()
				}
				held = nil
			},
		})
		close(ready)
		pass(time.Minute)
		want(t, "finished", len(b.finishedBodies()), 500)
		want(t, "idle moments without messages", slices.Contains(sizes, 0), false)
		b.put("t", "last")
		pass(time.Minute)
		sizes = sizes[len(sizes)-1:]
		r.stop()
		want(t, "the last idle moments", sizes, []int{1, 0})
	})
}

// TestOnIdleWithManyHandlers checks that calls do not overlap and come only
// when no handler runs.
func TestOnIdleWithManyHandlers(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", numbered(10)...)
		calls := 0
		var handling atomic.Int32
		r := startReader(t, n, ReaderConfig{
			Addresses: []string{"q:1"}, Concurrency: 4,
			Handler: HandlerFunc(func(_ context.Context, m *Message) error {
				defer handling.Add(-1)
				handling.Add(1)
				time.Sleep(time.Second + time.Duration(m.ID[protocol.IDLength-1])*time.Millisecond)
				return nil
			}),
			OnIdle: func() {
				want(t, "handlers running", handling.Load(), int32(0))
				calls++
				time.Sleep(time.Second)
			},
		})
		pass(4 * time.Second) // handlers take 4 + 4 + 2 messages
		want(t, "calls", calls, 1)
		want(t, "finished", len(b.finishedBodies()), 10)
		pass(time.Minute)
		want(t, "calls without messages", calls, 1)
		r.stop()
		want(t, "calls", calls, 2)
	})
}
