package millrace

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pullingReader returns a Reader to range over.
func pullingReader(t *testing.T, n *pipeNet, c ReaderConfig) *Reader {
	t.Helper()
	c.Dial, c.Topic, c.Channel, c.Addresses = n.dial, "t", "c", []string{"q:1"}
	r, err := NewReader(c)
	noError(t, err)
	t.Cleanup(func() { noError(t, r.Close()) })
	return r
}

func TestMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", numbered(1000)...)
		r := pullingReader(t, n, ReaderConfig{})
		var got []string
		for m, err := range r.Messages(t.Context()) {
			noError(t, err)
			got = append(got, string(m.Body))
			m.Finish()
			if len(got) == 500 {
				break
			}
		}
		want(t, "yielded", got, numbered(500))
		want(t, "finished", b.finishedBodies(), numbered(500))
		want(t, "on the daemon", len(b.bodies("t")), 500)
		want(t, "most in flight", b.maxOut, 200)
		for _, err := range r.Messages(t.Context()) {
			want(t, "a second loop", err.Error(), "a reader runs only once")
		}
	})
}

// TestMessagesEnd ends loops in each way, while a message is in the body's hands or not.
func TestMessagesEnd(t *testing.T) {
	stopped := errors.New("stopped")
	for name, c := range map[string]struct {
		puts  int
		end   func(r *Reader, cancel context.CancelCauseFunc)
		error error
	}{
		"its context, idle":           {0, func(_ *Reader, cancel context.CancelCauseFunc) { cancel(stopped) }, context.Canceled},
		"its context, with a message": {3, func(_ *Reader, cancel context.CancelCauseFunc) { cancel(stopped) }, context.Canceled},
		"Close, idle":                 {0, func(r *Reader, _ context.CancelCauseFunc) { noError(t, r.Close()) }, nil},
		"Close, with a message":       {3, func(r *Reader, _ context.CancelCauseFunc) { noError(t, r.Close()) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				bodies := numbered(c.puts)
				b.put("t", bodies...)
				r := pullingReader(t, n, ReaderConfig{})
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				time.AfterFunc(time.Second, func() { c.end(r, cancel) })
				var got error
				began := time.Now()
				for m, err := range r.Messages(ctx) {
					if got = err; err != nil {
						continue
					}
					time.Sleep(2 * time.Second)
					m.Finish()
				}
				want(t, "ended with", got, c.error)
				want(t, "took at most", time.Since(began) <= 2*time.Second, true)
				want(t, "finished", b.finishedBodies(), bodies[:min(1, c.puts)])
				want(t, "on the daemon", len(b.bodies("t")), max(0, c.puts-1))
				noError(t, r.Close())
			})
		})
	}
}

// TestMessagesLeft leaves loops with a message that is not answered: it can still
// be, and if it is not, Close gives it back.
func TestMessagesLeft(t *testing.T) {
	for name, leave := range map[string]func(r *Reader) *Message{
		"by break": func(r *Reader) *Message {
			for m := range r.Messages(context.Background()) {
				return m
			}
			return nil
		},
		"by a panic": func(r *Reader) (left *Message) {
			defer func() { _ = recover() }()
			for m := range r.Messages(context.Background()) {
				left = m
				panic("oh")
			}
			return nil
		},
		"by the goroutine's end": func(r *Reader) (left *Message) {
			var ended sync.WaitGroup
			ended.Go(func() {
				for m := range r.Messages(context.Background()) {
					left = m
					runtime.Goexit()
				}
			})
			ended.Wait()
			return left
		},
	} {
		for _, answered := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", answered ", answered), func(t *testing.T) {
				inBubble(t, func(t *testing.T, n *pipeNet) {
					b := startBroker(t, n.listen("q:1"))
					b.put("t", "x", "y")
					r := pullingReader(t, n, ReaderConfig{})
					began := time.Now()
					m := leave(r)
					took := time.Since(began)
					synctest.Wait()
					want(t, "what was not yielded went back", b.bodies("t"), []string{"y"})
					if answered {
						m.Finish()
					}
					noError(t, r.Close())
					want(t, "took", took+time.Since(began), time.Duration(0))
					if answered {
						want(t, "finished", b.finishedBodies(), []string{"x"})
						return
					}
					want(t, "on the daemon", b.bodies("t"), []string{"y", "x"})
					want(t, "as given back", b.requeued, []string{"y 0", "x 0"})
				})
			})
		}
	}
}

// TestMessagesKeptBeyondTheEnd: Close waits for what a loop that ended by itself has
// yielded, and gives none of it back.
func TestMessagesKeptBeyondTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", "x")
		r := pullingReader(t, n, ReaderConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for m, err := range r.Messages(ctx) {
			if err == nil {
				time.AfterFunc(3*time.Second, m.Finish)
			}
		}
		began := time.Now()
		noError(t, r.Close())
		want(t, "took", time.Since(began), 2*time.Second)
		want(t, "finished", b.finishedBodies(), []string{"x"})
	})
}

// TestMessagesOfADeadDaemon: what it cannot say goodbye to does not hold up the caller.
func TestMessagesOfADeadDaemon(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", "x")
		r := pullingReader(t, n, ReaderConfig{})
		began := time.Now()
		for m := range r.Messages(t.Context()) {
			m.Finish()
			b.each(func(s *session) { s.silent = true })
			break
		}
		want(t, "left after", time.Since(began), lingerDelay)
		noError(t, r.Close())
	})
}

