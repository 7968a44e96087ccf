package main

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/logtest"
)

// source is a Reader that only notes what it is told.
type source struct{ told []string }

func (s *source) Pause()  { s.told = append(s.told, "pause") }
func (s *source) Resume() { s.told = append(s.told, "resume") }

// TestBrake: the source is stopped while much is held, or the destination is away for any worker.
func TestBrake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Lines
		var from source
		const few = manyBytes / 2
		size, many := 0, manyBytes
		b := brake{reader: &from, size: func() int { return size }, many: func() int { return many }, log: slog.New(slog.NewTextHandler(&log, nil))}
		hold := func(bytes int) func() { return func() { size = bytes; b.look() } }
		for _, step := range []struct {
			do   func()
			want []string
		}{
			{hold(manyBytes), nil},
			{hold(manyBytes + 1), []string{"pause"}},
			{hold(few), nil},
			{hold(few - 1), []string{"resume"}},
			{b.begin, []string{"pause"}},
			{b.begin, nil},
			{hold(manyBytes + 1), nil},
			{b.end, nil},
			{hold(0), nil},
			{b.end, []string{"resume"}},
			{hold(manyBytes + 1), []string{"pause"}},
			{b.begin, nil},
			{b.end, nil},
			{hold(0), []string{"resume"}},
			{func() { many = 1000; hold(1001)() }, []string{"pause"}},
			{hold(500), nil},
			{hold(499), []string{"resume"}},
		} {
			from.told = nil
			step.do()
			if !slices.Equal(from.told, step.want) {
				t.Errorf("held %d, failing %d: told %q, want %q", size, b.failing, from.told, step.want)
			}
		}

		b.begin()
		for range 150 { // seconds
			b.tell(errors.New("nobody is there"))
			time.Sleep(time.Second)
		}
		if n := strings.Count(log.String(), "nobody is there"); n != 3 {
			t.Errorf("told %d times in 150 s:\n%s", n, log.String())
		}
	})
}

// TestShares: a topic has its own, less when there are many, so that the sum is bounded.
func TestShares(t *testing.T) {
	for topics, want := range map[int64]int{0: 64 << 20, 1: 64 << 20, 4: 64 << 20, 8: 32 << 20, 256: 1 << 20, 10_000: 1 << 20} {
		var s shares
		s.topics.Store(topics)
		if got := s.many(); got != want {
			t.Errorf("%d topics: %d each, want %d", topics, got, want)
		}
	}
}

func message(body string) *millrace.Message { return &millrace.Message{Body: []byte(body)} }

// TestHeld: parcels come in their order, together as far as they fit, and are touched at half of the
// timeout, whether they wait or somebody works on them, until they are done.
func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(4)
		begin := time.Now()
		at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
		h.put([]*millrace.Message{message("a"), message("bb")}, at(0))
		h.put([]*millrace.Message{message("ccc")}, at(5))
		h.put([]*millrace.Message{message("dd")}, at(10))
		wantBodies(t, "due", h.due(at(29)))
		first := h.take(3)
		wantBodies(t, "first", bodiesOf(first), "a", "bb", "ccc")
		wantBodies(t, "due", h.due(at(30)), "a", "bb")
		wantBodies(t, "due", h.due(at(40)), "ccc", "dd")
		wantBodies(t, "due", h.due(at(59)))
		if h.size() != 8 {
			t.Errorf("%d bytes are held", h.size())
		}

		// The next are more than fit: they wait until something is done.
		var all sync.WaitGroup
		h.put([]*millrace.Message{message("1"), message("2"), message("3"), message("4")}, at(60))
		all.Go(func() { h.put([]*millrace.Message{message("last")}, at(60)) })
		synctest.Wait()
		second := h.take(1)
		wantBodies(t, "second", bodiesOf(second), "dd")
		third := h.take(1)
		wantBodies(t, "third", bodiesOf(third), "1", "2", "3", "4")
		h.done(first)
		h.done(second)
		all.Wait()
		wantBodies(t, "due", h.due(at(90)), "1", "2", "3", "4", "last")
		h.done(third)

		// What nobody has taken is late when no touch keeps it for another half of the timeout.
		h.put([]*millrace.Message{message("later")}, at(61))
		last := 60 + 15*60 - 30
		wantBodies(t, "late", bodiesOf(h.late(at(last-1))))
		wantBodies(t, "due", h.due(at(last)), "later")
		wantBodies(t, "late", bodiesOf(h.late(at(last))), "last")
		wantBodies(t, "late", bodiesOf(h.late(at(last))))
		h.put([]*millrace.Message{message("last")}, at(last))

		h.close()
		wantBodies(t, "what is left", bodiesOf(h.take(10)), "last", "later")
		if h.take(10) != nil {
			t.Error("something came after the last")
		}
	})
}

func bodiesOf(parcels []*parcel) (messages []*millrace.Message) {
	for _, p := range parcels {
		messages = append(messages, p.messages...)
	}
	return messages
}

func wantBodies(t *testing.T, what string, messages []*millrace.Message, want ...string) {
	t.Helper()
	var got []string
	for _, m := range messages {
		got = append(got, string(m.Body))
	}
	slices.Sort(got) // of what is due, the order does not matter
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
