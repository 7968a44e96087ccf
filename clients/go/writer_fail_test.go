package millrace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// refusing makes a broker answer publishes with an error, and end the connection.
func refusing(b *broker, code, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
		switch l.Verb {
		case protocol.Pub, protocol.MPub, protocol.DPub:
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.ended {
				s.sendLocked(protocol.AppendFrame(nil, protocol.FrameError, code+" "+text))
				s.ended = true
			}
			return true
		}
		return false
	}
}

func TestWriterDaemonGoneBeforeItsAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
			if string(l.Args[0]) == "die" {
				b.mu.Lock()
				_ = b.listener.Close()
				b.mu.Unlock()
				_ = s.nc.Close()
				return true
			}
			return l.Verb == protocol.MPub
		}
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1", "q:2"}})
		o := outcomes{t: t}
		for i := range 3 {
			noError(t, w.PublishManyAsync(t.Context(), "t", bytesOf("x", "y"), o.of(fmt.Sprint(i))))
		}
		err := w.Publish(t.Context(), "die", []byte("x"))
		if e, ok := errors.AsType[*UncertainError](err); !ok || e.Address != "q:1" || !errors.Is(err, io.EOF) {
			t.Fatalf("publish: %v", err)
		}
		synctest.Wait()
		want(t, "told", o.told, []string{"0 uncertain", "1 uncertain", "2 uncertain"})
		second := startBroker(t, n.listen("q:2"))
		noError(t, w.Publish(t.Context(), "t", []byte("z")))
		want(t, "stored by the second", second.bodies("t"), []string{"z"})
		want(t, "statistics", w.Stats(), WriterStats{Connections: 1, Published: 1, Uncertain: 7, Batches: 1})
	})
}

// TestWriterRefusal checks that a refused publish takes nothing else with it:
// those behind it are certainly not stored, so they go again.
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
		o := outcomes{t: t}
		ctx := t.Context()
		noError(t, w.PublishManyAsync(ctx, "gate", bytesOf("a", "b"), o.of("first")))
		tooBig := [][]byte{make([]byte, 2<<20)}
		noError(t, w.PublishManyAsync(ctx, "t", append(tooBig, []byte("x")), o.of("refused")))
		noError(t, w.PublishAsync(ctx, "t", []byte("y"), o.of("behind")))
		done := make(chan error, 1)
		go func() { done <- w.Publish(ctx, "t", []byte("again")) }()
		synctest.Wait()
		close(gate)
		noError(t, <-done)
		noError(t, w.Flush(ctx))
		want(t, "told", o.told, []string{"first stored", "refused refused", "behind stored"})
		if e, ok := errors.AsType[*protocol.Error](o.errs["refused"]); !ok || e.Code != protocol.EBadMessage {
			t.Errorf("refused: %v", o.errs["refused"])
		}
		want(t, "stored", b.bodies("t"), []string{"y", "again"})
	})
}

// TestWriterRefusalsByKind has a daemon refuse, and another one take what may go
// elsewhere.
func TestWriterRefusalsByKind(t *testing.T) {
	const drains = "MPUB failed DRAINING: go away"
	whole := &protocol.ExtensionResponse{WholeBatches: true}
	for _, c := range []struct {
		code, text string
		extension  *protocol.ExtensionResponse
		want       string // of a PublishMany
		elsewhere  bool
	}{
		{protocol.EPubFailed, "PUB failed: disk full", nil, "stored", true},
		{protocol.EDPubFailed, "DPUB failed: disk full", nil, "stored", true},
		{protocol.EMPubFailed, "MPUB failed exiting", nil, "uncertain", false},
		{protocol.EMPubFailed, "MPUB failed exiting", whole, "stored", true},
		{protocol.EMPubFailed, drains, nil, "stored", true},
		{protocol.EAuthFailed, "AUTH failed", nil, "stored", true},
		{protocol.EUnauthorized, "AUTH failed for MPUB on \"t\"", nil, "refused", false},
		{protocol.EAuthFirst, "AUTH required before MPUB", nil, "refused", false},
		{protocol.EBadTopic, "E_BAD_TOPIC MPUB topic name", nil, "refused", false},
		{protocol.EInvalid, "cannot MPUB in current state", nil, "refused", false},
		{"E_OF_TOMORROW", "", nil, "refused", false},
	} {
		t.Run(c.code+" "+c.text, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := newBroker(t)
				b.offers.extension = c.extension
				b.start(n.listen("q:1"))
				t.Cleanup(b.stop)
				w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1", "q:2"}})
				noError(t, w.Publish(t.Context(), "t", []byte("first")))
				refusing(b, c.code, c.text)
				other := startBroker(t, n.listen("q:2"))
				err := w.PublishMany(t.Context(), "t", bytesOf("x", "y"))
				want(t, "outcome", kind(t, err), c.want)
				if err != nil && !strings.Contains(err.Error(), c.code) {
					t.Errorf("%v does not say why", err)
				}
				want(t, "stored elsewhere", len(other.bodies("t")) == 2, c.elsewhere)
			})
		})
	}
}

