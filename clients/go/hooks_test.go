package millrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPanics has everything of the program's that a Reader calls panic: the Reader
// goes on, says so with the place, and what was not answered comes again.
func TestPanics(t *testing.T) {
	type calls struct{ handled, idle, hook, up int }
	for name, c := range map[string]struct {
		configure func(c *ReaderConfig, n *calls)
		finished  int // of three messages, in a minute
		requeued  int
	}{
		"a handler": {func(c *ReaderConfig, n *calls) {
			c.Handler = HandlerFunc(func(_ context.Context, m *Message) error {
				if n.handled++; m.Attempts < 2 {
					panic("oh")
				}
				return nil
			})
		}, 3, 3},
		"a handler that has answered": {func(c *ReaderConfig, n *calls) {
			c.Handler = HandlerFunc(func(_ context.Context, m *Message) error {
				m.Finish()
				panic(errors.New("oh"))
			})
		}, 3, 0},
		"a batch handler": {func(c *ReaderConfig, n *calls) {
			c.Handler = nil
			c.BatchHandler = BatchHandlerFunc(func(_ context.Context, batch []*Message) error {
				if n.handled += len(batch); n.handled <= 3 {
					_ = batch[len(batch)]
				}
				return nil
			})
		}, 3, 3},
		"OnIdle": {func(c *ReaderConfig, n *calls) {
			c.OnIdle = func() { n.idle++; panic("oh") }
		}, 3, 0},
		"OnHandled": {func(c *ReaderConfig, n *calls) {
			c.OnHandled = func(Handled) { n.hook++; panic("oh") }
		}, 3, 0},
		"OnGiveUp": {func(c *ReaderConfig, n *calls) {
			c.MaxAttempts = 1
			c.Handler = HandlerFunc(func(context.Context, *Message) error { return errors.New("no") })
			c.OnGiveUp = HandlerFunc(func(_ context.Context, m *Message) error {
				if n.up++; m.Attempts < 3 {
					panic("oh")
				}
				return nil
			})
		}, 3, 6},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				var said strings.Builder
				config := ReaderConfig{
					Addresses: []string{"q:1"}, Handler: &recorder{}, RequeueDelay: time.Second,
					Connection: Connection{Log: slog.New(slog.NewTextHandler(&said, nil))},
				}
				var n0 calls
				c.configure(&config, &n0)
				r := startReader(t, n, config)
				for _, body := range []string{"a", "b", "c"} {
					b.put("t", body)
					pass(time.Millisecond)
				}
				pass(time.Minute)
				want(t, "finished", len(b.finishedBodies()), c.finished)
				want(t, "requeued", len(b.requeued), c.requeued)
				want(t, "connections", n.dialled("q:1"), 1)
				r.stop()
				for _, words := range []string{"level=ERROR", "panicked", "hooks_test.go"} {
					if !strings.Contains(said.String(), words) {
						t.Errorf("the log does not say %q:\n%s", words, said.String())
					}
				}
			})
		})
	}
}

