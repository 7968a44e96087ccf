package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/millrace-mq/millrace/apps/internal/link"
	"github.com/millrace-mq/millrace/apps/to_http/delivery"
	"github.com/millrace-mq/millrace/apps/to_http/endpoint"
	"github.com/millrace-mq/millrace/apps/to_http/pool"
	millrace "github.com/millrace-mq/millrace/clients/go"
)

// taker is an endpoint that refuses what begins with "bad", if it is picky, and fails if
// it is down.
type taker struct {
	name        string
	picky, down bool

	mu   sync.Mutex // guards came
	came []string
}

func (e *taker) Name() string { return e.name }

func (e *taker) Send(_ context.Context, _ http.Header, body []byte) endpoint.Result {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.came = append(e.came, string(body))
	switch {
	case e.down:
		return endpoint.Result{Err: errors.New("down")}
	case e.picky && strings.HasPrefix(string(body), "bad"):
		return endpoint.Result{Outcome: endpoint.Refused, About: true, Err: errors.New("bad")}
	}
	return endpoint.Result{Outcome: endpoint.Taken}
}

// newStream returns a stream to endpoints, whose dead letters nobody takes.
func newStream(t *testing.T, mode pool.Mode, onRefused string, endpoints ...*taker) *stream {
	log := slog.New(slog.DiscardHandler)
	c := delivery.Config{Mode: mode, Log: log}
	for _, e := range endpoints {
		c.Endpoints = append(c.Endpoints, e)
	}
	l := &letters{to: []string{"127.0.0.1:1"}, link: new(link.Settings), log: log}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	return &stream{topic: "t", channel: "c", sample: 1, delivery: delivery.New(c), letters: l, letterTopic: "t.refused",
		onRefused: onRefused, counts: new(counts), report: newReport(0, log), log: log}
}

func messages(bodies ...string) (all []*millrace.Message) {
	for i, b := range bodies {
		m := &millrace.Message{Attempts: 1, Body: []byte(b)}
		m.ID[0] = byte(i)
		all = append(all, m)
	}
	return all
}

// What is refused is finished when it is dropped, and comes again if it is to, or if it
// cannot be put aside; then who has it does not get it twice.
func TestRefused(t *testing.T) {
	tests := []struct {
		onRefused      string
		requeued, came int // after two deliveries; by the endpoint that takes it
	}{
		{drop, 0, 2}, // the second one is another message
		{requeue, 2, 1},
		{deadLetter, 2, 1},
	}
	for _, tt := range tests {
		good, picky := &taker{name: "good"}, &taker{name: "picky", picky: true}
		s := newStream(t, pool.All, tt.onRefused, good, picky)
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody waits for a daemon that takes dead letters
		for range 2 {
			if err := s.HandleBatch(ctx, messages("bad")); err != nil {
				t.Errorf("%s: %v", tt.onRefused, err)
			}
		}
		refused, requeued, sent := s.counts.refused.Load(), s.counts.requeued.Load(), s.counts.sent.Load()
		if refused != 2 || requeued != uint64(tt.requeued) || sent != 0 || len(good.came) != tt.came || len(picky.came) != 2 {
			t.Errorf("%s: %d refused, %d requeued, %d sent; %d and %d came", tt.onRefused, refused, requeued, sent, len(good.came), len(picky.came))
		}
	}
}

// Of what is given up, the same becomes.
func TestGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for onRefused, again := range map[string]bool{drop: false, requeue: true, deadLetter: true} {
		s := newStream(t, pool.HostPool, onRefused, &taker{})
		if err := s.giveUp(ctx, messages("x")[0]); (err != nil) != again || s.counts.refused.Load() != 1 {
			t.Errorf("%s: %v", onRefused, err)
		}
	}
}

// The reader is told of trouble, but once for all that has met it; each message comes again.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still meanwhile
		s := newStream(t, pool.HostPool, drop, &taker{down: true})
		told := 0
		for range 10 {
			switch err := s.HandleBatch(t.Context(), messages("x")); {
			case errors.Is(err, delivery.ErrDown):
				told++
			case err != nil && !errors.Is(err, millrace.ErrAnswerLater):
				t.Error(err)
			}
		}
		if told != 1 || s.counts.requeued.Load() != 10 {
			t.Errorf("told %d times, %d requeued", told, s.counts.requeued.Load())
		}
	})
}

func TestSample(t *testing.T) {
	e := &taker{}
	s := newStream(t, pool.HostPool, drop, e)
	s.sample = 0.5
	for range 200 {
		if err := s.HandleBatch(t.Context(), messages("x")); err != nil {
			t.Fatal(err)
		}
	}
	sent, out := s.counts.sent.Load(), s.counts.unsampled.Load()
	if sent+out != 200 || sent != uint64(len(e.came)) || sent == 0 || out == 0 {
		t.Errorf("%d sent, %d left out, %d came", sent, out, len(e.came))
	}
}
