package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/consume"
	"github.com/millrace-mq/millrace/apps/to_http/delivery"
	"github.com/millrace-mq/millrace/apps/to_http/endpoint"
	millrace "github.com/millrace-mq/millrace/clients/go"
)

// stream is one topic on its way from the daemons to the endpoints.
type stream struct {
	topic, channel string
	delivery       *delivery.Delivery
	letters        *letters
	letterTopic    string
	onRefused      string
	sample         float64
	delay, longest time.Duration // of what comes again
	counts         *counts
	report         *report
	log            *slog.Logger
	reader         *millrace.Reader
	stopping       <-chan struct{} // set by Run

	mu      sync.Mutex // guards trouble
	trouble time.Time  // when the reader was told to back off
}

// counts is what has become of messages.
type counts struct{ sent, unsampled, refused, requeued atomic.Uint64 }

func (c *counts) attributes() []any {
	return []any{"sent", c.sent.Load(), "refused", c.refused.Load(), "requeued", c.requeued.Load(), "left_out", c.unsampled.Load()}
}

// Run implements consume.Stream.
func (s *stream) Run(ctx context.Context) error {
	s.stopping = ctx.Done()
	var alone sync.WaitGroup
	defer alone.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	alone.Go(func() { consume.SayIfAlone(ctx, s.reader, s.topic, s.log) })
	return s.reader.Run(ctx)
}

// HandleBatch sends messages, and answers them by what has become of them.
func (s *stream) HandleBatch(ctx context.Context, batch []*millrace.Message) error {
	batch = s.sampled(batch)
	if len(batch) == 0 {
		return nil
	}
	from := delivery.Source{Topic: s.topic, Channel: s.channel, Stopping: s.stopping}
	verdicts, trouble := s.delivery.Deliver(ctx, from, batch)
	var refused sync.WaitGroup // dead letters share commands when they come together
	for i, m := range batch {
		if verdicts[i].Outcome == endpoint.Refused {
			refused.Go(func() { s.answer(ctx, m, verdicts[i]) })
			continue
		}
		s.answer(ctx, m, verdicts[i])
	}
	refused.Wait()
	if trouble != nil && !s.first() {
		return millrace.ErrAnswerLater // all are answered, and the reader knows
	}
	return trouble
}

// first reports whether trouble is news to the reader: all that was on its way when
// it began has the same to tell.
func (s *stream) first() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.trouble) < time.Second/2 {
		return false
	}
	s.trouble = time.Now()
	return true
}

// sampled finishes the messages that are not to be sent, and returns the others.
func (s *stream) sampled(batch []*millrace.Message) []*millrace.Message {
	if s.sample >= 1 {
		return batch
	}
	some := batch[:0]
	for _, m := range batch {
		// #nosec G404 -- a sample, not a secret
		if rand.Float64() < s.sample {
			some = append(some, m)
			continue
		}
		m.Finish()
		s.counts.unsampled.Add(1)
	}
	return some
}

func (s *stream) answer(ctx context.Context, m *millrace.Message, v delivery.Verdict) {
	switch v.Outcome {
	case endpoint.Taken:
		m.Finish()
		s.counts.sent.Add(1)
		return
	case endpoint.Refused:
		if s.refused(ctx, m, v.Err) == nil {
			m.Finish()
			return
		}
	}
	m.Requeue(s.after(m.Attempts, v.RetryAfter))
	s.counts.requeued.Add(1)
}

// after is when a message is to come again.
func (s *stream) after(attempts uint16, asked time.Duration) time.Duration {
	delay := s.longest
	if s.delay <= s.longest/time.Duration(max(attempts, 1)) {
		delay = s.delay * time.Duration(attempts)
	}
	return max(delay, asked)
}

// giveUp sees to a message that was delivered more often than max_attempts, an option
// of the reader's, allows.
func (s *stream) giveUp(ctx context.Context, m *millrace.Message) error {
	return s.refused(ctx, m, fmt.Errorf("it was delivered %d times", m.Attempts))
}

// refused does with a message what on-refused says. It returns nil if the message
// is to be finished, otherwise it is to come again.
func (s *stream) refused(ctx context.Context, m *millrace.Message, why error) error {
	s.counts.refused.Add(1)
	about := []any{"topic", s.topic, "id", m.ID, "node", m.Address, "error", why}
	switch s.onRefused {
	case drop:
		s.delivery.Forget(s.topic, m)
		s.report.say(slog.LevelError, "a refused message is dropped", s.topic, about...)
		return nil
	case deadLetter:
		if err := s.letters.publish(ctx, s.letterTopic, m); err != nil {
			s.report.say(slog.LevelError, "a refused message cannot be put aside, it comes again", s.topic, append(about, "reason", err)...)
			return err
		}
		s.delivery.Forget(s.topic, m)
		s.report.say(slog.LevelError, "a refused message is put aside", s.topic, append(about, "into", s.letterTopic)...)
		return nil
	}
	s.report.say(slog.LevelError, "a refused message comes again", s.topic, about...)
	return why
}