// TestGoexit has what a Reader calls end its goroutine, as FailNow of package
// testing does: nothing is lost by it, and as many handlers run as before.
func TestGoexit(t *testing.T) {
	type config = ReaderConfig
	for name, configure := range map[string]func(c *config, exit func()){
		"a handler": func(c *config, exit func()) {
			c.Handler = HandlerFunc(func(context.Context, *Message) error { exit(); return nil })
		},
		"a batch handler": func(c *config, exit func()) {
			c.BatchHandler = BatchHandlerFunc(func(context.Context, []*Message) error { exit(); return nil })
		},
		"OnIdle":    func(c *config, exit func()) { c.Handler, c.OnIdle = &recorder{}, exit },
		"OnHandled": func(c *config, exit func()) { c.Handler, c.OnHandled = &recorder{}, func(Handled) { exit() } },
		"OnGiveUp": func(c *config, exit func()) {
			c.MaxAttempts = 1
			c.Handler = HandlerFunc(func(context.Context, *Message) error { return errors.New("no") })
			c.OnGiveUp = HandlerFunc(func(context.Context, *Message) error { exit(); return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				list := touches(b)
				var said strings.Builder
				var mu sync.Mutex
				exits := 0
				c := ReaderConfig{
					Addresses: []string{"q:1"}, RequeueDelay: time.Second, Concurrency: 2,
					Connection: Connection{Log: slog.New(slog.NewTextHandler(&said, nil))},
				}
				configure(&c, func() {
					mu.Lock()
					exits++
					first := exits <= 5 // more than there are workers
					mu.Unlock()
					if first {
						runtime.Goexit()
					}
				})
				r := startReader(t, n, c)
				for i := range 10 {
					b.put("t", fmt.Sprint(i))
					pass(time.Second)
				}
				pass(time.Hour)
				if name == "OnIdle" {
					want(t, "calls", exits, 10)
				}
				bodies := b.finishedBodies()
				slices.Sort(bodies)
				want(t, "finished", slices.Compact(bodies), []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"})
				want(t, "touched", len(*list), 0)
				want(t, "busy workers", r.queue.busy, 0)
				want(t, "in flight", r.Stats().InFlight, 0)
				r.stop()
				for _, words := range []string{"level=ERROR", "Goexit", "hooks_test.go"} {
					if !strings.Contains(said.String(), words) {
						t.Errorf("the log does not say %q:\n%s", words, said.String())
					}
				}
			})
		})
	}
}

// TestOnHandled: what it is told, of one message, of a batch, and of one given up.
func TestOnHandled(t *testing.T) {
	failure := errors.New("no")
	for name, c := range map[string]struct {
		config ReaderConfig
		want   []Handled
	}{
		"messages": {ReaderConfig{Handler: HandlerFunc(func(_ context.Context, m *Message) error {
			time.Sleep(time.Second)
			switch string(m.Body) {
			case "bad":
				return failure
			case "later":
				return ErrAnswerLater
			}
			return nil
		})}, []Handled{
			{1, 0, time.Second, nil}, {1, 0, time.Second, failure}, {1, 0, time.Second, ErrAnswerLater},
		}},
		"a batch": {ReaderConfig{BatchWait: time.Second, BatchHandler: BatchHandlerFunc(func(context.Context, []*Message) error {
			time.Sleep(2 * time.Second)
			return failure
		})}, []Handled{{3, 0, 2 * time.Second, failure}}},
		"one given up": {ReaderConfig{
			MaxAttempts: 1, RequeueDelay: -1,
			Handler: HandlerFunc(func(_ context.Context, m *Message) error {
				if string(m.Body) == "bad" {
					return failure
				}
				return nil
			}),
			OnGiveUp: HandlerFunc(func(context.Context, *Message) error { time.Sleep(time.Minute); return nil }),
		}, []Handled{{1, 0, 0, nil}, {1, 0, 0, failure}, {1, 0, 0, nil}, {1, 0, time.Minute, nil}}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				b.put("t", "good", "bad", "later")
				var got []Handled
				var ages []time.Duration
				c.config.Addresses = []string{"q:1"}
				c.config.OnHandled = func(h Handled) {
					ages = append(ages, h.Age)
					h.Age = 0
					got = append(got, h)
				}
				c.config.RequeueDelay = min(c.config.RequeueDelay, 0)
				if c.config.RequeueDelay == 0 {
					c.config.RequeueDelay = time.Hour
				}
				r := startReader(t, n, c.config)
				pass(2 * time.Minute)
				r.cancel()
				<-r.ended
				want(t, "told", got, c.want)
				// The broker's messages are one nanosecond old in 1970.
				if age := time.Since(time.Unix(0, 1)); ages[0] > age || ages[0] < age-time.Hour {
					t.Errorf("age %v, want about %v", ages[0], age)
				}
			})
		})
	}
}

func TestMessageOfATest(t *testing.T) {
	m := &Message{Body: []byte("x")}
	m.Touch()
	m.Finish()
	m.Requeue(-1)
	want(t, "a clone", string(m.Clone().Body), "x")
}
