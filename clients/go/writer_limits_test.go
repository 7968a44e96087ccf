package millrace

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// limited makes a broker refuse publishes to topic t until a time, as a daemon does whose
// limits say that they come too early: the connection ends, and nothing is stored.
func limited(b *broker, until time.Time) (refused func() int) {
	n := 0
	b.mu.Lock()
	defer b.mu.Unlock()
	b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
		if l.Verb != protocol.Pub && l.Verb != protocol.MPub && l.Verb != protocol.DPub || string(l.Args[0]) != "t" {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		left := time.Until(until)
		if left <= 0 {
			return false
		}
		if !s.ended {
			n++
			s.sendLocked(protocol.AppendFrame(nil, protocol.FrameError, fmt.Sprintf(
				"E_%s_FAILED %[1]s failed RATE_LIMITED: topic t takes 10 messages a second; again in %v", l.Name, left)))
			s.ended = true
		}
		return true
	}
	return func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return n
	}
}

// TestWriterUnderALimit: what comes too early is published when the daemon has said, once and
// in order, whatever kind of publish it is, and the daemon is left alone until then.
func TestWriterUnderALimit(t *testing.T) {
	const long = 4700 * time.Millisecond
	for name, publish := range map[string]func(t *testing.T, w *Writer, body string) error{
		"PUB": func(t *testing.T, w *Writer, body string) error { return w.Publish(t.Context(), "t", []byte(body)) },
		"MPUB": func(t *testing.T, w *Writer, body string) error {
			return w.PublishMany(t.Context(), "t", bytesOf(body, body))
		},
		"DPUB": func(t *testing.T, w *Writer, body string) error {
			return w.PublishDeferred(t.Context(), "t", time.Millisecond, []byte(body))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := newBroker(t)
				b.offers.extension = &protocol.ExtensionResponse{WholeBatches: true}
				b.start(n.listen("q:1"))
				t.Cleanup(b.stop)
				w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
				noError(t, publish(t, w, "first"))
				stored := len(b.bodies("t"))
				refused := limited(b, time.Now().Add(long))
				began := time.Now()
				noError(t, publish(t, w, "second"))
				want(t, "took", time.Since(began), long)
				noError(t, publish(t, w, "third"))
				want(t, "took", time.Since(began), long)
				got := strings.Join(b.bodies("t"), " ")
				want(t, "stored", got, strings.TrimSpace(strings.Repeat("first ", stored)+strings.Repeat("second ", stored)+strings.Repeat("third ", stored)))
				want(t, "refused", refused(), 1)
				want(t, "dialled", n.dials["q:1"], 2)
				want(t, "uncertain", w.Stats().Uncertain, uint64(0))
			})
		})
	}
}

// Another daemon takes at once what one does not, and the first is used again when it has room,
// though it has refused many times.
func TestWriterGoesWhereThereIsRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		a, b := startBroker(t, n.listen("q:1")), startBroker(t, n.listen("q:2"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1", "q:2"}})
		for i := range 10 {
			one, other := a, b
			if i%2 == 1 {
				one, other = b, a
			}
			limited(one, time.Now().Add(time.Second))
			refill(other)
			had := len(other.bodies("t"))
			began := time.Now()
			for range 20 {
				noError(t, w.Publish(t.Context(), "t", []byte("x")))
			}
			want(t, "took", time.Since(began), time.Duration(0))
			want(t, "stored at the other", len(other.bodies("t"))-had, 20)
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
	})
}

// Who publishes for as long as RetryFor at most is told that it came too early, and the daemon is
// as well as before.
func TestWriterGivesUpUnderALimit(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, RetryFor: time.Second})
		limited(b, time.Now().Add(30*time.Second))
		began := time.Now()
		err := w.Publish(t.Context(), "t", []byte("lost"))
		want(t, "outcome", kind(t, err), "unavailable")
		want(t, "took", time.Since(began), time.Second)
		if !strings.Contains(err.Error(), "RATE_LIMITED: topic t takes 10 messages a second") {
			t.Errorf("%v does not say why", err)
		}
		time.Sleep(29 * time.Second)
		noError(t, w.Publish(t.Context(), "t", []byte("kept")))
		want(t, "took", time.Since(began), 30*time.Second)
		want(t, "stored", b.bodies("t"), []string{"kept"})
	})
}
