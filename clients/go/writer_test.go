package millrace

import (
	"context"
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

func uncertain(err error) bool {
	_, ok := errors.AsType[*UncertainError](err)
	return ok
}

func TestWriterPublishes(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		ctx := t.Context()
		noError(t, w.Publish(ctx, "t", []byte("a")))
		noError(t, w.PublishMany(ctx, "t", bytesOf("b", "c")))
		noError(t, w.PublishDeferred(ctx, "t", 1500*time.Millisecond, []byte("d")))
		noError(t, w.PublishAsync(ctx, "t", bytesOf("e"), func(err error) { noError(t, err) }))
		noError(t, w.PublishAsync(ctx, "t", bytesOf("f", "g"), func(err error) { noError(t, err) }))
		noError(t, w.Flush(ctx))
		want(t, "stored", b.bodies("t"), strings.Split("abcdefg", ""))
		b.each(func(s *session) {
			want(t, "commands", s.commands[1:], []string{"PUB t", "MPUB t", "DPUB t 1500", "PUB t", "MPUB t"})
		})
		want(t, "connections", n.dialled("q:1"), 1)
	})
}

func TestWriterRefusesWhatTheDaemonWould(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		for name, err := range map[string]error{
			"topic":          w.Publish(t.Context(), "bad topic", []byte("x")),
			"empty":          w.Publish(t.Context(), "t", nil),
			"none":           w.PublishMany(t.Context(), "t", nil),
			"empty in batch": w.PublishMany(t.Context(), "t", bytesOf("x", "")),
			"negative delay": w.PublishDeferred(t.Context(), "t", -1, []byte("x")),
			"async":          w.PublishAsync(t.Context(), "t", nil, nil),
		} {
			if err == nil || uncertain(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
		want(t, "connections", n.dialled("q:1"), 0)
	})
}

func TestConfigErrorsComeTogether(t *testing.T) {
	_, err := NewWriter(WriterConfig{Addresses: []string{"noport"}, MaxInFlight: -1, Connection: Connection{HeartbeatInterval: time.Millisecond}})
	for _, s := range []string{"noport", "MaxInFlight", "HeartbeatInterval"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%v does not tell of %s", err, s)
		}
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

func TestWriterPipelines(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		holdPublishes(b)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, MaxInFlight: 50})
		var order []int
		for i := range 50 {
			noError(t, w.PublishAsync(t.Context(), "t", bytesOf("x"), func(err error) {
				noError(t, err)
				order = append(order, i)
			}))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := w.PublishAsync(short, "t", bytesOf("x"), nil)
		want(t, "the 51st", err, context.DeadlineExceeded)
		want(t, "Flush", errors.Is(w.Flush(short), context.DeadlineExceeded), true)
		synctest.Wait()
		b.each(func(s *session) {
			want(t, "unanswered commands", len(s.commands), 51)
			for range 50 {
				s.sendLocked(protocol.AppendFrame(nil, protocol.FrameResponse, "OK"))
			}
		})
		noError(t, w.Flush(t.Context()))
		want(t, "done", len(order), 50)
		want(t, "done in order", slices.IsSorted(order), true)
	})
}

func TestWriterDaemonGoneBeforeItsAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		second := startBroker(t, n.listen("q:2"))
		b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
			if string(l.Args[0]) == "die" {
				_ = s.nc.Close()
				return true
			}
			return l.Verb == protocol.MPub
		}
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1", "q:2"}})
		var outcomes []error
		for range 3 {
			noError(t, w.PublishAsync(t.Context(), "t", bytesOf("x", "y"), func(err error) { outcomes = append(outcomes, err) }))
		}
		err := w.Publish(t.Context(), "die", []byte("x"))
		if e, ok := errors.AsType[*UncertainError](err); !ok || e.Address != "q:1" || !errors.Is(err, io.EOF) {
			t.Fatalf("publish: %v", err)
		}
		want(t, "answered", len(outcomes), 3)
		for _, err := range outcomes {
			want(t, "uncertain", uncertain(err), true)
		}
		noError(t, w.Publish(t.Context(), "t", []byte("z")))
		want(t, "stored by the second", second.bodies("t"), []string{"z"})
	})
}

// TestWriterRefusal checks that a refused publish takes nothing else with it:
// those behind it are certainly not stored, so synchronous ones go again.
func TestWriterRefusal(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		gate := make(chan struct{})
		b.intercept = func(_ *session, l protocol.Line, _ []byte) bool {
			if string(l.Args[0]) == "gate" {
				<-gate
			}
			return false
		}
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		results := map[string]error{}
		record := func(name string) func(error) { return func(err error) { results[name] = err } }
		ctx := t.Context()
		noError(t, w.PublishAsync(ctx, "gate", bytesOf("a", "b"), record("first")))
		tooBig := [][]byte{make([]byte, 2<<20)}
		noError(t, w.PublishAsync(ctx, "t", append(tooBig, []byte("x")), record("refused")))
		noError(t, w.PublishAsync(ctx, "t", bytesOf("y"), record("behind")))
		sync := make(chan error, 1)
		go func() { sync <- w.Publish(ctx, "t", []byte("again")) }()
		synctest.Wait()
		close(gate)
		noError(t, <-sync)
		want(t, "first", results["first"], error(nil))
		if e, ok := errors.AsType[*protocol.Error](results["refused"]); !ok || e.Code != protocol.EBadMessage {
			t.Errorf("refused: %v", results["refused"])
		}
		if err := results["behind"]; err == nil || uncertain(err) {
			t.Errorf("behind: %v", err)
		}
		want(t, "stored", b.bodies("t"), []string{"again"})
	})
}

