package millrace

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// memorySpool is a spool in memory, which outlives the Writers that use it.
type memorySpool struct {
	t     *testing.T
	took  time.Duration
	users atomic.Int32 // at once

	mu              sync.Mutex // guards below
	records         [][]byte
	putErr, dropErr error
	peekErr         error
	closed          int
	most            int // records that there ever were
}

// use begins a call; what it returns ends it.
func (s *memorySpool) use() func() {
	if s.users.Add(1) > 1 {
		s.t.Error("the spool is used by two at once")
	}
	time.Sleep(s.took)
	s.mu.Lock()
	return func() { s.mu.Unlock(); s.users.Add(-1) }
}

// fail makes Put and Drop return these errors.
func (s *memorySpool) fail(put, drop error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putErr, s.dropErr = put, drop
}

// mostSince returns how many records there were at most since the last call.
func (s *memorySpool) mostSince() (most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	most, s.most = s.most, 0
	return most
}

func (s *memorySpool) Put(record []byte) error {
	defer s.use()()
	if s.putErr != nil {
		return s.putErr
	}
	s.records = append(s.records, bytes.Clone(record))
	s.most = max(s.most, len(s.records))
	return nil
}

func (s *memorySpool) Peek() ([]byte, error) {
	defer s.use()()
	if len(s.records) == 0 || s.peekErr != nil {
		return nil, s.peekErr
	}
	return s.records[0], nil
}

func (s *memorySpool) Drop() error {
	defer s.use()()
	if s.dropErr != nil {
		return s.dropErr
	}
	clear(s.records[0]) // Peek's is valid no longer
	s.records = s.records[1:]
	return nil
}

func (s *memorySpool) Len() int { defer s.use()(); return len(s.records) }

func (s *memorySpool) Close() error { defer s.use()(); s.closed++; return nil }

// TestWriterSpools: an outage of everything is nothing to the publishers; all arrives, in
// order, what was published when the daemon was back behind what was published before.
func TestWriterSpools(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		spool := &memorySpool{t: t, took: time.Millisecond}
		b := newBroker(t)
		b.start(n.listen("q:1"))
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Spool: spool, MaxInFlight: 50})
		o := outcomes{t: t}
		all := numbered(600)
		publish := func(bodies []string) {
			for _, body := range bodies {
				noError(t, w.PublishAsync(t.Context(), "t", []byte(body), o.of(body)))
			}
		}
		publish(all[:100])
		noError(t, w.Flush(t.Context()))
		want(t, "spooled while all is well", spool.mostSince(), 0)
		b.stop()
		began := time.Now()
		noError(t, w.Publish(t.Context(), "t", []byte(all[100])))
		if took := time.Since(began); took < defaultSpoolAfter || took > defaultSpoolAfter+10*time.Millisecond {
			t.Errorf("the first was put into the spool after %v", took)
		}
		began = time.Now()
		publish(all[101:300])
		noError(t, w.Flush(t.Context()))
		if took := time.Since(began); took > defaultSpoolAfter {
			t.Errorf("those that followed took %v", took)
		}
		want(t, "something is in the spool", w.Stats().Spooled > 0, true)
		pass(time.Hour)
		b.start(n.listen("q:1"))
		takingTime(b, time.Millisecond)
		publish(all[300:])
		noError(t, w.Flush(t.Context()))
		pass(time.Minute)
		want(t, "stored", b.bodies("t"), all)
		want(t, "in the spool", w.Stats().Spooled, 0)
		want(t, "told", len(o.told), 599)
		for _, told := range o.told {
			want(t, "told", strings.HasSuffix(told, " stored"), true)
		}
		want(t, "published", w.Stats().Published, uint64(600))
		want(t, "spooled meanwhile", spool.mostSince() > 0, true)
		publish(all[:10])
		noError(t, w.Flush(t.Context()))
		want(t, "spooled when it is over", spool.mostSince(), 0)
		noError(t, w.Close())
		want(t, "closed", spool.closed, 1)
		b.stop()
	})
}

