package millrace

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// worker runs handlers, one at a time.
type worker struct {
	*Reader
	all   *sync.WaitGroup // of the workers
	hand  *hand
	busy  bool // it has messages of the queue's
	runs  []run
	batch []*Message
}

// work handles messages until the queue is closed.
func (w *worker) work(ctx context.Context) {
	over := false
	defer func() {
		if !over {
			w.replace(ctx)
		}
	}()
	if w.config.BatchHandler != nil {
		w.workBatches(ctx)
	} else {
		w.workParcels(ctx)
	}
	over = true
}

// replace has another worker go on for one whose handler, or hook, has ended its
// goroutine, as FailNow of package testing does. What it had goes back.
func (w *worker) replace(ctx context.Context) {
	err := &PanicError{Value: "runtime.Goexit was called", Stack: debug.Stack()}
	w.hand.end()
	if w.busy {
		w.logFailure("message failed", err)
		w.noteHandled(true)
		for _, r := range w.runs {
			r.parcel.line.requeueAll(r.messages, -1, now)
		}
	} else {
		w.logFailure("a hook failed", err, "hook", "OnIdle")
	}
	next := worker{Reader: w.Reader, all: w.all, hand: w.hand, busy: w.busy}
	w.all.Go(func() { next.work(ctx) })
}

// done notes that the worker has nothing any more, and reports whether it had.
func (w *worker) done() (had bool) {
	had, w.busy = w.busy, false
	return had
}

func (w *worker) workParcels(ctx context.Context) {
	w.runs = make([]run, 1)
	for p := w.queue.next(w.done()); p != nil; p = w.queue.next(w.done()) {
		w.busy = true
		w.workParcel(ctx, p)
	}
}

func (w *worker) workParcel(ctx context.Context, p *parcel) {
	for deadline := p.deadline(); ; {
		claimed := p.claimMany(1)
		if len(claimed) == 0 {
			break
		}
		if !time.Now().Before(deadline) {
			p.line.expired(1)
			continue
		}
		w.runs[0] = run{parcel: p, messages: claimed}
		w.touches.begin(w.hand, w.runs)
		if m := &claimed[0]; w.tooOften(m) {
			w.giveUp(ctx, m)
			w.hand.end()
		} else {
			began := w.clock()
			err := w.handle(ctx, w.config.Handler, m)
			w.hand.end()
			w.report(began, m.Timestamp, 1, err)
			w.answer(m, err)
		}
	}
	p.line.flush()
}

// answer answers m, if its handler has not, by what that returned.
func (w *worker) answer(m *Message, err error) {
	switch {
	case err == nil:
		m.finish(soon)
		w.noteHandled(false)
	case errors.Is(err, ErrAnswerLater):
	default:
		w.logFailure("message failed", err, "id", m.ID, "attempts", m.Attempts, "node", m.Address)
		w.noteHandled(true)
		m.requeue(-1, soon)
	}
}

// workBatches is work for a BatchHandler.
func (w *worker) workBatches(ctx context.Context) {
	for {
		w.runs = w.queue.gather(w.runs[:0], w.config.BatchSize, w.config.BatchWait, w.done())
		if len(w.runs) == 0 {
			return
		}
		w.busy = true
		w.workBatch(ctx)
	}
}

// workBatch handles runs and answers them. It goes by them, and never by the
// slice that the handler had, which is its own to change.
func (w *worker) workBatch(ctx context.Context) {
	w.touches.begin(w.hand, w.runs)
	keep := w.fill(ctx)
	if n := len(w.batch); n == 0 {
		w.hand.end()
	} else {
		began, oldest := w.clock(), w.batch[0].Timestamp
		err := w.handleBatch(ctx, w.batch)
		w.hand.end()
		w.report(began, oldest, n, err)
		// Who panics may have left somebody at work on the messages.
		_, panicked := errors.AsType[*PanicError](err)
		keep = w.answerBatch(err, n) || panicked || keep
	}
	if keep {
		w.batch = nil
		clear(w.runs)
		return
	}
	for _, r := range w.runs {
		r.parcel.letGo(len(r.messages))
	}
	clear(w.runs)
}

