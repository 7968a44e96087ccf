package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/consume"
	"github.com/millrace-mq/millrace/apps/internal/record"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
)

// requeueDelay is how long messages that are not shown any more stay away, so
// that they do not come straight back to a program that is ending.
const requeueDelay = time.Second

// show shows messages until ctx ends, or enough were shown.
func (s *settings) show(ctx context.Context, std program.Stdio) error {
	log, _, err := program.Logger(std.Err, s.logs)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := &watch{settings: s, style: s.style(std.Out), log: log, screen: newScreen(std.Out, s.count, stop)}
	showing, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	shown := make(chan error, 1)
	go func() { shown <- w.screen.run(showing) }()
	var late error
	var watching sync.WaitGroup
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
	if w.screen.stuck.Load() {
		// A write to a pipe that nobody reads ends with the process.
		return errors.Join(consumed, errStuck, late)
	}
	return errors.Join(consumed, <-shown, late)
}

// patience is how long whoever reads the output may take for what is in hand at the end.
const patience = 5 * time.Second

var errStuck = fmt.Errorf("write to standard output: nobody has read it for the last %v, what was in hand is not shown", patience)

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
	most   int // how many daemons were listened to at once; untilCaughtUp's
	lot    lot // of the batch in hand: there is one at a time
	known  []*millrace.Message
}

func (w *watch) open(topic string) (consume.Stream, error) {
	s := w.settings
	cfg, err := s.consume.Reader(topic, "tail/"+program.Version, w.log)
	if err != nil {
		return nil, err
	}
	st := &stream{watch: w, topic: topic, places: newPlaces(topic, s.place, s.began, w.log), lot: lot{shown: make(chan int, 1)}}
	cfg.MaxInFlight = s.inFlight(cfg.MaxInFlight)
	cfg.BatchHandler, cfg.SampleRate = st, s.percent()
	if protocol.Ephemeral(s.consume.Channel) {
		// Any other channel outlives a connection, and one that is new takes what the topic
		// has kept for its first: to begin later would throw that away.
		cfg.StartAt = st.places.next
	}
	cfg.ShutdownTimeout = patience
	if st.reader, err = millrace.NewReader(cfg); err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.streams = append(w.streams, st)
	w.mu.Unlock()
	return st, nil
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
// written, or ctx ends; what was not is requeued.
func (st *stream) HandleBatch(ctx context.Context, batch []*millrace.Message) error {
	if ctx.Err() != nil { // the lot may be the screen's
		return ctx.Err()
	}
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
	// Before they are shown: should the connection be lost meanwhile, they are not to come
	// again. Those that cannot be shown any more are of no interest.
	st.places.note(st.known)
	n := st.screen.show(ctx, l)
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