// TestWriterDaemonBackLater: a publish waits for a daemon that is away, for as long
// as its context allows.
func TestWriterDaemonBackLater(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		err := w.Publish(ctx, "t", []byte("x"))
		want(t, "outcome", kind(t, err), "unavailable")
		want(t, "took", time.Since(began), 10*time.Second)
		for _, s := range []string{"publish to t was not stored", "q:1", "connection refused", "deadline exceeded"} {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%v lacks %q", err, s)
			}
		}
		want(t, "the context's error", errors.Is(err, context.DeadlineExceeded), true)
		b := newBroker(t)
		for i := range 3 {
			time.AfterFunc(10*time.Second, func() { b.start(n.listen("q:1")) })
			began := time.Now()
			noError(t, w.Publish(t.Context(), "t", fmt.Append(nil, i)))
			if took := time.Since(began) - 10*time.Second; took < 0 || took > lastBackoff {
				t.Errorf("it took %v longer than the daemon was away", took)
			}
			b.stop()
			synctest.Wait()
		}
		want(t, "stored", b.bodies("t"), []string{"0", "1", "2"})
	})
}

func TestWriterRetryFor(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, RetryFor: 5 * time.Second})
		began := time.Now()
		want(t, "nobody there", kind(t, w.Publish(t.Context(), "t", []byte("x"))), "unavailable")
		want(t, "took", time.Since(began), 5*time.Second)
		refusing(startBroker(t, n.listen("q:1")), protocol.EPubFailed, "PUB failed: disk full")
		began = time.Now()
		err := w.Publish(t.Context(), "t", []byte("x"))
		want(t, "nobody has room", kind(t, err), "unavailable")
		if took := time.Since(began); took < 4*time.Second || took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if !strings.Contains(err.Error(), "disk full") {
			t.Errorf("%v does not say why", err)
		}
		if s := w.Stats(); s.Retried == 0 || s.Unavailable != 2 {
			t.Errorf("statistics: %+v", s)
		}
	})
}

// TestWriterTriesOnce: with RetryFor below zero nothing is sent or waited for twice, and
// outcomes come in the order of a connection's publishes.
func TestWriterTriesOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		ctx := t.Context()
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, RetryFor: -1})
		began := time.Now()
		for range 3 {
			want(t, "nobody there", kind(t, w.Publish(ctx, "t", []byte("x"))), "unavailable")
		}
		if took := time.Since(began); took > 3*time.Millisecond {
			t.Errorf("took %v", took)
		}
		b := startBroker(t, n.listen("q:1"))
		noError(t, w.Publish(ctx, "t", []byte("first")))
		holdPublishes(b)
		o := outcomes{t: t}
		for _, name := range []string{"a", "b", "c"} {
			noError(t, w.PublishManyAsync(ctx, "t", bytesOf(name, name), o.of(name)))
		}
		synctest.Wait()
		b.each(func(s *session) {
			s.sendLocked(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK))
			s.sendLocked(protocol.AppendFrame(nil, protocol.FrameError, "E_MPUB_FAILED MPUB failed DRAINING: go away"))
			s.ended = true
		})
		synctest.Wait()
		want(t, "told", o.told, []string{"a stored", "b unavailable", "c unavailable"})
		o.told = nil
		for _, name := range []string{"d", "e"} {
			noError(t, w.PublishManyAsync(ctx, "t", bytesOf(name, name), o.of(name)))
		}
		synctest.Wait()
		b.stop()
		for _, name := range []string{"f", "g"} {
			noError(t, w.PublishManyAsync(ctx, "t", bytesOf(name, name), o.of(name)))
		}
		noError(t, w.Flush(ctx))
		want(t, "told", o.told, []string{"d uncertain", "e uncertain", "f unavailable", "g unavailable"})
		want(t, "tried again", w.Stats().Retried, uint64(0))
	})
}

// TestWriterRetryUncertain: what may be stored goes again, and is stored twice at worst.
func TestWriterRetryUncertain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		lost := 0
		b.intercept = func(s *session, l protocol.Line, body []byte) bool {
			if l.Verb == protocol.Pub && lost < 3 {
				lost++
				s.put("t", string(body))
				_ = s.nc.Close()
				return true
			}
			return false
		}
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, RetryUncertain: true})
		noError(t, w.Publish(t.Context(), "t", []byte("x")))
		want(t, "stored", b.bodies("t"), []string{"x", "x", "x", "x"})

		// Once it may be stored, nothing says any more that it is not.
		refusing(b, protocol.EPubFailed, "PUB failed")
		lost = 0
		refuse := b.intercept
		b.intercept = func(s *session, l protocol.Line, body []byte) bool {
			if l.Verb == protocol.Pub && lost == 0 {
				lost++
				_ = s.nc.Close()
				return true
			}
			return refuse(s, l, body)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		want(t, "outcome", kind(t, w.Publish(ctx, "t", []byte("y"))), "uncertain")
	})
}

