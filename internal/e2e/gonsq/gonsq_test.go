package gonsq

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"
)

// A delivery is what a handler was given, and when.
type delivery struct {
	body     string
	attempts uint16
	at       time.Time
}

func deliveryOf(m *nsq.Message) delivery {
	return delivery{string(m.Body), m.Attempts, time.Now()}
}

// collect finishes every message of topic and passes it on.
func (h house) collect(t *testing.T, topic, channel string) <-chan delivery {
	t.Helper()
	got := make(chan delivery, 10_000)
	h.consume(t, topic, channel, func(m *nsq.Message) error {
		got <- deliveryOf(m)
		return nil
	}, nil)
	return got
}

// Each way of publishing, and everything comes once and in order.
func TestPublishing(t *testing.T) {
	h := startHouse(t)
	bodies := make([]string, 1000)
	raw := make([][]byte, len(bodies))
	for i := range bodies {
		bodies[i] = fmt.Sprintf("message %d", i)
		raw[i] = []byte(bodies[i])
	}
	// answers waits for the answers to n asynchronous publishes.
	answers := func(done chan *nsq.ProducerTransaction, n int) error {
		for range n {
			if err := receive(t, done).Error; err != nil {
				return err
			}
		}
		return nil
	}
	tests := []struct {
		name    string
		publish func(p *nsq.Producer, topic string) error
	}{
		{"Publish", func(p *nsq.Producer, topic string) error {
			for _, b := range raw {
				if err := p.Publish(topic, b); err != nil {
					return err
				}
			}
			return nil
		}},
		{"MultiPublish", func(p *nsq.Producer, topic string) error { return p.MultiPublish(topic, raw) }},
		{"PublishAsync", func(p *nsq.Producer, topic string) error {
			done := make(chan *nsq.ProducerTransaction, len(raw))
			for _, b := range raw {
				if err := p.PublishAsync(topic, b, done); err != nil {
					return err
				}
			}
			return answers(done, len(raw))
		}},
		{"MultiPublishAsync", func(p *nsq.Producer, topic string) error {
			done := make(chan *nsq.ProducerTransaction, len(raw))
			n := 0
			for batch := range slices.Chunk(raw, 10) {
				if err := p.MultiPublishAsync(topic, batch, done); err != nil {
					return err
				}
				n++
			}
			return answers(done, n)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.publish(h.producer(t), tt.name); err != nil {
				t.Fatal(err)
			}
			got := h.collect(t, tt.name, "all")
			for i, want := range bodies {
				if d := receive(t, got); d.body != want || d.attempts != 1 {
					t.Fatalf("delivery %d is %q, attempt %d, want %q, attempt 1", i, d.body, d.attempts, want)
				}
			}
		})
	}
}

// A deferred message comes when it is due, not before, and others pass it.
func TestDeferredPublish(t *testing.T) {
	h := startHouse(t)
	h.post(t, "/topic/create?topic=later")
	h.post(t, "/channel/create?topic=later&channel=all")
	got := h.collect(t, "later", "all")
	p := h.producer(t)
	const delay = 600 * time.Millisecond
	sent := time.Now()
	if err := p.DeferredPublish("later", delay, []byte("deferred")); err != nil {
		t.Fatal(err)
	}
	done := make(chan *nsq.ProducerTransaction, 1)
	if err := p.DeferredPublishAsync("later", delay, []byte("deferred async"), done); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, done).Error; err != nil {
		t.Fatal(err)
	}
	if err := p.Publish("later", []byte("at once")); err != nil {
		t.Fatal(err)
	}
	if d := receive(t, got); d.body != "at once" {
		t.Fatalf("%q came first", d.body)
	}
	for _, want := range []string{"deferred", "deferred async"} {
		d := receive(t, got)
		if d.body != want || d.at.Sub(sent) < delay {
			t.Fatalf("%q came after %v, want %q after %v at least", d.body, d.at.Sub(sent), want, delay)
		}
	}
}

