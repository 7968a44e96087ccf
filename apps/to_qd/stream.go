package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/consume"
	millrace "github.com/millrace-mq/millrace/clients/go"
)

// publisher is what messages are published with: a millrace.Writer.
type publisher interface {
	PublishMany(ctx context.Context, topic string, bodies [][]byte) error
}

// stream is one topic on its way to another.
type stream struct {
	topic, to string
	reader    *millrace.Reader
	held      *held
	out       publisher
	workers   int // 1 keeps the order
	selection *selection
	shares    *shares // of all streams
	refused   string
	patience  time.Duration // to publish what it has, once it is told to end
	every     int           // messages after which a line is logged
	log       *slog.Logger

	// prepare is called before the first message is asked for, and meanwhile keeps up what it has prepared
	// until ctx ends. It calls ready once.
	prepare func(ctx context.Context, ready func())

	// loops returns an error if what comes from a source daemon would go back to it.
	loops func(ctx context.Context, address string) error

	counts counts
	brake  brake
}

func (s *stream) ordered() bool { return s.workers == 1 }

// grace is for how long a Reader waits for answers after all had to be given.
const grace = 5 * time.Second

// newStream completes s, whose other fields are set, by a Reader.
func newStream(s *stream, cfg millrace.ReaderConfig) (*stream, error) {
	s.held = newHeld(cfg.MaxInFlight)
	cfg.BatchHandler = millrace.BatchHandlerFunc(func(_ context.Context, batch []*millrace.Message) error {
		s.held.put(batch, time.Now())
		s.brake.look()
		return millrace.ErrAnswerLater
	})
	cfg.BatchSize = min(batchMessages, max(1, cfg.MaxInFlight/2))
	cfg.ShutdownTimeout = s.patience + grace
	var err error
	if s.reader, err = millrace.NewReader(cfg); err != nil {
		return nil, err
	}
	s.brake = brake{reader: s.reader, size: s.held.size, many: s.shares.many, log: s.log}
	return s, nil
}

// Run moves messages until ctx ends; then it asks for nothing more, publishes what it has, or
// gives it back when patience is at an end, and returns nil.
func (s *stream) Run(ctx context.Context) error {
	s.shares.topics.Add(1)
	defer s.shares.topics.Add(-1)
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	holding, letGo := context.WithCancel(context.WithoutCancel(ctx))
	defer letGo()
	ended := make(chan struct{}) // the Reader has
	var all sync.WaitGroup
	var failed, read error
	all.Go(func() {
		defer close(ended)
		defer s.held.close()
		read = s.read(reading, &all)
	})
	var mu sync.Mutex
	for range s.workers {
		all.Go(func() {
			if err := s.work(holding); err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
				stop(err)
				letGo()
				_ = s.work(holding) // which gives back what comes
			}
		})
	}
	all.Go(func() { s.touch(ended) })
	<-reading.Done()
	patience := time.NewTimer(s.patience)
	defer patience.Stop()
	select {
	case <-patience.C:
	case <-ended:
	}
	letGo()
	all.Wait()
	s.counts.tell(s.log, slog.LevelInfo, "ended")
	return errors.Join(failed, read)
}

// read has messages delivered until ctx ends, once all is prepared.
func (s *stream) read(ctx context.Context, all *sync.WaitGroup) error {
	if s.prepare != nil {
		ready := make(chan struct{})
		all.Go(func() { s.prepare(ctx, sync.OnceFunc(func() { close(ready) })) })
		select {
		case <-ready:
		case <-ctx.Done():
			return nil
		}
	}
	all.Go(func() { consume.SayIfAlone(ctx, s.reader, s.topic, s.log) })
	return s.reader.Run(ctx)
}

// touchEvery is how often it is looked what is to be touched: often enough for the shortest
// timeout that a daemon can have.
const touchEvery = 250 * time.Millisecond

// touch keeps what is held from being delivered again, until there is nothing more. What the
// source would take back all the same is given back, unless that loses the order.
func (s *stream) touch(ended <-chan struct{}) {
	tick := time.NewTicker(touchEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			for _, m := range s.held.due(now) {
				m.Touch()
			}
			if s.ordered() {
				continue
			}
			if late := s.held.late(now); len(late) > 0 {
				for _, p := range late {
					s.giveBack(p.messages)
				}
				s.held.done(late)
				s.brake.look()
			}
		case <-ended:
			return
		}
	}
}

// work publishes what is held until held is closed, or something is refused for good. Once
// ctx has ended, it gives back instead.
func (s *stream) work(ctx context.Context) error {
	var d delivery
	for parcels := s.held.take(batchMessages); parcels != nil; parcels = s.held.take(batchMessages) {
		err := d.deliver(ctx, s, parcels)
		s.held.done(parcels)
		s.brake.look()
		if err != nil {
			return err
		}
	}
	return nil
}
