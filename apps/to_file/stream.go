package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/to_file/archive"
	millrace "github.com/millrace-mq/millrace/clients/go"
)

// stream is one topic on its way from the daemons into files.
type stream struct {
	topic    string
	files    *archive.Archive
	reader   *millrace.Reader
	recorder *recorder
	log      *slog.Logger
	hangup   chan struct{}
}

// aWhile is how long finding a daemon may take unremarked.
const aWhile = 3 * time.Second

// newStream completes r and cfg, and connects them.
func newStream(files *archive.Archive, cfg millrace.ReaderConfig, r *recorder) (*stream, error) {
	s := &stream{topic: cfg.Topic, files: files, recorder: r, log: cfg.Log, hangup: make(chan struct{}, 1)}
	r.lines = files
	r.wake = make(chan struct{}, 1)
	cfg.Handler = millrace.HandlerFunc(func(_ context.Context, m *millrace.Message) error {
		s.recorder.add(record{archive.Record{ID: m.ID, Timestamp: m.Timestamp, Attempts: m.Attempts, Topic: s.topic, Body: m.Body}, m})
		return millrace.ErrAnswerLater
	})
	var err error
	s.reader, err = millrace.NewReader(cfg)
	if err != nil {
		return nil, err
	}
	r.enough = max(1, cfg.MaxInFlight/2)
	r.starved = s.reader.Starved
	return s, nil
}

// run consumes until ctx ends or the disk fails.
func (s *stream) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	var consumed error
	wg.Go(func() {
		defer close(ended)
		consumed = s.reader.Run(ctx)
	})
	wg.Go(func() { s.sayIfAlone(ctx) })
	err := s.recorder.run(signals{hangup: s.hangup, stopping: ctx.Done(), ended: ended})
	if err != nil {
		stop()
		s.recorder.requeueRest(ended)
	}
	<-ended
	if err = errors.Join(err, consumed); err != nil {
		return fmt.Errorf("topic %s: %w", s.topic, err)
	}
	return nil
}

// sayIfAlone tells once, after a while without any daemon, that this is being
// waited for: a topic may not exist yet, or its name be mistyped.
func (s *stream) sayIfAlone(ctx context.Context) {
	t := time.NewTimer(aWhile)
	defer t.Stop()
	select {
	case <-t.C:
		if s.reader.Stats().Connections == 0 {
			s.log.Warn("no daemon with this topic was found yet, waiting for one", "topic", s.topic)
		}
	case <-ctx.Done():
	}
}

// run consumes all streams until ctx ends; then it drains them and returns nil.
// When one fails, all end, and it returns why. A hangup closes all files, so
// that they can be moved away.
func run(ctx context.Context, streams []*stream, hangups <-chan os.Signal) error {
	for _, s := range streams {
		if err := s.files.Prepare(); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, len(streams))
	for i, s := range streams {
		wg.Go(func() {
			defer stop()
			errs[i] = s.run(ctx)
		})
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-hangups:
			for _, s := range streams {
				select {
				case s.hangup <- struct{}{}:
				default: // one is waiting already
				}
			}
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