// TestWriterSpoolOutlivesTheWriter: what is in the spool when a Writer is closed is
// delivered by the next one, with its deferral and in its batches.
func TestWriterSpoolOutlivesTheWriter(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		spool := &memorySpool{t: t}
		ctx := t.Context()
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Spool: spool})
		noError(t, w.Publish(ctx, "t", []byte("a")))
		noError(t, w.PublishMany(ctx, "u", bytesOf("b", "c")))
		noError(t, w.PublishDeferred(ctx, "t", 90*time.Second, []byte("d")))
		noError(t, w.PublishDeferred(ctx, "t", 10*time.Second, []byte("e")))
		noError(t, w.PublishAsync(ctx, "t", []byte("f"), nil)) // Close puts it there
		noError(t, w.Close())
		want(t, "closed", spool.closed, 1)
		want(t, "records", len(spool.records), 5)
		time.Sleep(30 * time.Second)

		b := startBroker(t, n.listen("q:1"))
		w = openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Spool: spool})
		want(t, "in the spool", w.Stats().Spooled, 5)
		pass(time.Minute)
		want(t, "commands", publishesOf(b), []string{"PUB t", "MPUB u", "DPUB t 60000", "DPUB t 0", "PUB t"})
		want(t, "stored", append(b.bodies("t"), b.bodies("u")...), strings.Split("adefbc", ""))
		want(t, "in the spool", w.Stats().Spooled, 0)
	})
}

// TestWriterSpoolsWhenClosed: Close has nothing to complain of if all that no daemon took
// in its time is in the spool, and says how many messages are not there otherwise.
func TestWriterSpoolsWhenClosed(t *testing.T) {
	for _, c := range []struct {
		putErr  error
		outcome string
		stats   WriterStats
	}{
		{nil, "stored", WriterStats{Published: 3, Spooled: 1}},
		{errors.New("full"), "unavailable", WriterStats{Unavailable: 3}},
	} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			spool := &memorySpool{t: t, putErr: c.putErr}
			o := outcomes{t: t}
			w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Spool: spool, SpoolAfter: time.Hour, CloseTimeout: time.Second})
			for range 3 {
				noError(t, w.PublishAsync(t.Context(), "t", []byte("x"), o.of("x")))
			}
			err := w.Close()
			want(t, "told", o.told, slices.Repeat([]string{"x " + c.outcome}, 3))
			want(t, "statistics", w.Stats(), c.stats)
			if c.putErr == nil {
				noError(t, err)
			} else {
				want(t, "Close", errors.Is(err, context.DeadlineExceeded) && strings.HasPrefix(err.Error(), "3 messages"), true)
			}
		})
	}
}

// TestWriterClosesWhileTheSpoolIsDelivered: what a daemon is just storing is not left for
// the next Writer to send again, and what it does not answer is.
func TestWriterClosesWhileTheSpoolIsDelivered(t *testing.T) {
	for _, c := range []struct {
		takes, took time.Duration
		hangsUp     bool
		left        int
	}{
		{300 * time.Millisecond, 300 * time.Millisecond, false, 1},
		{300 * time.Millisecond, 300 * time.Millisecond, true, 2},
		{time.Hour, time.Second, false, 2},
	} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			spool := &memorySpool{t: t}
			config := WriterConfig{Addresses: []string{"q:1"}, Spool: spool, CloseTimeout: time.Second}
			w := openWriter(t, n, config)
			for _, body := range []string{"a", "b"} {
				noError(t, w.Publish(t.Context(), "t", []byte(body)))
			}
			noError(t, w.Close()) // at once: nothing is on its way
			b := startBroker(t, n.listen("q:1"))
			b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
				if l.Verb == protocol.Pub {
					time.Sleep(c.takes)
					if c.hangsUp {
						_ = s.nc.Close()
						return true
					}
				}
				return false
			}
			w = openWriter(t, n, config)
			synctest.Wait()
			began := time.Now()
			noError(t, w.Close())
			want(t, "took", time.Since(began), c.took)
			want(t, "left", len(spool.records), c.left)
		})
	}
}