func TestWriterTriesAnotherDaemonWhenOneCannotStore(t *testing.T) {
	for _, c := range []struct {
		code     string
		elswhere bool
	}{{protocol.EPubFailed, true}, {protocol.EBadTopic, false}} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			full := startBroker(t, n.listen("q:1"))
			full.intercept = func(s *session, l protocol.Line, _ []byte) bool {
				if l.Verb == protocol.Pub {
					s.send(protocol.FrameError, c.code+" PUB failed")
				}
				return l.Verb == protocol.Pub
			}
			other := startBroker(t, n.listen("q:2"))
			w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1", "q:2"}})
			err := w.Publish(t.Context(), "t", []byte("x"))
			want(t, c.code+" ends well", err == nil, c.elswhere)
			want(t, "stored elsewhere", len(other.bodies("t")) == 1, c.elswhere)
		})
	}
}

func TestWriterDaemonBackLater(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		err := w.Publish(t.Context(), "t", []byte("x"))
		if err == nil || uncertain(err) || !strings.Contains(err.Error(), "q:1") {
			t.Fatal(err)
		}
		b := newBroker(t)
		for i := range 3 {
			b.start(n.listen("q:1"))
			noError(t, w.Publish(t.Context(), "t", fmt.Append(nil, i)))
			b.stop()
			synctest.Wait()
		}
		want(t, "stored", b.bodies("t"), []string{"0", "1", "2"})
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
		want(t, "uncertain", uncertain(w.Publish(t.Context(), "t", []byte("x"))), true)
	})
}

func TestWriterStopsWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		holdPublishes(startBroker(t, n.listen("q:1")))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := w.Publish(ctx, "t", []byte("x"))
		want(t, "uncertain", uncertain(err) && errors.Is(err, context.DeadlineExceeded), true)
		began := time.Now()
		want(t, "Close in time", w.Close() != nil && time.Since(began) == closeTimeout, true)
	})
}

func TestWriterClose(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		answered := 0
		for range 20 {
			noError(t, w.PublishAsync(t.Context(), "t", bytesOf("x"), func(err error) {
				noError(t, err)
				answered++
			}))
		}
		noError(t, w.Close())
		want(t, "answered", answered, 20)
		want(t, "stored", len(b.bodies("t")), 20)
		for _, err := range []error{
			w.Close(), w.Publish(t.Context(), "t", []byte("x")), w.PublishMany(t.Context(), "t", bytesOf("x")),
			w.PublishDeferred(t.Context(), "t", 0, []byte("x")), w.PublishAsync(t.Context(), "t", bytesOf("x"), nil),
		} {
			want(t, "after Close", err, ErrClosed)
		}
	})
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
		want(t, "uncertain", uncertain(w.Publish(t.Context(), "t", []byte("x"))), true)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("a dead daemon was noticed after %v", took)
		}
	})
}

// TestWriterDaemonDoesNotRead checks that publishes wait rather than pile up,
// and that those which never left are known not to be stored.
func TestWriterDaemonDoesNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		stuck := make(chan struct{})
		b.intercept = func(_ *session, l protocol.Line, _ []byte) bool {
			if l.Verb == protocol.Pub {
				<-stuck
			}
			return false
		}
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, MaxInFlight: 1000, Connection: Connection{WriteTimeout: 3 * time.Second}})
		body := [][]byte{make([]byte, 100<<10)}
		accepted, sure, unsure := 0, 0, 0
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := w.PublishAsync(ctx, "t", body, func(err error) {
				if uncertain(err) {
					unsure++
				} else if err != nil {
					sure++
				}
			})
			cancel()
			if err != nil {
				break
			}
			accepted++
		}
		if accepted > 40 {
			t.Errorf("%d publishes of 100 KiB were accepted", accepted)
		}
		noError(t, w.Flush(t.Context())) // the write times out
		want(t, "told", sure+unsure, accepted)
		if sure == 0 || unsure == 0 {
			t.Errorf("%d surely not stored, %d unsure", sure, unsure)
		}
		close(stuck)
	})
}

// TestWriterHearsTheLastAnswer has a daemon answer one publish and close while
// another is being written: the failed write must not hide the answer.
func TestWriterHearsTheLastAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
			if l.Verb != protocol.Pub {
				return false
			}
			time.Sleep(time.Second) // until the batch fills the pipe
			s.mu.Lock()
			s.sendLocked(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK))
			s.ended = true
			s.mu.Unlock()
			time.Sleep(time.Second) // reading on would let the batch be sent
			return true
		}
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		var first, second error
		noError(t, w.PublishAsync(t.Context(), "t", bytesOf("x"), func(err error) { first = err }))
		noError(t, w.PublishAsync(t.Context(), "t", [][]byte{{'y'}, make([]byte, 2*streamLimit)}, func(err error) { second = err }))
		noError(t, w.Flush(t.Context()))
		want(t, "answered", first, error(nil))
		want(t, "never sent whole", second != nil && !uncertain(second), true)
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
						w.PublishAsync(t.Context(), "t", bytesOf("a"), func(err error) { noError(t, err) }))
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
