package millrace

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// inBubble runs f with a fake clock and a network in memory. It fails if f
// leaves a goroutine behind.
func inBubble(t *testing.T, f func(t *testing.T, n *pipeNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newPipeNet()) })
}

func openWriter(t *testing.T, n *pipeNet, c WriterConfig) *Writer {
	t.Helper()
	c.Dial = n.dial
	w, err := NewWriter(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func bytesOf(bodies ...string) (b [][]byte) {
	for _, s := range bodies {
		b = append(b, []byte(s))
	}
	return b
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kind names what the type of a publish's error says, and fails the test if it
// has none of the types that it may have.
func kind(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "stored"
	}
	if err == ErrClosed {
		return "closed"
	}
	switch e := err.(type) {
	case *RefusedError:
		want(t, "Retryable", e.Retryable(), false)
		return "refused"
	case *UnavailableError:
		want(t, "Retryable", e.Retryable(), true)
		return "unavailable"
	case *UncertainError:
		want(t, "Retryable", e.Retryable(), true)
		return "uncertain"
	}
	t.Fatalf("%T: %v", err, err)
	return ""
}

// outcomes are what a publish's callbacks were told, in order.
type outcomes struct {
	t    *testing.T
	told []string // names and kinds
	errs map[string]error
}

// of returns a done that takes down the outcome of what has this name.
func (o *outcomes) of(name string) func(error) {
	return func(err error) {
		if o.errs == nil {
			o.errs = map[string]error{}
		}
		o.errs[name] = err
		o.told = append(o.told, name+" "+kind(o.t, err))
	}
}

// publishesOf returns the publishes that a broker was sent on the connections
// that there are now.
func publishesOf(b *broker) (list []string) {
	b.each(func(s *session) {
		for _, c := range s.commands {
			if strings.Contains(c, "PUB") {
				list = append(list, c)
			}
		}
	})
	return list
}

// answer sends OK to n publishes on each connection.
func answer(b *broker, n int) {
	b.each(func(s *session) {
		for range n {
			s.sendLocked(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK))
		}
	})
}

func TestWriterPublishes(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		ctx := t.Context()
		o := outcomes{t: t}
		noError(t, w.Publish(ctx, "t", []byte("a")))
		noError(t, w.PublishMany(ctx, "t", bytesOf("b", "c")))
		noError(t, w.PublishDeferred(ctx, "t", 1500*time.Millisecond, []byte("d")))
		noError(t, w.PublishAsync(ctx, "t", []byte("e"), o.of("e")))
		noError(t, w.PublishManyAsync(ctx, "t", bytesOf("f", "g"), o.of("fg")))
		noError(t, w.PublishDeferredAsync(ctx, "t", 0, []byte("h"), o.of("h")))
		noError(t, w.PublishManyAsync(ctx, "t", bytesOf("i"), nil))
		noError(t, w.Flush(ctx))
		want(t, "stored", b.bodies("t"), strings.Split("abcdefghi", ""))
		want(t, "commands", publishesOf(b), []string{"PUB t", "MPUB t", "DPUB t 1500", "PUB t", "MPUB t", "DPUB t 0", "PUB t"})
		want(t, "told", o.told, []string{"e stored", "fg stored", "h stored"})
		want(t, "connections", n.dialled("q:1"), 1)
		want(t, "statistics", w.Stats(), WriterStats{Connections: 1, Published: 9, Batches: 7})
	})
}

func TestWriterRefusesWhatTheDaemonWould(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		ctx := t.Context()
		for name, err := range map[string]error{
			"topic":          w.Publish(ctx, "bad topic", []byte("x")),
			"long topic":     w.PublishAsync(ctx, strings.Repeat("x", 65), []byte("x"), nil),
			"empty":          w.Publish(ctx, "t", nil),
			"too large":      w.PublishMany(ctx, "t", slices.Repeat([][]byte{make([]byte, 1<<20)}, 2<<10)),
			"none":           w.PublishMany(ctx, "t", nil),
			"empty in batch": w.PublishMany(ctx, "t", bytesOf("x", "")),
			"negative delay": w.PublishDeferred(ctx, "t", -1, []byte("x")),
			"async":          w.PublishAsync(ctx, "t", nil, nil),
			"many async":     w.PublishManyAsync(ctx, "t", bytesOf(""), nil),
			"deferred async": w.PublishDeferredAsync(ctx, "t/", 0, []byte("x"), nil),
		} {
			want(t, name, kind(t, err), "refused")
		}
		want(t, "connections", n.dialled("q:1"), 0)
	})
}