// TestWriterSpoolThatFails: what the spool does not take fails for the reason for which it went
// there.
func TestWriterSpoolThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		spool := &memorySpool{t: t, putErr: errors.New("disk full")}
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Spool: spool})
		for range 3 {
			err := w.Publish(t.Context(), "t", []byte("x"))
			want(t, "outcome", kind(t, err), "unavailable")
			for _, s := range []string{"connection refused", "disk full"} {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%v lacks %q", err, s)
				}
			}
		}
		b := startBroker(t, n.listen("q:1"))
		pass(lastBackoff)
		noError(t, w.Publish(t.Context(), "t", []byte("y")))
		want(t, "stored", b.bodies("t"), []string{"y"})

		// A record that cannot be dropped is not sent again for that reason.
		b.stop()
		synctest.Wait()
		spool.fail(nil, errors.New("read only"))
		noError(t, w.Publish(t.Context(), "t", []byte("z")))
		b.start(n.listen("q:1"))
		pass(time.Minute)
		want(t, "stored", b.bodies("t"), []string{"y", "z"})
		noError(t, w.Publish(t.Context(), "t", []byte("behind")))
		want(t, "in the spool", w.Stats().Spooled, 2)
		spool.fail(nil, nil)
		pass(time.Minute)
		want(t, "stored", b.bodies("t"), []string{"y", "z", "behind"})
	})
}

// TestWriterSpoolUnreadableWhenClosed: what comes back from a connection at the end of Close
// is put into the spool, even though that cannot be read.
func TestWriterSpoolUnreadableWhenClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		stuck := make(chan struct{})
		b.intercept = func(_ *session, l protocol.Line, _ []byte) bool {
			if l.Verb == protocol.Pub {
				<-stuck
			}
			return false
		}
		spool := &memorySpool{t: t, peekErr: errors.New("damaged")}
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Spool: spool, CloseTimeout: 5 * time.Second})
		o := outcomes{t: t}
		body := make([]byte, 1<<20)
		for _, name := range numbered(8) { // more than a lane and a socket take
			noError(t, w.PublishAsync(t.Context(), "t", body, o.of(name)))
		}
		pass(3 * time.Second)
		want(t, "the spool is in use", len(spool.records) > 0, true)
		err := w.Close()
		want(t, "Close says so", errors.Is(err, context.DeadlineExceeded), true)
		want(t, "told", len(o.told), 8)
		close(stuck)
	})
}

// TestWriterSpoolAndContext: a context that ends before SpoolAfter ends the publish, as
// without a spool.
func TestWriterSpoolAndContext(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		spool := &memorySpool{t: t}
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Spool: spool})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		want(t, "outcome", kind(t, w.Publish(ctx, "t", []byte("x"))), "unavailable")
		pass(time.Minute)
		want(t, "records", len(spool.records), 0)

		// One that ends while the spool takes the message waits for what the spool says.
		spool.took = 100 * time.Millisecond
		began := time.Now()
		ctx, cancel = context.WithTimeout(t.Context(), defaultSpoolAfter+150*time.Millisecond) // Len takes 100 ms first
		defer cancel()
		noError(t, w.Publish(ctx, "t", []byte("x")))
		if took := time.Since(began); took < defaultSpoolAfter+200*time.Millisecond {
			t.Errorf("took %v: it was not being put when its context ended", took)
		}
		want(t, "statistics", w.Stats().Published, uint64(1))
	})
}

// TestWriterSpoolRefused: a spooled message that daemons refuse is dropped, and reported; those
// next to it are delivered.
func TestWriterSpoolRefused(t *testing.T) {
	for _, retryFor := range []time.Duration{0, -1} { // what is in the spool is tried again, whatever it is
		inBubble(t, func(t *testing.T, n *pipeNet) { spoolRefused(t, n, retryFor) })
	}
}

func spoolRefused(t *testing.T, n *pipeNet, retryFor time.Duration) {
	var log strings.Builder
	spool := &memorySpool{t: t, records: bytesOf("no record")}
	w := openWriter(t, n, WriterConfig{
		Addresses: []string{"q:1"}, Spool: spool, RetryFor: retryFor, Connection: Connection{Log: slog.New(slog.NewTextHandler(&log, nil))},
	})
	all := numbered(20)
	for i, body := range all {
		if i == 7 {
			body = "poison"
		}
		noError(t, w.PublishAsync(t.Context(), "t", []byte(body), nil))
	}
	noError(t, w.Flush(t.Context()))
	b := newBroker(t)
	refusePoison(b, protocol.EBadMessage)
	b.start(n.listen("q:1"))
	t.Cleanup(b.stop)
	pass(time.Minute)
	got := b.bodies("t")
	slices.Sort(got)
	want(t, "stored", got, slices.Delete(all, 7, 8))
	want(t, "in the spool", w.Stats().Spooled, 0)
	want(t, "refused", w.Stats().Refused, uint64(1))
	noError(t, w.Close())
	for _, s := range []string{"refused and dropped", "damaged"} {
		want(t, s, strings.Count(log.String(), s), 1)
	}
}

