package millrace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// takingTime makes a broker take its time for each publish.
func takingTime(b *broker, d time.Duration) {
	b.intercept = func(_ *session, l protocol.Line, _ []byte) bool {
		if l.Verb == protocol.Pub || l.Verb == protocol.MPub || l.Verb == protocol.DPub {
			time.Sleep(d)
		}
		return false
	}
}

// TestWriterSharesCommands: who publishes at the same time as others shares
// commands with them.
func TestWriterSharesCommands(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		takingTime(b, 10*time.Millisecond)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		var all sync.WaitGroup
		for i := range 500 {
			all.Go(func() {
				if err := w.Publish(t.Context(), "t", fmt.Append(nil, i)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		want(t, "stored", len(b.bodies("t")), 500)
		if got := publishesOf(b); len(got) > 3 {
			t.Errorf("500 messages went in %d commands", len(got))
		}
	})
}

// TestWriterWaitsForNobodyWhenIdle: a message that finds nothing on its way goes
// at once.
func TestWriterWaitsForNobodyWhenIdle(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		began := time.Now()
		for i := range 100 {
			noError(t, w.Publish(t.Context(), fmt.Sprint("t", i%3), []byte("x")))
		}
		want(t, "took", time.Since(began), time.Duration(0))
		want(t, "commands", len(publishesOf(b)), 100)
	})
}

// TestWriterLinger: what is published while answers are owed waits for company, but not
// for longer than the linger, nor after the answer.
func TestWriterLinger(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		holdPublishes(b)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, BatchMessages: 4})
		publish := func(topic string, count int) {
			for range count {
				noError(t, w.PublishAsync(t.Context(), topic, []byte("x"), nil))
			}
			synctest.Wait()
		}
		publish("a", 1)
		want(t, "when idle", publishesOf(b), []string{"PUB a"})
		publish("a", 2)
		want(t, "with an answer owed", len(publishesOf(b)), 1)
		pass(999 * time.Microsecond)
		publish("a", 1)
		want(t, "shortly before the linger", len(publishesOf(b)), 1)
		pass(time.Microsecond)
		want(t, "after the linger", publishesOf(b)[1:], []string{"MPUB a"})
		publish("a", 4)
		want(t, "when full", publishesOf(b)[2:], []string{"MPUB a"})
		publish("b", 1)
		publish("a", 2)
		want(t, "gathering", len(publishesOf(b)), 3)
		answer(b, 2)
		synctest.Wait()
		want(t, "with one answer still owed", len(publishesOf(b)), 3)
		answer(b, 1)
		synctest.Wait()
		want(t, "when nothing is owed", publishesOf(b)[3:], []string{"PUB b", "MPUB a"})
		answer(b, 2)
	})
}

func TestWriterBatchesHaveAMostOfBytes(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, BatchBytes: 1000})
		noError(t, w.Publish(t.Context(), "t", []byte("x")))
		takingTime(b, 10*time.Microsecond)
		sizes := []int{1, 300, 300, 300, 300, 1000, 2000, 10}
		for _, size := range sizes {
			noError(t, w.PublishAsync(t.Context(), "t", bytes.Repeat([]byte{'x'}, size), nil))
		}
		noError(t, w.Flush(t.Context()))
		var got []int
		for _, body := range b.bodies("t") {
			got = append(got, len(body))
		}
		want(t, "stored in order", got[1:], sizes)
		want(t, "commands", publishesOf(b), []string{"PUB t", "PUB t", "MPUB t", "PUB t", "PUB t", "PUB t", "PUB t"})
	})
}

func TestWriterWithoutBatches(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		holdPublishes(b)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Linger: -1})
		for range 10 {
			noError(t, w.PublishAsync(t.Context(), "t", []byte("x"), nil))
		}
		synctest.Wait()
		want(t, "commands", publishesOf(b), slices.Repeat([]string{"PUB t"}, 10))
		answer(b, 10)
	})
}

// TestWriterOrder: what one goroutine publishes to a topic keeps its order,
// whatever it is published with.
func TestWriterOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		takingTime(b, time.Millisecond)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, BatchMessages: 7})
		o := outcomes{t: t}
		var told []string
		for i := 0; i < 300; i++ {
			body := fmt.Appendf(nil, "m%05d", i)
			switch {
			case i%10 == 3 && i < 299:
				noError(t, w.PublishManyAsync(t.Context(), "t", [][]byte{body, fmt.Appendf(nil, "m%05d", i+1)}, o.of(string(body))))
				i++
			case i%11 == 5:
				noError(t, w.PublishDeferredAsync(t.Context(), "t", 0, body, o.of(string(body))))
			default:
				noError(t, w.PublishAsync(t.Context(), "t", body, o.of(string(body))))
			}
			told = append(told, string(body)+" stored")
		}
		noError(t, w.Flush(t.Context()))
		want(t, "stored", b.bodies("t"), numbered(300))
		want(t, "told", o.told, told)
	})
}

// refusePoison makes a broker refuse commands with a poisonous message in them, as
// nsqd does: with an error, and the end of the connection.
func refusePoison(b *broker, code string) {
	b.intercept = func(s *session, l protocol.Line, body []byte) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ended || !bytes.Contains(body, []byte("poison")) {
			return s.ended
		}
		s.sendLocked(protocol.AppendFrame(nil, protocol.FrameError, code+" "+l.Name+" does not take that"))
		s.silent, s.ended = true, true
		return true
	}
}

