package consume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/link"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

// Stream is what becomes of one topic's messages.
type Stream interface {
	// Run consumes the topic until ctx ends, answers what it has, and returns nil; or
	// until it cannot go on, and returns why.
	Run(ctx context.Context) error
}

// goneFor is how long all lookupds have to list a topic no more until its stream ends.
// One that was started again lists topics only when their daemons have come back to it.
const goneFor = 2 * time.Minute

// firstAsks is how soon lookupds are asked again as long as none has answered yet.
const firstAsks = time.Second

// Run runs a stream for each topic: for those that are named at once, for those that a
// pattern matches when a lookupd lists them, until they are gone for good. open makes a stream
// and may refuse; it is called by one goroutine, with each topic once at a time. When ctx
// ends, or one stream has failed, all end. The error is why they failed.
func (s *Settings) Run(ctx context.Context, log *slog.Logger, open func(topic string) (Stream, error)) error {
	ctx, stop := context.WithCancel(ctx)
	r := &running{settings: s, log: log, open: open, streams: make(map[string]*stream), stop: stop}
	err := r.run(ctx)
	stop()
	r.wg.Wait()
	return errors.Join(err, r.failure)
}

// running is one Run.
type running struct {
	settings *Settings
	log      *slog.Logger
	open     func(topic string) (Stream, error)
	stop     context.CancelFunc
	wg       sync.WaitGroup // of the streams

	mu      sync.Mutex // guards failure; never held across a call
	failure error

	// Owned by run.
	streams map[string]*stream
	silent  bool // no lookupd has answered the last time
}

// stream is a stream that runs.
type stream struct {
	end    context.CancelFunc
	ended  chan struct{}
	listed time.Time // when a lookupd listed its topic, or might have, for the last time
}

func (r *running) run(ctx context.Context) error {
	named := r.settings.Named()
	if len(named) == 0 && len(r.settings.topics) > 0 {
		return errNoTopic
	}
	var errs []error
	for _, topic := range named {
		errs = append(errs, r.begin(ctx, topic))
	}
	if err := errors.Join(errs...); err != nil || len(named) > 0 {
		if err == nil {
			<-ctx.Done()
		}
		return err
	}
	return r.follow(ctx)
}

// begin begins a topic's stream.
func (r *running) begin(ctx context.Context, topic string) error {
	s, err := r.open(topic)
	if err != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	ctx, end := context.WithCancel(ctx)
	running := &stream{end: end, ended: make(chan struct{}), listed: time.Now()}
	r.streams[topic] = running
	r.wg.Go(func() {
		defer close(running.ended)
		defer end()
		if err := s.Run(ctx); err != nil {
			r.mu.Lock()
			r.failure = errors.Join(r.failure, fmt.Errorf("topic %s: %w", topic, err))
			r.mu.Unlock()
			r.stop()
		}
	})
	return nil
}

// follow asks lookupds for topics until ctx ends.
func (r *running) follow(ctx context.Context) error {
	var cfg millrace.ReaderConfig
	if err := r.settings.Link.Reader(&cfg, r.log); err != nil {
		return err
	}
	dial := r.settings.dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: cmp.Or(r.settings.ConnectTimeout, askFor)}).DialContext
	}
	l, err := newLister(r.settings.lookups, cfg.LookupTLS, dial)
	if err != nil {
		return err
	}
	l.secret = link.Bearer(cfg.AuthSecret)
	l.patience = cmp.Or(r.settings.RequestTimeout, askFor)
	defer l.close()
	again := time.NewTimer(0)
	defer again.Stop()
	answered := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		found := l.ask(ctx)
		if ctx.Err() != nil {
			return nil
		}
		r.say(found)
		r.take(ctx, found)
		answered = answered || len(found.down) < len(l.bases)
		if answered {
			again.Reset(r.settings.refresh)
		} else {
			again.Reset(min(firstAsks, r.settings.refresh))
		}
	}
}

// say logs when lookupds stop answering, and when they answer again.
func (r *running) say(found listing) {
	switch silent := len(found.down) > 0; {
	case silent && !r.silent:
		r.log.Warn("a lookupd does not list its topics, new ones may be missed until it does", "error", errors.Join(found.down...))
	case !silent && r.silent:
		r.log.Info("all lookupds list their topics again")
	}
	r.silent = len(found.down) > 0
}

// take begins streams for topics that are new, and ends those whose topics are gone.
func (r *running) take(ctx context.Context, found listing) {
	now := time.Now()
	for _, topic := range found.topics {
		if !protocol.ValidName(topic) || !r.settings.matches(topic) {
			continue
		}
		if s, ok := r.streams[topic]; ok {
			s.listed = now
			continue
		}
		if err := r.begin(ctx, topic); err != nil {
			r.log.Error("a topic is not consumed", "error", err)
			// Not asked of open again each time: it is remembered as one that has ended.
			r.streams[topic] = &stream{end: func() {}, ended: closed, listed: now}
			continue
		}
		r.log.Info("found a topic", "topic", topic)
	}
	for topic, s := range r.streams {
		if len(found.down) > 0 {
			s.listed = now // it may have been listed by whom we could not ask
		}
		if now.Sub(s.listed) >= goneFor {
			r.log.Info("a topic is gone, ending its stream", "topic", topic)
			s.end()
			<-s.ended
			delete(r.streams, topic)
		}
	}
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// aWhile is how long finding a daemon may take unremarked.
const aWhile = 3 * time.Second

// SayIfAlone tells once, after a while without any daemon, that this is being
// waited for: a topic may not exist yet, or its name be mistyped. It returns then, or when
// ctx ends.
func SayIfAlone(ctx context.Context, r *millrace.Reader, topic string, log *slog.Logger) {
	t := time.NewTimer(aWhile)
	defer t.Stop()
	select {
	case <-t.C:
		if r.Stats().Connections == 0 {
			log.Warn("no daemon with this topic was found yet, waiting for one", "topic", topic)
		}
	case <-ctx.Done():
	}
}
