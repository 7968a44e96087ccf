package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/ledger"
	"github.com/millrace-mq/millrace/protocol"
)

// books are those of a topic with two lanes, one of them deferred, and a channel
// with one consumer. Times are what the test says.
type books struct {
	*ledger.Ledger
	lane, later *ledger.Lane
	consumer    *ledger.Reader
	begun       time.Time
	last        map[ledger.Key]protocol.MessageID
}

func open(strict bool) *books {
	b := &books{Ledger: ledger.New(), begun: time.Now(), last: map[ledger.Key]protocol.MessageID{}}
	b.lane, b.later = b.AddLane("orders", false), b.AddLane("orders", true)
	b.consumer = b.AddChannel("orders", "ship", strict).Reader()
	b.consumer.Connected()
	return b
}

// at is a moment, ms after the beginning.
func (b *books) at(ms int) time.Time { return b.begun.Add(time.Duration(ms) * time.Millisecond) }

// publish publishes messages and has them acknowledged.
func (b *books) publish(lane *ledger.Lane, n int) (first ledger.Key) {
	first = lane.Attempt(n)
	lane.Acknowledge(first, n)
	return first
}

func (b *books) message(k ledger.Key, attempts uint16, due time.Time) protocol.Message {
	id := protocol.FormatID(uint64(1 + k.Lane<<32 + k.Seq))
	return protocol.Message{Attempts: attempts, ID: id, Body: ledger.AppendBody(nil, k, due)}
}

// deliver delivers message seq of the first lane.
func (b *books) deliver(seq int, attempts uint16, ms int) ledger.Key {
	k, _ := b.consumer.Receive(b.message(ledger.Key{Seq: seq}, attempts, time.Time{}), b.at(ms))
	return k
}

// done delivers and finishes it.
func (b *books) done(seq int, attempts uint16, ms int) {
	b.consumer.Finish(b.deliver(seq, attempts, ms), b.at(ms))
}

func (b *books) kill(ms int) {
	b.Killed(b.at(ms))
	b.consumer.Connected()
}

const bound = time.Second

func TestAudit(t *testing.T) {
	tests := []struct {
		name    string
		do      func(b *books)
		verdict string // what is broken; empty: nothing
	}{
		{"all went well", func(b *books) { b.done(0, 1, 1); b.done(1, 1, 2) }, ""},
		{"one is missing", func(b *books) { b.done(0, 1, 1) }, "1 missing"},
		{"one was delivered and not finished", func(b *books) { b.done(0, 1, 1); b.deliver(1, 1, 2) }, "1 missing"},
		{"the one that was not acknowledged is missing", func(b *books) {
			b.lane.Attempt(1)
			b.done(0, 1, 1)
			b.done(1, 1, 2)
		}, ""},
		{"the one that was not acknowledged comes", func(b *books) {
			b.lane.Attempt(1)
			b.done(0, 1, 1)
			b.done(1, 1, 2)
			b.done(2, 1, 3)
		}, ""},
		{"one comes that nobody has published", func(b *books) {
			b.done(0, 1, 1)
			b.done(1, 1, 2)
			b.deliver(2, 1, 3)
		}, "1 invented"},
		{"a body was changed", func(b *books) {
			b.done(0, 1, 1)
			b.done(1, 1, 2)
			m := b.message(ledger.Key{Seq: 1}, 2, time.Time{})
			m.Body[len(m.Body)-1]++
			b.consumer.Receive(m, b.at(3))
		}, "1 invented"},
		{"a message has another ID when it comes again", func(b *books) {
			b.done(0, 1, 1)
			b.deliver(1, 1, 2)
			m := b.message(ledger.Key{Seq: 1}, 2, time.Time{})
			m.ID = protocol.FormatID(99)
			k, _ := b.consumer.Receive(m, b.at(3))
			b.consumer.Finish(k, b.at(3))
		}, "1 invented"},
		{"first deliveries are out of order", func(b *books) { b.done(1, 1, 1); b.done(0, 1, 2) }, "1 out of order"},
		{"a requeued one comes after later ones", func(b *books) {
			b.deliver(0, 1, 1)
			b.done(1, 1, 2)
			b.done(0, 2, 3)
		}, ""},
		{"a finished one comes again in the same life", func(b *books) {
			b.done(0, 1, 1)
			b.done(1, 1, 2)
			b.done(0, 2, 3)
		}, "1 again without a reason"},
		{"one is delivered for the first time twice", func(b *books) {
			b.deliver(0, 1, 1)
			b.done(0, 1, 2)
			b.done(1, 1, 3)
		}, "1 again without a reason, 1 out of order"},
		{"the FIN was sent just before a kill", func(b *books) {
			b.done(0, 1, 1)
			b.done(1, 1, 2)
			b.kill(900)
			b.done(0, 2, 1000)
			b.done(1, 2, 1000)
		}, ""},
		{"the FIN was sent long before a kill", func(b *books) {
			b.done(0, 1, 1)
			b.done(1, 1, 800)
			b.kill(1500)
			b.done(0, 2, 1600)
			b.done(1, 2, 1600)
		}, "1 again without a reason"},
		{"it comes again two lives later", func(b *books) {
			b.done(0, 1, 1)
			b.done(1, 1, 1)
			b.kill(900)
			b.kill(5000)
			b.done(0, 2, 5100)
		}, ""},
		{"the first delivery was forgotten", func(b *books) {
			b.deliver(0, 1, 1)
			b.kill(2000)
			b.done(0, 1, 2100)
			b.done(1, 1, 2200)
		}, "1 again without a reason"},
		{"it comes again after an orderly stop", func(b *books) {
			b.done(0, 1, 1)
			b.done(1, 1, 2)
			b.Stopped()
			b.consumer.Connected()
			b.done(0, 2, 3)
		}, "1 again without a reason"},
		{"the FIN came too late", func(b *books) {
			b.done(0, 1, 1)
			b.consumer.Refused(1)
			b.done(0, 2, 2)
			b.done(1, 1, 3)
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := open(false)
			b.publish(b.lane, 2)
			tt.do(b)
			expect(t, b.Audit(bound), tt.verdict)
		})
	}
}