// TestWriterPoison: of the messages that share a command, only the one that the
// daemon does not take fails, and every other one is stored once.
func TestWriterPoison(t *testing.T) {
	for _, code := range []string{protocol.EBadMessage, protocol.EBadBody} {
		for _, at := range [][]int{{0}, {50}, {99}, {1, 2}, {0, 99}} {
			t.Run(fmt.Sprint(code, at), func(t *testing.T) {
				inBubble(t, func(t *testing.T, n *pipeNet) {
					b := startBroker(t, n.listen("q:1"))
					w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
					noError(t, w.Publish(t.Context(), "t", []byte("first")))
					refusePoison(b, code)
					o := outcomes{t: t}
					stored := []string{"first"}
					for i, m := range numbered(100) {
						if body := m; slices.Contains(at, i) {
							noError(t, w.PublishAsync(t.Context(), "t", []byte("poison"+body), o.of(body)))
						} else {
							noError(t, w.PublishAsync(t.Context(), "t", []byte(body), o.of(body)))
							stored = append(stored, body)
						}
					}
					noError(t, w.Publish(t.Context(), "other", []byte("innocent")))
					noError(t, w.Flush(t.Context()))
					got := b.bodies("t")
					slices.Sort(got)
					want(t, "stored", got, stored[:len(got)])
					want(t, "all", len(got), len(stored))
					for i, m := range numbered(100) {
						if !slices.Contains(at, i) {
							noError(t, o.errs[m])
							continue
						}
						e, ok := errors.AsType[*RefusedError](o.errs[m])
						if !ok || e.Topic != "t" || e.Address != "q:1" || !strings.Contains(e.Error(), code) {
							t.Errorf("%s: %v", m, o.errs[m])
						}
					}
					want(t, "statistics", w.Stats().Refused, uint64(len(at)))
				})
			})
		}
	}
}

// TestWriterPoisonInAWholeBatch: a batch that is published as one fails as one, and
// those behind it are not affected.
func TestWriterPoisonInAWholeBatch(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		refusePoison(b, protocol.EBadMessage)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		o := outcomes{t: t}
		noError(t, w.PublishManyAsync(t.Context(), "t", bytesOf("a", "b"), o.of("first")))
		noError(t, w.PublishManyAsync(t.Context(), "t", bytesOf("c", "poison"), o.of("poisoned")))
		noError(t, w.PublishManyAsync(t.Context(), "t", bytesOf("d"), o.of("last")))
		noError(t, w.Flush(t.Context()))
		want(t, "told", o.told, []string{"first stored", "poisoned refused", "last stored"})
		want(t, "stored", b.bodies("t"), []string{"a", "b", "d"})
	})
}

// TestWriterKnowsLimits: what a daemon has said that it refuses is not sent.
func TestWriterKnowsLimits(t *testing.T) {
	for _, retryFor := range []time.Duration{0, -1} { // what was not sent is not tried twice
		inBubble(t, func(t *testing.T, n *pipeNet) { knowsLimits(t, n, retryFor) })
	}
}

func knowsLimits(t *testing.T, n *pipeNet, retryFor time.Duration) {
	b := newBroker(t)
	b.offers.extension = &protocol.ExtensionResponse{MaxMsgSize: 100, MaxBodySize: 500, MaxReqTimeout: 60_000}
	b.start(n.listen("q:1"))
	t.Cleanup(b.stop)
	w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, RetryFor: retryFor})
	ctx := t.Context()
	body := func(size int) []byte { return bytes.Repeat([]byte{'x'}, size) }
	noError(t, w.Publish(ctx, "t", body(100)))
	for name, err := range map[string]error{
		"a message":         w.Publish(ctx, "t", body(101)),
		"one of a batch":    w.PublishMany(ctx, "t", [][]byte{body(1), body(101)}),
		"a batch":           w.PublishMany(ctx, "t", slices.Repeat([][]byte{body(50)}, 20)),
		"a deferred one":    w.PublishDeferred(ctx, "t", time.Second, body(101)),
		"deferred too long": w.PublishDeferred(ctx, "t", time.Hour, body(1)),
	} {
		want(t, name, kind(t, err), "refused")
	}
	o := outcomes{t: t}
	takingTime(b, time.Millisecond)
	for _, size := range append([]int{1, 50, 101, 102}, slices.Repeat([]int{90}, 20)...) {
		noError(t, w.PublishAsync(ctx, "t", body(size), o.of(fmt.Sprint(size))))
	}
	noError(t, w.PublishDeferred(ctx, "t", time.Minute, body(2)))
	noError(t, w.Flush(ctx))
	want(t, "connections", n.dialled("q:1"), 1)
	slices.Sort(o.told)
	want(t, "told", o.told, append([]string{"1 stored", "101 refused", "102 refused", "50 stored"}, slices.Repeat([]string{"90 stored"}, 20)...))
	want(t, "stored", len(b.bodies("t")), 24)
}

// TestWriterOfManyTopics publishes to more topics than a Writer remembers
// anything of.
func TestWriterOfManyTopics(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		for i := range 3000 {
			noError(t, w.PublishAsync(context.Background(), fmt.Sprint("t", i%1500), fmt.Append(nil, i), nil))
		}
		noError(t, w.Flush(t.Context()))
		for i := range 1500 {
			want(t, "stored", b.bodies(fmt.Sprint("t", i)), []string{fmt.Sprint(i), fmt.Sprint(i + 1500)})
		}
		want(t, "kept", len(w.byTopic), 0)
	})
}