// fill makes batch of the messages in runs, but for those delivered too often. It
// reports whether somebody may keep one of these.
func (w *worker) fill(ctx context.Context) (keep bool) {
	w.batch = w.batch[:0]
	for i := range w.runs {
		messages := w.runs[i].messages
		for k := range messages {
			m := &messages[k]
			if w.tooOften(m) {
				keep = w.giveUp(ctx, m) || keep
				continue
			}
			w.batch = append(w.batch, m)
		}
	}
	return keep
}

// answerBatch answers what the handler has not by what it returned, and reports
// whether that is to be answered later.
func (w *worker) answerBatch(err error, n int) (later bool) {
	switch {
	case err == nil:
		for _, r := range w.runs {
			r.parcel.line.finishAll(r.messages, now)
		}
		w.noteHandled(false)
	case errors.Is(err, ErrAnswerLater):
		return true
	default:
		w.logFailure("batch failed", err, "messages", n)
		w.noteHandled(true)
		for _, r := range w.runs {
			r.parcel.line.requeueAll(r.messages, -1, now)
		}
	}
	return false
}

func (r *Reader) tooOften(m *Message) bool {
	return r.config.MaxAttempts > 0 && m.Attempts > r.config.MaxAttempts
}

// giveUp sees to a message that was delivered too often. It reports whether OnGiveUp
// was given it, whose it is then for good.
func (r *Reader) giveUp(ctx context.Context, m *Message) (given bool) {
	m.line.gaveUp()
	if r.config.OnGiveUp == nil {
		r.config.Log.Warn("message given up", "id", m.ID, "attempts", m.Attempts, "node", m.Address)
		m.finish(soon)
		return false
	}
	began := r.clock()
	err := r.handle(ctx, r.config.OnGiveUp, m)
	r.report(began, m.Timestamp, 1, err)
	switch {
	case err == nil:
		m.finish(soon)
	case errors.Is(err, ErrAnswerLater):
		m.later = true
	default:
		r.logFailure("giving a message up failed", err, "id", m.ID, "attempts", m.Attempts, "node", m.Address)
		m.requeue(-1, soon)
	}
	return true
}

// handle calls a handler. A panic comes back as a *PanicError.
func (r *Reader) handle(ctx context.Context, h Handler, m *Message) (err error) {
	defer caught(&err)
	return h.Handle(ctx, m)
}

func (r *Reader) handleBatch(ctx context.Context, batch []*Message) (err error) {
	defer caught(&err)
	return r.config.BatchHandler.HandleBatch(ctx, batch)
}

// caught, deferred, makes an error of a panic.
func caught(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}

// clock is when a handler begins, if somebody wants to know.
func (r *Reader) clock() (began time.Time) {
	if r.config.OnHandled != nil {
		began = time.Now()
	}
	return began
}

// report tells OnHandled of n messages.
func (r *Reader) report(began, oldest time.Time, n int, result error) {
	if r.config.OnHandled == nil {
		return
	}
	r.guarded("OnHandled", func() {
		r.config.OnHandled(Handled{Messages: n, Age: began.Sub(oldest), Took: time.Since(began), Err: result})
	})
}

// onIdle calls OnIdle.
func (r *Reader) onIdle() { r.guarded("OnIdle", r.config.OnIdle) }

// guarded calls a hook, whose panic must not end the Reader.
func (r *Reader) guarded(name string, hook func()) {
	var err error
	defer func() {
		if err != nil {
			r.logFailure("a hook failed", err, "hook", name)
		}
	}()
	defer caught(&err)
	hook()
}

func (r *Reader) logFailure(what string, err error, about ...any) {
	level, about := slog.LevelWarn, append(about, "error", err)
	if p, ok := errors.AsType[*PanicError](err); ok {
		level, about = slog.LevelError, append(about, "stack", string(p.Stack))
	}
	r.config.Log.Log(context.Background(), level, what, about...)
}