func TestConfigErrorsComeTogether(t *testing.T) {
	_, err := NewWriter(WriterConfig{
		Addresses: []string{"noport"}, Lookupds: []string{"ftp://x"}, MaxInFlight: -1, Linger: time.Second,
		Connection: Connection{HeartbeatInterval: time.Millisecond},
	})
	for _, s := range []string{"noport", "ftp://x", "MaxInFlight", "Linger", "HeartbeatInterval"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%v does not tell of %s", err, s)
		}
	}
	if _, err = NewWriter(WriterConfig{}); err == nil || !strings.Contains(err.Error(), "Addresses or Lookupds") {
		t.Errorf("%v does not tell what is missing", err)
	}
	_, err = NewReader(ReaderConfig{Topic: "a b", Lookupds: []string{"ftp://x", "portless"}, Concurrency: -1})
	for _, s := range []string{"topic", "channel", "ftp://x", "portless", "Concurrency"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%v does not tell of %s", err, s)
		}
	}
}

// holdPublishes makes a broker take publishes without answering or storing them.
func holdPublishes(b *broker) {
	b.intercept = func(_ *session, l protocol.Line, _ []byte) bool {
		return l.Verb == protocol.Pub || l.Verb == protocol.MPub || l.Verb == protocol.DPub
	}
}

// storeSilently makes a broker store publishes and not answer them.
func storeSilently(b *broker) {
	b.intercept = func(s *session, l protocol.Line, body []byte) bool {
		if l.Verb == protocol.Pub {
			s.put(string(l.Args[0]), string(body))
		}
		return l.Verb == protocol.Pub || l.Verb == protocol.MPub
	}
}

func TestWriterHeartbeats(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Connection: Connection{HeartbeatInterval: 10 * time.Second}})
		noError(t, w.Publish(t.Context(), "t", []byte("x")))
		time.Sleep(time.Hour)
		noError(t, w.Publish(t.Context(), "t", []byte("x")))
		want(t, "connections after an hour's silence", n.dialled("q:1"), 1)

		b.each(func(s *session) { s.silent = true })
		began := time.Now()
		want(t, "outcome", kind(t, w.Publish(t.Context(), "t", []byte("x"))), "uncertain")
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("a dead daemon was noticed after %v", took)
		}
	})
}

func TestWriterManyGoroutines(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, MaxInFlight: 3})
		done := make(chan error)
		for g := range 20 {
			go func() {
				var err error
				for i := range 50 {
					err = errors.Join(err, w.Publish(t.Context(), "t", fmt.Appendf(nil, "%d-%d", g, i)),
						w.PublishAsync(t.Context(), "t", []byte("a"), func(err error) {
							if err != nil {
								t.Error(err)
							}
						}))
					if s := w.Stats(); s.InFlight > 3 {
						t.Errorf("%d are in flight", s.InFlight)
					}
				}
				done <- errors.Join(err, w.Flush(t.Context()))
			}()
		}
		for range 20 {
			noError(t, <-done)
		}
		want(t, "stored", len(b.bodies("t")), 2000)
		want(t, "connections", n.dialled("q:1"), 1)
	})
}

func TestWriterCutInsideAnAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
			if l.Verb == protocol.Pub {
				s.mu.Lock()
				s.sendLocked([]byte("\x00\x00\x00\x06\x00\x00\x00\x00O"))
				s.ended = true
				s.mu.Unlock()
			}
			return l.Verb == protocol.Pub
		}
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		err := w.Publish(t.Context(), "t", []byte("x"))
		want(t, "outcome", kind(t, err), "uncertain")
		want(t, "the reason", errors.Is(err, io.ErrUnexpectedEOF), true)
	})
}

// TestWriterGarbage has daemons answer a publish with what is no answer.
func TestWriterGarbage(t *testing.T) {
	for name, answer := range map[string][]byte{
		"a frame of 2 GB":   {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"a negative size":   {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"an unknown frame":  protocol.AppendFrame(nil, 7, "?"),
		"a message":         protocol.AppendMessage(nil, 1, 1, 1, []byte("x")),
		"another response":  protocol.AppendFrame(nil, protocol.FrameResponse, "YES"),
		"a frame that ends": {0, 0, 0, 9, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
					if l.Verb != protocol.Pub {
						return false
					}
					s.mu.Lock()
					defer s.mu.Unlock()
					s.sendLocked(answer)
					s.ended = true
					return true
				}
				w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
				err := w.Publish(t.Context(), "t", []byte("x"))
				want(t, "outcome", kind(t, err), "uncertain")
				if !strings.Contains(err.Error(), "q:1") {
					t.Errorf("%v does not say who", err)
				}
			})
		})
	}
}

// TestWriterAnswerToNothing: an answer that belongs to no publish ends the
// connection, not the Writer.
func TestWriterAnswerToNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		noError(t, w.Publish(t.Context(), "t", []byte("a")))
		answer(b, 1)
		synctest.Wait()
		noError(t, w.Publish(t.Context(), "t", []byte("b")))
		want(t, "stored", b.bodies("t"), []string{"a", "b"})
		want(t, "connections", n.dialled("q:1"), 2)
	})
}
