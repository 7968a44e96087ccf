package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

var errDown = errors.New("connection refused")

// daemon is a fake queue daemon, with the connections to it. Publishes are
// answered in order, a millisecond after they came.
type daemon struct {
	// fate says what becomes of the n-th publish, counted from 0 over all
	// connections: stored, and answered with the error. Nil is all well.
	fate func(n int, bodies [][]byte) (stored bool, err error)
	// dial, if set, is asked before each connection.
	dial func() error
	// most publishes that one connection takes; those that follow fail unsent,
	// while those before them are answered. 0 is no limit.
	perConnection int
	silent        bool // it answers nothing, until the connection is closed

	mu               sync.Mutex // guards below
	n                int
	stored           []string
	topics           map[string]int // publishes to each
	open             int            // connections
	last             *connection
	unanswered, most int
}

func (d *daemon) connect() (publisher, error) {
	if d.dial != nil {
		if err := d.dial(); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
	c := &connection{daemon: d, calls: make(chan func(), window), ended: make(chan struct{})}
	d.last = c
	go func() {
		defer close(c.ended)
		for call := range c.calls {
			time.Sleep(time.Millisecond) // an answer comes when more is on its way; most tests have a fake clock
			call()
		}
	}()
	return c, nil
}

// connection fails like a Writer's: after the first error, every publish that
// is on its way fails with it, unsent, and every one that still comes with
// errLost. All are told in order.
type connection struct {
	daemon *daemon
	calls  chan func()
	ended  chan struct{}

	// Guarded by daemon.mu.
	broken  error
	taken   int
	unheard []func(error)
}

func (c *connection) PublishManyAsync(_ context.Context, topic string, bodies [][]byte, done func(error)) error {
	d := c.daemon
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.broken != nil || d.perConnection > 0 && c.taken == d.perConnection {
		c.calls <- func() { done(&millrace.UnavailableError{Topic: topic, Err: fmt.Errorf("connecting: %w", errLost)}) }
		return nil
	}
	c.taken++
	if d.topics == nil {
		d.topics = make(map[string]int)
	}
	d.topics[topic]++
	if d.silent {
		c.unheard = append(c.unheard, done)
		return nil
	}
	d.unanswered++
	d.most = max(d.most, d.unanswered)
	c.calls <- func() { done(c.answer(bodies)) }
	return nil
}

func (c *connection) answer(bodies [][]byte) error {
	d := c.daemon
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unanswered--
	if c.broken != nil {
		return fmt.Errorf("not stored: %w", c.broken)
	}
	stored, err := true, error(nil)
	if d.fate != nil {
		stored, err = d.fate(d.n, bodies)
	}
	d.n++
	if stored {
		for _, b := range bodies {
			d.stored = append(d.stored, string(b))
		}
	}
	c.broken = err
	return err
}

func (c *connection) PublishDeferredAsync(ctx context.Context, topic string, _ time.Duration, body []byte, done func(error)) error {
	return c.PublishManyAsync(ctx, topic, [][]byte{body}, done)
}

func (c *connection) Close() error {
	for _, done := range c.unheard {
		c.calls <- func() { done(&millrace.UncertainError{Address: "qd", Err: errDown}) }
	}
	close(c.calls)
	<-c.ended
	c.daemon.mu.Lock()
	defer c.daemon.mu.Unlock()
	c.daemon.open--
	return nil
}