// expect wants the verdict to name what is broken, and nothing else.
func expect(t *testing.T, v *ledger.Verdict, broken string) {
	t.Helper()
	want := 0
	for _, part := range strings.Split(broken, ", ") {
		if part == "" {
			continue
		}
		want++
		if !strings.Contains(v.String(), part) {
			t.Errorf("the verdict is %v, want %s in it", v, part)
		}
	}
	if got := v.Broken(); got != want {
		t.Errorf("%d promises were broken, want %d: %v\n%s", got, want, v, strings.Join(v.Faults, "\n"))
	}
	if (len(v.Faults) > 0) != (want > 0) {
		t.Errorf("the faults that are told are %q", v.Faults)
	}
}

// With one consumer that always answers, what comes first is in order even if it
// had been on its way at a kill.
func TestStrictChannel(t *testing.T) {
	for _, strict := range []bool{true, false} {
		b := open(strict)
		b.publish(b.lane, 2)
		b.done(1, 1, 1)
		b.kill(2)
		b.done(0, 2, 3)
		want := ""
		if strict {
			want = "1 out of order"
		}
		expect(t, b.Audit(bound), want)
	}
}

func TestDeferred(t *testing.T) {
	tests := []struct {
		due, came int // ms
		broken    string
	}{
		{100, 100, ""}, {100, 5000, ""}, {100, 90, "1 before their time"},
	}
	for _, tt := range tests {
		b := open(false)
		k := b.publish(b.later, 2)
		for _, seq := range []int{1, 0} { // in no order
			due := b.at(tt.due * (1 - seq))
			got, ok := b.consumer.Receive(b.message(ledger.Key{Lane: k.Lane, Seq: seq}, 1, due), b.at(tt.came))
			if !ok {
				t.Fatalf("%v was not taken for a message", got)
			}
			b.consumer.Finish(got, b.at(tt.came))
		}
		expect(t, b.Audit(bound), tt.broken)
	}
}

func TestFigures(t *testing.T) {
	b := open(false)
	b.publish(b.lane, 2)
	b.lane.Attempt(3)
	b.done(0, 1, 100)
	b.done(1, 1, 200)
	b.kill(500)
	b.done(0, 1, 600)
	b.done(1, 1, 700)
	v := b.Audit(bound)
	if v.Published != 5 || v.Acknowledged != 2 || len(v.Repeats) != 1 || v.Repeats[0] != 2 || v.Oldest.Round(10*time.Millisecond) != 400*time.Millisecond {
		t.Errorf("the figures are %+v", v)
	}
}
