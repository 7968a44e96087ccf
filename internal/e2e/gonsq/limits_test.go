package gonsq

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"
)

// A producer that publishes too fast is refused, each time by an error of its own, and goes on
// over the same connection; what it was told is stored is, once and in order.
func TestTooFast(t *testing.T) {
	const rate = 200
	h := startHouse(t, fmt.Sprintf("--max-publish-messages-per-second=%d", rate))
	p, err := nsq.NewProducer(h.qdTCP, nsq.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	p.SetLogger(nil, 0)
	const all = 3 * rate
	done := make(chan *nsq.ProducerTransaction, all)
	for i := range all {
		if err := p.PublishAsync("t", []byte(fmt.Sprint(i)), done, i); err != nil {
			t.Fatal(err)
		}
	}
	var stored []string
	refused := 0
	for range all {
		x := receive(t, done)
		switch e, told := errors.AsType[nsq.ErrProtocol](x.Error); {
		case x.Error == nil:
			stored = append(stored, fmt.Sprint(x.Args[0]))
		case told && strings.HasPrefix(e.Reason, "E_PUB_FAILED PUB failed RATE_LIMITED: topic t takes 200 messages a second; again in "):
			refused++
		default:
			t.Fatalf("publish %v: %v", x.Args[0], x.Error) // a connection that was lost, say
		}
	}
	if refused == 0 || len(stored) < rate/2 {
		t.Errorf("%d were refused, %d stored", refused, len(stored))
	}
	for deadline := time.Now().Add(patience); ; {
		if err := p.Publish("t", []byte("last")); err == nil {
			stored = append(stored, "last")
			break
		} else if !strings.Contains(err.Error(), "RATE_LIMITED") || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // as back-pressure wants it
	}
	got := h.collect(t, "t", "ch")
	for i, want := range stored {
		if d := receive(t, got); d.body != want {
			t.Fatalf("message %d is %s, want %s", i, d.body, want)
		}
	}
}

// One connection too many is told so when it says who it is.
func TestTooManyConnections(t *testing.T) {
	h := startHouse(t, "--max-connections-per-address=1")
	first, err := nsq.NewProducer(h.qdTCP, nsq.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Stop()
	if err := first.Ping(); err != nil {
		t.Fatal(err)
	}
	second, err := nsq.NewProducer(h.qdTCP, nsq.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Stop()
	second.SetLogger(nil, 0)
	if err := second.Ping(); err == nil || !strings.Contains(err.Error(), "TOO_MANY_CONNECTIONS: there are 1 from 127.0.0.1 already") {
		t.Errorf("a second is told %v", err)
	}
	first.Stop()
	eventually(t, "room for the second", func() bool { return second.Ping() == nil })
}