func TestMessagesGiveUpAndExpire(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		b.msgTimeout = 10 * time.Second
		b.start(n.listen("q:1"))
		t.Cleanup(b.stop)
		b.put("t", "slow", "late", "later")
		var given []string
		r := pullingReader(t, n, ReaderConfig{MaxAttempts: 1, TouchFor: -1, OnGiveUp: HandlerFunc(func(_ context.Context, m *Message) error {
			given = append(given, fmt.Sprint(string(m.Body), " ", m.Attempts))
			return nil
		})})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for m, err := range r.Messages(ctx) {
			if err != nil {
				break
			}
			want(t, "yielded", string(m.Body), "slow")
			time.Sleep(11 * time.Second)
			m.Finish()
		}
		slices.Sort(given)
		want(t, "given up", given, []string{"late 2", "later 2", "slow 2"})
		s := r.Stats()
		want(t, "counted", []uint64{s.GivenUp, s.Expired}, []uint64{3, 2})
	})
}

// TestMessagesAreTouched while the loop's body has them, and no longer.
func TestMessagesAreTouched(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		list := touches(b)
		b.start(n.listen("q:1"))
		t.Cleanup(b.stop)
		b.put("t", "slow", "kept", "last")
		r := pullingReader(t, n, ReaderConfig{MaxInFlight: 1})
		var kept *Message
		for m, err := range r.Messages(t.Context()) {
			noError(t, err)
			switch string(m.Body) {
			case "slow":
				time.Sleep(70 * time.Second)
				m.Finish()
				time.Sleep(20 * time.Second)
			case "kept":
				kept = m
				go func() {
					time.Sleep(50 * time.Second)
					m.Finish()
				}()
				continue
			case "last":
				time.Sleep(35 * time.Second)
				m.Finish()
			}
			if string(m.Body) == "last" {
				break
			}
		}
		pass(time.Hour)
		want(t, "kept", string(kept.Body), "kept")
		want(t, "touched", *list, []string{"1 at 30", "1 at 60", "3 at 170"})
		want(t, "finished", b.finishedBodies(), []string{"slow", "kept", "last"})
	})
}

func TestReadersOfTheWrongKind(t *testing.T) {
	config := ReaderConfig{Topic: "t", Channel: "c", Addresses: []string{"q:1"}}
	pulled, err := NewReader(config)
	noError(t, err)
	if err := pulled.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "range over its Messages") {
		t.Errorf("Run without a handler: %v", err)
	}
	config.Handler = &recorder{}
	handling, err := NewReader(config)
	noError(t, err)
	for m, err := range handling.Messages(t.Context()) {
		if m != nil || err == nil || !strings.Contains(err.Error(), "Run it") {
			t.Errorf("Messages with a handler: %v, %v", m, err)
		}
	}
	noError(t, handling.Close())
	noError(t, handling.Close())
	want(t, "Run after Close", handling.Run(t.Context()), ErrClosed)
	noError(t, pulled.Close())
	for _, err := range pulled.Messages(t.Context()) {
		want(t, "Messages after Close", err, ErrClosed)
	}
}

// TestClose closes a Reader whose handlers do what they like.
func TestClose(t *testing.T) {
	const timeout = 3 * time.Second
	for name, c := range map[string]struct {
		handle func(ctx context.Context, r *Reader) error
		took   time.Duration
		fails  bool
	}{
		"a handler in time":      {func(context.Context, *Reader) error { time.Sleep(2 * time.Second); return nil }, 2 * time.Second, false},
		"one that must be told":  {func(ctx context.Context, _ *Reader) error { <-ctx.Done(); return nil }, timeout, false},
		"one that does not hear": {func(context.Context, *Reader) error { time.Sleep(time.Minute); return nil }, timeout + 5*time.Second, true},
		"one that closes too":    {func(_ context.Context, r *Reader) error { return r.Close() }, timeout + 5*time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				var r *running
				var handling sync.WaitGroup
				handling.Add(1)
				r = startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, ShutdownTimeout: timeout, Handler: HandlerFunc(func(ctx context.Context, _ *Message) error {
					handling.Done()
					return c.handle(ctx, r.Reader)
				})})
				b.put("t", "x")
				handling.Wait()
				began := time.Now()
				err := r.Close()
				want(t, "fails", err != nil, c.fails)
				want(t, "took", time.Since(began), c.took)
				<-r.ended
				noError(t, r.Close())
			})
		})
	}
}

// TestCloseInALoop: the body may call it when it has answered.
func TestCloseInALoop(t *testing.T) {
	for _, answered := range []bool{true, false} {
		t.Run(fmt.Sprint("answered ", answered), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				b.put("t", "x", "y")
				r := pullingReader(t, n, ReaderConfig{ShutdownTimeout: 3 * time.Second})
				took := time.Duration(0)
				for m, err := range r.Messages(t.Context()) {
					noError(t, err)
					if answered {
						m.Finish()
					}
					began := time.Now()
					noError(t, r.Close())
					took = time.Since(began)
				}
				want(t, "took", took, map[bool]time.Duration{true: 0, false: 3 * time.Second}[answered])
				synctest.Wait()
				want(t, "on the daemon", len(b.bodies("t"))+len(b.finishedBodies()), 2)
			})
		})
	}
}
