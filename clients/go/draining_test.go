package millrace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
		drain(a)
		o := outcomes{t: t}
		var all []string
		for i := range 30 {
			body := fmt.Sprintf("m%02d", i)
			switch i % 3 {
			case 0:
				noError(t, w.PublishAsync(ctx, "t", []byte(body), o.of(body)))
			case 1:
				noError(t, w.PublishMany(ctx, "t", bytesOf(body)))
			case 2:
				noError(t, w.PublishDeferred(ctx, "t", 0, []byte(body)))
			}
			all = append(all, body)
		}
		noError(t, w.Flush(ctx))
		stored := b.bodies("t")
		slices.Sort(stored)
		want(t, "at the one that drains", a.bodies("t"), []string(nil))
		want(t, "at the other", stored, all)
		want(t, "told", len(o.told), 10)
		for _, told := range o.told {
			want(t, "told", strings.HasSuffix(told, " stored"), true)
		}
		for range 3 {
			b.each(func(s *session) { _ = s.nc.Close() })
			synctest.Wait()
			noError(t, w.Publish(ctx, "t", []byte("more")))
		}
		want(t, "connections to the one that drains", n.dialled("q:1"), 1)

		// The one that drained was started again, and the other is gone.
		refill(a)
		b.stop()
		synctest.Wait()
		noError(t, w.Publish(ctx, "t", []byte("last")))
		want(t, "back at the first", a.bodies("t"), []string{"last"})
	})
}

// TestWriterTriesADrainedDaemonAgain: it is asked again after a while, even though another
// one takes everything.
func TestWriterTriesADrainedDaemonAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		a := startBroker(t, n.listen("q:1"))
		startBroker(t, n.listen("q:2"))
		drain(a)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1", "q:2"}})
		for range 1200 {
			noError(t, w.Publish(t.Context(), "t", []byte("x")))
			pass(100 * time.Millisecond)
		}
		if dialled := n.dialled("q:1"); dialled < 3 || dialled > 10 {
			t.Errorf("within two minutes it was tried %d times", dialled)
		}
		refill(a)
		pass(2 * lastAside)
		for range 10 {
			noError(t, w.Publish(t.Context(), "t", []byte("x")))
		}
		want(t, "stored there", len(a.bodies("t")) > 0, true)
		want(t, "connections", w.Stats().Connections, 2)
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
		w := openWriter(t, n, WriterConfig{Addresses: addresses, MaxConnections: 2})
		for range 4 {
			noError(t, w.Publish(t.Context(), "t", []byte("x")))
		}
		want(t, "at the last", last.bodies("t"), []string{"x", "x", "x", "x"})
		for _, address := range addresses {
			if dialled := n.dialled(address); dialled > 1 {
				t.Errorf("%s was dialled %d times", address, dialled)
			}
		}
	})
}

// TestWriterWhenAllDrain: the error says so, and is certain; the first that takes
// something again is found.
func TestWriterWhenAllDrain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		a, b := startBroker(t, n.listen("q:1")), startBroker(t, n.listen("q:2"))
		drain(a)
		drain(b)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1", "q:2"}})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := w.Publish(ctx, "t", []byte("x"))
		want(t, "outcome", kind(t, err), "unavailable")
		if e, ok := errors.AsType[*protocol.Error](err); !ok || !e.Draining() {
			t.Errorf("%v", err)
		}
		if !strings.Contains(err.Error(), "DRAINING: go away") {
			t.Errorf("%v does not say why", err)
		}
		refill(b)
		began := time.Now()
		noError(t, w.Publish(t.Context(), "t", []byte("y")))
		if took := time.Since(began); took > lastBackoff {
			t.Errorf("it took %v to find the one that takes publishes again", took)
		}
	})
}
