package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/link"
	millrace "github.com/millrace-mq/millrace/clients/go"
)

// letterTimeout is how long a dead letter may take to be acknowledged. Then its
// message comes again.
const letterTimeout = 10 * time.Second

// letters are published for messages that were refused. They have their bodies, and
// IDs of their own.
type letters struct {
	to        []string // daemons; none stands for the one that a message came from
	link      *link.Settings
	userAgent string
	log       *slog.Logger

	mu      sync.Mutex // guards below; never held across a publish
	writers map[string]*millrace.Writer
}

// publish publishes m's body to a topic, and returns nil when a daemon has it.
func (l *letters) publish(ctx context.Context, topic string, m *millrace.Message) error {
	w, err := l.writer(m.Address)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, letterTimeout)
		defer cancel()
		err = w.Publish(ctx, topic, m.Body)
	}
	if err != nil {
		return fmt.Errorf("publish to topic %s: %w", topic, err)
	}
	return nil
}

func (l *letters) writer(address string) (*millrace.Writer, error) {
	to := l.to
	if len(to) == 0 {
		to = []string{address}
	} else {
		address = ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w, ok := l.writers[address]; ok {
		return w, nil
	}
	// A letter that may be there is sent again: twice is better than never.
	c := millrace.WriterConfig{Addresses: to, RetryUncertain: true, Connection: millrace.Connection{UserAgent: l.userAgent}}
	if err := l.link.Writer(&c, l.log); err != nil {
		return nil, err
	}
	w, err := millrace.NewWriter(c)
	if err != nil {
		return nil, err
	}
	if l.writers == nil {
		l.writers = make(map[string]*millrace.Writer)
	}
	l.writers[address] = w
	return w, nil
}

// close ends connections. Nothing may be published any more.
func (l *letters) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, w := range l.writers {
		errs = append(errs, w.Close())
	}
	return errors.Join(errs...)
}
