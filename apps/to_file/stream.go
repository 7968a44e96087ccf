package main

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/consume"
	"github.com/millrace-mq/millrace/apps/to_file/archive"
	millrace "github.com/millrace-mq/millrace/clients/go"
)

// How long the messages of a stream that trickles wait for company, so that it does
// not keep the device busy, nor make a gzip member of every line.
const (
	plainGap  = 100 * time.Millisecond
	packedGap = 500 * time.Millisecond
)

// requeueDelay is how long messages that could not be written stay away, unless an
// option says otherwise. It keeps them from coming straight back to a program that
// is ending.
const requeueDelay = time.Second

// stream is one topic on its way from the daemons into files.
type stream struct {
	reader   *millrace.Reader
	recorder *recorder
	hangups  *hangups
}

// newStream completes cfg and r, and connects them.
func newStream(cfg millrace.ReaderConfig, gap time.Duration, r *recorder, h *hangups) (*stream, error) {
	s := &stream{recorder: r.make(), hangups: h}
	cfg.BatchHandler = r
	// The larger a batch, the fewer syncs; while it is written, the rest of what may be in
	// flight is on its way, and daemons that are idle keep a little credit.
	cfg.BatchSize = max(1, cfg.MaxInFlight*3/4)
	cfg.BatchWait = min(gap, r.interval)
	cfg.RequeueDelay = cmp.Or(cfg.RequeueDelay, requeueDelay)
	var err error
	s.reader, err = millrace.NewReader(cfg)
	if err != nil {
		return nil, err
	}
	r.valve = s.reader
	return s, nil
}

// Run implements consume.Stream: it consumes until ctx ends or the disk fails.
func (s *stream) Run(ctx context.Context) error {
	hangup := s.hangups.join()
	defer s.hangups.leave(hangup)
	ended := make(chan struct{})
	if err := s.prepare(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	var consumed error
	wg.Go(func() {
		defer close(ended)
		consumed = s.reader.Run(reading)
	})
	wg.Go(func() {
		defer stop()
		s.drain(ctx, ended)
	})
	wg.Go(func() { consume.SayIfAlone(reading, s.reader, s.recorder.topic, s.recorder.log) })
	err := s.recorder.run(signals{hangup: hangup, ended: ended})
	stop()
	<-ended
	return errors.Join(err, consumed)
}

// handLength is for how long what is in hand is written at the end. What is left then
// goes back.
const handLength = 5 * time.Second

// drain waits until ctx ends, and then until what has been delivered is written: the
// reader alone would give back what still waits for company.
func (s *stream) drain(ctx context.Context, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-ended:
		return
	}
	s.reader.Pause()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(handLength); s.reader.Stats().InFlight > 0 && time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-ended:
			return
		}
	}
}

// prepare tries what has to work before a message is taken. A disk that is full is
// waited for.
func (s *stream) prepare(ctx context.Context) error {
	for {
		err := s.recorder.turns.do(s.recorder.lines.Prepare)
		if !errors.Is(err, archive.ErrNoSpace) {
			return err
		}
		if err := s.recorder.waitForRoom(signals{ended: ctx.Done()}, err); err != nil || ctx.Err() != nil {
			return err
		}
	}
}
