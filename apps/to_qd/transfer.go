package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/consume"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
)

const userAgent = "to_qd/"

// workers is how many publishes of a topic may be on their way at once, unless order is kept.
const workers = 3

// lookupEvery is how often destination lookupds are asked for daemons.
const lookupEvery = 10 * time.Second

// transfer is all topics on their way.
type transfer struct {
	*settings
	log      *slog.Logger
	writer   *millrace.Writer
	loops    *loops
	shares   shares
	channels *mirror // nil if they are not looked after
}

// transfer connects the destination. It fails if that is the source.
func (s *settings) transfer(ctx context.Context, log *slog.Logger) (*transfer, error) {
	t := &transfer{settings: s, log: log, loops: newLoops()}
	for _, a := range s.daemons {
		t.loops.destination(a)
	}
	if err := t.checkLoops(ctx); err != nil {
		return nil, err
	}
	cfg := millrace.WriterConfig{
		Addresses: s.daemons, Lookupds: s.lookups, LookupInterval: lookupEvery,
		MaxConnections: max(4, len(s.daemons)),
		RetryFor:       tryFor,
		MaxInFlight:    math.MaxInt,      // what is held is bounded
		CloseTimeout:   time.Millisecond, // by then nobody waits for an outcome
		OnPublish: func(p millrace.Published) {
			if p.Err == nil {
				t.loops.destination(p.Address)
			}
		},
		Connection: millrace.Connection{UserAgent: userAgent + program.Version},
	}
	if err := s.to.Writer(&cfg, log); err != nil {
		return nil, err
	}
	if s.mirror {
		from, err := s.from.Reader("", "", slog.New(slog.DiscardHandler)) // what is wrong was told before
		if err != nil {
			return nil, err
		}
		t.channels = newMirror(t, from.Connection, cfg.Connection)
	}
	var err error
	t.writer, err = millrace.NewWriter(cfg)
	return t, err
}

// checkLoops fails if messages of a topic that is named would come back, as far as addresses tell.
func (t *transfer) checkLoops(ctx context.Context) error {
	var errs []error
	for _, topic := range t.from.Named() {
		errs = append(errs, t.checkLoop(ctx, topic))
	}
	return errors.Join(errs...)
}

// checkLoop fails if a topic's messages would come back.
func (t *transfer) checkLoop(ctx context.Context, topic string) error {
	to, err := t.route.to(topic)
	if err != nil || !t.from.Consumes(to) {
		return err
	}
	for _, a := range t.from.Daemons() {
		if err := t.loops.check(ctx, a, to); err != nil {
			return err
		}
	}
	for _, a := range t.from.Lookups() {
		for _, b := range t.lookups {
			if samePlace(ctx, a, b) {
				return fmt.Errorf("lookupd %s is that of the source and of the destination, and topic %s is consumed: its messages would come back for ever; name other daemons, or another destination-topic", a, to)
			}
		}
	}
	return nil
}

// open makes a topic's stream.
func (t *transfer) open(topic string) (consume.Stream, error) {
	to, err := t.route.to(topic)
	if err != nil {
		return nil, err
	}
	log := t.log.With("topic", topic)
	if to != topic {
		log = log.With("to", to)
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveFor)
	defer cancel()
	if err := t.checkLoop(ctx, topic); err != nil {
		return nil, err
	}
	cfg, err := t.from.Reader(topic, userAgent+program.Version, t.log)
	if err != nil {
		return nil, err
	}
	s := &stream{
		topic: topic, to: to, out: t.writer, workers: workers, selection: &t.selection, shares: &t.shares,
		refused: t.refused, patience: t.stopTimeout, every: t.statusEvery, log: log,
		loops: func(context.Context, string) error { return nil },
	}
	if t.ordered {
		s.workers = 1
	}
	if t.from.Consumes(to) {
		s.loops = func(ctx context.Context, address string) error { return t.loops.check(ctx, address, to) }
	}
	if t.channels != nil {
		s.prepare = func(ctx context.Context, ready func()) { t.channels.follow(ctx, topic, to, log, ready) }
	}
	return newStream(s, cfg)
}

func (t *transfer) close() {
	if t.channels != nil {
		t.channels.close()
	}
	if err := t.writer.Close(); err != nil {
		t.log.Warn("closing the connections to the destination failed", "error", err)
	}
}