// TestWriterDaemonDoesNotRead checks that publishes wait rather than pile up,
// and that those which never left are known not to be stored.
func TestWriterDaemonDoesNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		stuck := make(chan struct{})
		b.intercept = func(_ *session, l protocol.Line, _ []byte) bool {
			if l.Verb == protocol.Pub || l.Verb == protocol.MPub {
				<-stuck
			}
			return false
		}
		w := openWriter(t, n, WriterConfig{
			Addresses: []string{"q:1"}, MaxInFlightBytes: 8 << 20, RetryFor: -1,
			Connection: Connection{WriteTimeout: 3 * time.Second},
		})
		body := make([]byte, 100<<10)
		o := outcomes{t: t}
		const all, room = 100, (8 << 20) / (100 << 10)
		published := make(chan error)
		go func() {
			var errs []error
			for range all {
				errs = append(errs, w.PublishAsync(t.Context(), "t", body, o.of("x")))
			}
			published <- errors.Join(errs...)
		}()
		synctest.Wait()
		want(t, "in flight", w.Stats().InFlightBytes, room*len(body))
		noError(t, <-published) // the write times out
		noError(t, w.Flush(t.Context()))
		sure, unsure := 0, 0
		for _, told := range o.told {
			switch told {
			case "x unavailable":
				sure++
			case "x uncertain":
				unsure++
			}
		}
		want(t, "told", sure+unsure, all)
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
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, RetryFor: -1})
		o := outcomes{t: t}
		noError(t, w.PublishAsync(t.Context(), "t", []byte("x"), o.of("answered")))
		noError(t, w.PublishManyAsync(t.Context(), "t", [][]byte{{'y'}, make([]byte, 2*streamLimit)}, o.of("never sent whole")))
		noError(t, w.Flush(t.Context()))
		want(t, "told", o.told, []string{"answered stored", "never sent whole unavailable"})
	})
}

// TestWriterTriesOnceWhatGathers: the one attempt to connect is also that of a message
// which still gathers when it fails.
func TestWriterTriesOnceWhatGathers(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		dials := 0
		c := WriterConfig{Addresses: []string{"q:1"}, RetryFor: -1}
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			dials++
			return nil, fmt.Errorf("failure %d", dials)
		}
		w, err := NewWriter(c)
		noError(t, err)
		defer w.Close()
		err = w.Publish(t.Context(), "t", []byte("x"))
		want(t, "outcome", kind(t, err), "unavailable")
		want(t, "attempts", dials, 1)
		want(t, "reason", strings.HasSuffix(err.Error(), "failure 1"), true)
	})
}

// TestWriterWithoutTheRight: a daemon that says at the greeting that we may not be
// there is not waited for.
func TestWriterWithoutTheRight(t *testing.T) {
	for secret, why := range map[string]string{"sesame": protocol.EUnauthorized, "": "an AuthSecret must be set"} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			b := newBroker(t)
			b.offers.secret = "open"
			b.start(n.listen("q:1"))
			t.Cleanup(b.stop)
			w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Connection: Connection{AuthSecret: secret}})
			err := w.Publish(t.Context(), "t", []byte("x"))
			if e, ok := errors.AsType[*RefusedError](err); !ok || e.Address != "q:1" || !strings.Contains(err.Error(), why) {
				t.Errorf("%v", err)
			}
			want(t, "attempts", n.dialled("q:1"), 1)
		})
	}
}

// TestWriterOnPublish: the hook hears of each command, and of what no daemon took.
func TestWriterOnPublish(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		var heard []string
		b := startBroker(t, n.listen("q:1"))
		takingTime(b, 5*time.Millisecond)
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, OnPublish: func(p Published) {
			heard = append(heard, fmt.Sprint(p.Topic, " ", p.Address, " ", p.Messages, " ", p.Bytes, " ", p.Took, " ", kind(t, p.Err)))
		}})
		noError(t, w.Publish(t.Context(), "t", []byte("abc")))
		noError(t, w.PublishMany(t.Context(), "u", bytesOf("abc", "def")))
		b.stop()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = w.Publish(ctx, "t", []byte("x"))
		want(t, "heard", heard, []string{"t q:1 1 3 5ms stored", "u q:1 2 6 5ms stored", "t  1 1 1s unavailable"})
	})
}
