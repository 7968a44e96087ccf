package millrace

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/millrace-mq/millrace/protocol"
)

// drain makes a broker refuse publishes as one does that drains: the connection
// ends, and nothing is stored.
func drain(b *broker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
		switch l.Verb {
		case protocol.Pub, protocol.MPub, protocol.DPub:
			s.mu.Lock()
			s.sendLocked(protocol.AppendFrame(nil, protocol.FrameError, "E_"+l.Name+"_FAILED "+l.Name+" failed DRAINING: go away"))
			s.silent = true
			s.mu.Unlock()
			return true
		}
		return false
	}
}

func refill(b *broker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.intercept = nil
}

// TestWriterLeavesADrainingDaemon: publishes of all kinds go to another daemon,
// and stay there, even if the connection to it breaks.
func TestWriterLeavesADrainingDaemon(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		ctx := t.Context()
		a, b := startBroker(t, n.listen("q:1")), startBroker(t, n.listen("q:2"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1", "q:2"}})
		noError(t, w.Publish(ctx, "t", []byte("1")))
		drain(a)
		noError(t, w.PublishMany(ctx, "t", bytesOf("2", "3")))
		noError(t, w.Publish(ctx, "t", []byte("4")))
		noError(t, w.PublishDeferred(ctx, "t", 0, []byte("5")))
		want(t, "at the one that drains", a.bodies("t"), []string{"1"})
		want(t, "at the other", b.bodies("t"), []string{"2", "3", "4", "5"})
		for range 3 {
			b.each(func(s *session) { _ = s.nc.Close() })
			synctest.Wait()
			noError(t, w.Publish(ctx, "t", []byte("6")))
		}
		want(t, "connections to the one that drains", n.dialled("q:1"), 1)

		// The one that drained was started again, and the other is gone.
		refill(a)
		b.stop()
		synctest.Wait()
		noError(t, w.Publish(ctx, "t", []byte("7")))
		want(t, "back at the first", a.bodies("t"), []string{"1", "7"})
	})
}

// TestWriterFindsTheOnlyOneThatTakes: however many drain, the one that does not is
// found.
func TestWriterFindsTheOnlyOneThatTakes(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		addresses := []string{"q:1", "q:2", "q:3", "q:4"}
		var last *broker
		for _, address := range addresses {
			if last != nil {
				drain(last)
			}
			last = startBroker(t, n.listen(address))
		}
		w := openWriter(t, n, WriterConfig{Addresses: addresses})
		noError(t, w.Publish(t.Context(), "t", []byte("x")))
		want(t, "at the last", last.bodies("t"), []string{"x"})
		for _, address := range addresses {
			want(t, "connections to "+address, n.dialled(address), 1)
		}
	})
}

// TestWriterWhenAllDrain: the error says so, and is certain.
func TestWriterWhenAllDrain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		a, b := startBroker(t, n.listen("q:1")), startBroker(t, n.listen("q:2"))
		drain(a)
		drain(b)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1", "q:2"}})
		err := w.Publish(t.Context(), "t", []byte("x"))
		if e, ok := errors.AsType[*protocol.Error](err); !ok || !e.Draining() || uncertain(err) {
			t.Errorf("%v", err)
		}
		if err == nil || !strings.Contains(err.Error(), "DRAINING: go away") {
			t.Errorf("%v does not say why", err)
		}
		refill(b)
		noError(t, w.Publish(t.Context(), "t", []byte("y")))
	})
}

// TestWriterAsyncToADrainingDaemon: those on their way are told, each that it was
// not stored, and what comes next goes elsewhere.
func TestWriterAsyncToADrainingDaemon(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		ctx := t.Context()
		a, b := startBroker(t, n.listen("q:1")), startBroker(t, n.listen("q:2"))
		drain(a)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1", "q:2"}})
		failed := 0
		for range 5 {
			noError(t, w.PublishAsync(ctx, "t", bytesOf("x"), func(err error) {
				if err == nil || uncertain(err) {
					t.Errorf("%v", err)
				}
				failed++
			}))
		}
		synctest.Wait()
		want(t, "failed", failed, 5)
		noError(t, w.PublishAsync(ctx, "t", bytesOf("y"), func(err error) { noError(t, err) }))
		noError(t, w.Flush(ctx))
		want(t, "stored", append(a.bodies("t"), b.bodies("t")...), []string{"y"})
	})
}