// TestWriterSpoolAndUncertainty: what may be stored is not put into the spool unless
// it is to be tried again; what comes out of it is repeated until it is certain.
func TestWriterSpoolAndUncertainty(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		spool := &memorySpool{t: t}
		b := startBroker(t, n.listen("q:1"))
		var hangUp atomic.Bool
		hangUp.Store(true)
		b.intercept = func(s *session, l protocol.Line, body []byte) bool {
			if l.Verb == protocol.Pub && hangUp.Load() {
				_ = s.nc.Close()
				return true
			}
			return false
		}
		w := openWriter(t, n, WriterConfig{Addresses: []string{"q:1"}, Spool: spool})
		want(t, "outcome", kind(t, w.Publish(t.Context(), "t", []byte("x"))), "uncertain")
		b.stop()
		noError(t, w.Publish(t.Context(), "t", []byte("y")))
		b.start(n.listen("q:1"))
		pass(time.Minute)
		want(t, "in the spool", w.Stats().Spooled, 1)
		hangUp.Store(false)
		pass(time.Minute)
		want(t, "stored", b.bodies("t"), []string{"y"})
	})
}

// TestSpoolRecordFormat: records are read by later versions.
func TestSpoolRecordFormat(t *testing.T) {
	at := time.Unix(1_700_000_000, 123)
	for _, c := range []struct {
		batch  pubBatch
		bodies []string
		want   string
	}{
		{
			pubBatch{topic: "t", began: at}, []string{"ab"},
			"\x01\x48\x5c\xee\xf9\x00\x17\x97\x9c\xfe\x36\x2a\x00\x7b\x00\x00\x00\x00\x00\x00\x00\x00\x01t\x00\x00\x00\x01\x00\x00\x00\x02ab",
		},
		{
			pubBatch{topic: "a.topic#ephemeral", began: at, due: at.Add(time.Second)}, []string{"x"}, "",
		},
		{
			pubBatch{topic: "t", began: at, whole: true}, []string{"x", "yz"}, "",
		},
	} {
		b := c.batch
		b.wire = make([]byte, headLength(b.topic))
		if b.whole {
			b.addWhole(bytesOf(c.bodies...), entry{})
		} else {
			for _, body := range c.bodies {
				b.add([]byte(body), entry{})
			}
		}
		record := appendRecord([]byte("before"), &b)[len("before"):]
		if c.want != "" && string(record) != c.want {
			t.Errorf("record %q, want %q", record, c.want)
		}
		var got pubBatch
		noError(t, parseRecord(record, &got))
		want(t, "read again", []any{got.topic, got.began.Equal(b.began), got.due.Equal(b.due), got.whole, got.size, len(got.entries)},
			[]any{b.topic, true, true, b.whole, b.size, len(b.entries)})
		want(t, "messages", string(got.mpub()), string(b.mpub()))
		for i := range record {
			broken := bytes.Clone(record)
			broken[i] ^= 0x40
			if err := parseRecord(broken, &got); err == nil {
				t.Errorf("byte %d can be changed unnoticed", i)
			}
			if err := parseRecord(record[:i], &got); err == nil {
				t.Errorf("a record of %d bytes is taken for one of %d", i, len(record))
			}
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	var b pubBatch
	b.reset("t")
	b.add([]byte("x"), entry{})
	f.Add(appendRecord(nil, &b))
	f.Fuzz(func(t *testing.T, record []byte) {
		var b pubBatch
		if parseRecord(record, &b) != nil {
			return // the only other outcome is an exact round trip
		}
		if again := appendRecord(nil, &b); !bytes.Equal(again, record) {
			t.Fatalf("%q becomes %q", record, again)
		}
	})
}
