package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/consume"
	"github.com/millrace-mq/millrace/apps/internal/record"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
)

// requeueDelay is how long messages that are not shown any more stay away, so
// that they do not come straight back to a program that is ending.
const requeueDelay = time.Second

// show shows messages until ctx ends, or enough were shown.
func (s *settings) show(ctx context.Context, std program.Stdio) error {
	log, _, err := program.Logger(std.Err, s.logLevel)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := &watch{settings: s, style: s.style(std.Out), log: log, screen: newScreen(std.Out, s.count, stop)}
	showing, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var shown, late error
	var wg, watching sync.WaitGroup
	wg.Go(func() { shown = w.screen.run(showing) })
	if s.noFollow {
		watching.Go(func() {
			late = w.untilCaughtUp(ctx)
			stop()
		})
	}
	consumed := s.consume.Run(ctx, log, w.open)
	stop()
	watching.Wait()
	end()
	wg.Wait()
	return errors.Join(consumed, shown, late)
}

// watch is one run.
type watch struct {
	settings *settings
	style    style
	log      *slog.Logger
	screen   *screen

	handling atomic.Int64 // batches in hand
	lastOld  atomic.Int64 // when the last message was seen that was published before the start: nanoseconds since then

	mu      sync.Mutex // guards streams; never held across a call
	streams []*stream
}

// stream is a topic that is shown.
type stream struct {
	*watch
	topic  string
	reader *millrace.Reader
	places *places
	lot    lot // of the batch in hand: there is one at a time
	known  []*millrace.Message
}

func (w *watch) open(topic string) (consume.Stream, error) {
	s := w.settings
	cfg, err := s.consume.Reader(topic, "tail/"+program.Version, w.log)
	if err != nil {
		return nil, err
	}
	st := &stream{watch: w, topic: topic, places: newPlaces(topic, s.place, s.began, w.log), lot: lot{shown: make(chan int)}}
	cfg.MaxInFlight = s.inFlight(cfg.MaxInFlight)
	cfg.BatchHandler, cfg.SampleRate, cfg.StartAt = st, s.percent(), st.places.next
	if st.reader, err = millrace.NewReader(cfg); err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.streams = append(w.streams, st)
	w.mu.Unlock()
	return st, nil
}

// connections is how many daemons are listened to.
func (w *watch) connections() (n int) {
	w.mu.Lock()
	all := slices.Clone(w.streams)
	w.mu.Unlock()
	for _, st := range all {
		n += st.reader.Stats().Connections
	}
	return n
}

const (
	// quietFor is how long nothing must come that was published before the start, for it to
	// count as all.
	quietFor = time.Second
	// lonelyFor is how long a daemon is waited for.
	lonelyFor = 10 * time.Second
)

var errLonely = errors.New("no daemon with such a topic was found: is its name right, and the address?")

// untilCaughtUp returns when all that was published before the start has been shown, as far
// as one can tell, or ctx ends.
func (w *watch) untilCaughtUp(ctx context.Context) error {
	look := time.NewTicker(quietFor / 10)
	defer look.Stop()
	began := w.settings.began
	connections, since := 0, began
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		if n := w.connections(); n != connections {
			connections, since = n, time.Now()
		}
		last := began.Add(time.Duration(w.lastOld.Load()))
		switch {
		case connections == 0 && w.lastOld.Load() == 0:
			if time.Since(began) > lonelyFor {
				return errLonely
			}
		case w.handling.Load() == 0 && time.Since(since) > quietFor && time.Since(last) > quietFor:
			return nil
		}
	}
}

// inFlight is how many messages may be on their way, at most: not more than are shown, if
// each that comes is.
func (s *settings) inFlight(most int) int {
	if s.count == 0 || s.noFollow || len(s.filter.texts)+len(s.filter.fields) > 0 {
		return most
	}
	return min(s.count, most)
}

// Run implements consume.Stream.
func (st *stream) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { consume.SayIfAlone(ctx, st.reader, st.topic, st.log) })
	defer stop()
	return st.reader.Run(ctx)
}

// HandleBatch shows those of a batch that are to be seen. It returns when they were
// written; what was not is requeued.
func (st *stream) HandleBatch(_ context.Context, batch []*millrace.Message) error {
	st.handling.Add(1)
	defer st.handling.Add(-1)
	l := &st.lot
	l.text, l.ends, st.known = l.text[:0], l.ends[:0], st.known[:0]
	for _, m := range batch {
		if !st.wanted(m) {
			continue
		}
		l.text = st.style.append(l.text, &record.Record{ID: m.ID, Timestamp: m.Timestamp, Attempts: m.Attempts, Topic: st.topic, Body: m.Body})
		l.ends = append(l.ends, len(l.text))
		st.known = append(st.known, m)
	}
	n := st.screen.show(l)
	st.places.note(st.known[:n])
	for _, m := range st.known[n:] {
		m.Requeue(requeueDelay)
	}
	return nil
}

// wanted reports whether m is to be shown.
func (st *stream) wanted(m *millrace.Message) bool {
	s := st.settings
	if s.noFollow {
		if m.Timestamp.After(s.began) {
			return false
		}
		st.lastOld.Store(int64(time.Since(s.began)))
	}
	return s.filter.passes(m.Body) && !st.places.again(m)
}
