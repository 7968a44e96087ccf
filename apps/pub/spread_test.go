package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

// cluster is a fake of several daemons, which answer in any order.
type cluster struct {
	fate func(topic string, bodies [][]byte) error // nil is all well

	mu      sync.Mutex // guards below
	stored  []string
	pending sync.WaitGroup
}

func (c *cluster) PublishManyAsync(ctx context.Context, topic string, bodies [][]byte, done func(error)) error {
	c.pending.Go(func() {
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		c.mu.Lock()
		var err error
		if c.fate != nil {
			err = c.fate(topic, bodies)
		}
		for _, b := range bodies {
			if err == nil {
				c.stored = append(c.stored, string(b))
			}
		}
		c.mu.Unlock()
		done(err)
	})
	return nil
}

func (c *cluster) PublishDeferredAsync(ctx context.Context, topic string, _ time.Duration, body []byte, done func(error)) error {
	return c.PublishManyAsync(ctx, topic, [][]byte{body}, done)
}

func (c *cluster) Close() error {
	c.pending.Wait()
	return nil
}

// pubSpread publishes messages to a cluster in batches of 10.
func pubSpread(t *testing.T, c *cluster, messages []string, deferred time.Duration) (said string, err error) {
	t.Helper()
	var stderr strings.Builder
	p := publishingTo(input(messages), &stderr)
	p.feed.limit = 10
	p.sinks = []sink{newSpread(delivery{
		name: "qds", open: func() (publisher, error) { return c, nil }, window: 5, deferred: deferred, retryFor: 10 * time.Second,
		warn: p.report.say, inputs: p.feed.inputs, ledger: p.ledger,
	})}
	err = p.run(t.Context())
	slices.Sort(c.stored)
	return stderr.String(), err
}

func sorted(all []string) []string {
	slices.Sort(all)
	return all
}

func TestSpread(t *testing.T) {
	for _, deferred := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			c := &cluster{}
			said, err := pubSpread(t, c, numbers(1, 99), deferred)
			if err != nil || said != "" || !slices.Equal(c.stored, sorted(numbers(1, 99))) {
				t.Errorf("error %v, said %q, stored %q", err, said, c.stored)
			}
		})
	}
}

// Whatever shares a publish with a message that is refused is published.
func TestSpreadRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{fate: func(_ string, bodies [][]byte) error {
			for _, b := range bodies {
				if string(b) == "message 8" || string(b) == "message 77" {
					return &millrace.RefusedError{Err: &protocol.Error{Code: protocol.EBadMessage, Text: "no"}}
				}
			}
			return nil
		}}
		_, err := pubSpread(t, c, numbers(1, 99), 0)
		if err == nil || err.Error() != "qds: 2 messages were refused: lines 8, 77" {
			t.Errorf("error %v", err)
		}
		if want := sorted(slices.Concat(numbers(1, 7), numbers(9, 76), numbers(78, 99))); !slices.Equal(c.stored, want) {
			t.Errorf("stored %q", c.stored)
		}
	})
}

func TestSpreadUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := 3
		c := &cluster{fate: func(string, [][]byte) error {
			if lost--; lost >= 0 {
				return &millrace.UncertainError{Address: "qd7", Err: errDown}
			}
			return nil
		}}
		said, err := pubSpread(t, c, numbers(1, 99), 0)
		if err != nil || !slices.Equal(c.stored, sorted(numbers(1, 99))) {
			t.Errorf("error %v, stored %q", err, c.stored)
		}
		if !strings.Contains(said, "duplicates are possible") {
			t.Errorf("said %q", said)
		}
	})
}

// When nobody takes anything, reading ends, and all that was read is told.
func TestSpreadNobodyThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{fate: func(topic string, _ [][]byte) error {
			return &millrace.UnavailableError{Topic: topic, Err: errDown}
		}}
		in := &endless{}
		var stderr strings.Builder
		p := publishingTo(in, &stderr)
		p.sinks = []sink{newSpread(delivery{
			name: "qds", open: func() (publisher, error) { return c, nil }, window: 5, retryFor: time.Second,
			warn: p.report.say, inputs: p.feed.inputs, ledger: p.ledger,
		})}
		err := p.run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "not acknowledged: lines 1-") ||
			!strings.Contains(err.Error(), "what follows line ") {
			t.Errorf("error %v", err)
		}
		if p.ledger.stored.Load() != 0 {
			t.Errorf("%d count as stored", p.ledger.stored.Load())
		}
	})
}

// endless is an input without an end.
type endless struct{}

func (*endless) Read(b []byte) (int, error) { return copy(b, "a line\n"), nil }

func TestSpreadCannotBegin(t *testing.T) {
	bad := errors.New("bad flags")
	var stderr strings.Builder
	p := publishingTo(input(numbers(1, 5)), &stderr)
	p.sinks = []sink{newSpread(delivery{name: "qds", open: func() (publisher, error) { return nil, bad }, inputs: p.feed.inputs, ledger: p.ledger})}
	if err := p.run(t.Context()); !errors.Is(err, bad) {
		t.Errorf("error %v", err)
	}
}