// Requeued messages come again with their attempts raised, by a handler's
// error and by Requeue with a delay.
func TestRequeueRaisesAttempts(t *testing.T) {
	h := startHouse(t)
	if err := h.producer(t).Publish("stubborn", []byte("a")); err != nil {
		t.Fatal(err)
	}
	const delay = 300 * time.Millisecond
	got := make(chan delivery, 10)
	h.consume(t, "stubborn", "all", func(m *nsq.Message) error {
		got <- deliveryOf(m)
		switch m.Attempts {
		case 1:
			return errors.New("the handler failed")
		case 2:
			m.DisableAutoResponse()
			m.RequeueWithoutBackoff(delay)
		}
		return nil
	}, map[string]any{"default_requeue_delay": "0s", "max_backoff_duration": "0s"})
	var last delivery
	for want := uint16(1); want <= 3; want++ {
		d := receive(t, got)
		if d.attempts != want {
			t.Fatalf("attempt %d came, want %d", d.attempts, want)
		}
		if want == 3 && d.at.Sub(last.at) < delay {
			t.Errorf("requeued for %v, it came after %v", delay, d.at.Sub(last.at))
		}
		last = d
	}
}

// A message that is held longer than its timeout comes again, unless it is
// touched meanwhile.
func TestTouchKeepsAMessage(t *testing.T) {
	const timeout = time.Second // the shortest a client may ask for
	tests := []struct {
		name  string
		touch bool
		want  []uint16
	}{
		{"touched", true, []uint16{1}},
		{"not touched", false, []uint16{1, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := startHouse(t)
			p := h.producer(t)
			if err := p.Publish("slow", []byte("held")); err != nil {
				t.Fatal(err)
			}
			got := make(chan delivery, 10)
			h.consume(t, "slow", "all", func(m *nsq.Message) error {
				got <- deliveryOf(m)
				if string(m.Body) == "held" && m.Attempts == 1 {
					// Half a timeout longer than one: the second delivery is not
					// due again when this one ends.
					hold(m, timeout*3/2, tt.touch)
				}
				return nil
			}, map[string]any{"msg_timeout": timeout})
			var attempts []uint16
			for d := receive(t, got); d.body == "held"; d = receive(t, got) {
				if attempts = append(attempts, d.attempts); len(attempts) == len(tt.want) {
					// What is published now comes after a second delivery that
					// should not have been, since handlers run one at a time.
					if err := p.Publish("slow", []byte("end")); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !slices.Equal(attempts, tt.want) {
				t.Errorf("attempts %d, want %d", attempts, tt.want)
			}
		})
	}
}

// hold keeps a handler busy, touching its message now and then if touch.
func hold(m *nsq.Message, d time.Duration, touch bool) {
	tick := time.NewTicker(d / 10)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		if touch {
			m.Touch()
		}
	}
}

// Every channel gets everything; the consumers of one channel share it.
func TestFanOutAndShare(t *testing.T) {
	h := startHouse(t)
	h.post(t, "/topic/create?topic=fan")
	for _, channel := range []string{"copy", "shared"} {
		h.post(t, "/channel/create?topic=fan&channel="+channel)
	}
	const n = 2000
	var raw [][]byte
	for i := range n {
		raw = append(raw, fmt.Appendf(nil, "%d", i))
	}
	if err := h.producer(t).MultiPublish("fan", raw); err != nil {
		t.Fatal(err)
	}
	whole := h.collect(t, "fan", "copy")
	shared := make(chan delivery, 2*n)
	for range 2 {
		h.consume(t, "fan", "shared", func(m *nsq.Message) error {
			shared <- deliveryOf(m)
			return nil
		}, nil)
	}
	for name, got := range map[string]<-chan delivery{"copy": whole, "shared": shared} {
		seen := map[string]bool{}
		for range n {
			seen[receive(t, got).body] = true
		}
		if len(seen) != n {
			t.Errorf("channel %s gave %d different messages of %d", name, len(seen), n)
		}
	}
}

// A refused publish is an error that names the rule, and the producer goes on.
func TestRefusedPublish(t *testing.T) {
	h := startHouse(t)
	p := h.producer(t)
	err := p.Publish("no/slash", []byte("a"))
	if err == nil || !strings.Contains(err.Error(), "E_BAD_TOPIC") {
		t.Errorf("publishing to a bad name: %v, want E_BAD_TOPIC", err)
	}
	eventually(t, "the producer to publish again", func() bool { return p.Publish("good", []byte("a")) == nil })
	if d := receive(t, h.collect(t, "good", "all")); d.body != "a" {
		t.Errorf("got %q", d.body)
	}
}
