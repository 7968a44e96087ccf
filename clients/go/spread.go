package millrace

import (
	"context"
	"time"
)

// Pause has daemons send nothing more until Resume is called. What they have
// sent is still handled. It may be called before the Reader runs.
func (r *Reader) Pause() { r.setPaused(true) }

// Resume ends a Pause.
func (r *Reader) Resume() { r.setPaused(false) }

func (r *Reader) setPaused(paused bool) {
	r.mu.Lock()
	r.paused = paused
	r.mu.Unlock()
	r.noteRation()
}

// noteHandled has the whole Reader step back, or forward again, if it does so.
// After a failure it must be called before the message is given back, or that
// would come again at once.
func (r *Reader) noteHandled(failed bool) {
	if r.config.MaxBackoff <= 0 {
		return
	}
	r.mu.Lock()
	before := r.pace
	if failed {
		r.pace.failed(time.Now())
	} else {
		r.pace.succeeded(time.Now())
	}
	after := r.pace
	r.mu.Unlock()
	switch {
	case after == before:
		return
	case after.until != before.until:
		for _, l := range r.current() {
			l.setReady(0)
		}
		r.config.Log.Warn("backing off", "failures", after.level, "retry_in", time.Until(after.until))
	case after.level == 0:
		r.config.Log.Info("backed off for long enough")
	}
	r.noteRation()
}

// credit is how many messages may be in flight over all lines, and until when
// that holds; zero means until something happens.
func (r *Reader) credit(now time.Time) (n int, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paused {
		return 0, time.Time{}
	}
	return r.pace.credit(r.config.MaxInFlight, now)
}

// noteChange has spread look at the lines again, soon.
func (r *Reader) noteChange() { signal(r.changed) }

// noteRation has it do so at once, because there is more or less to spread.
func (r *Reader) noteRation() { signal(r.rationed) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is one already
	}
}

// spread keeps the credit divided among the connected lines.
func (r *Reader) spread(ctx context.Context) {
	again, calm := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer again.Stop()
	defer calm.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-r.changed:
		case <-r.rationed:
		}
		lines := r.current()
		next := r.divide(lines, time.Now())
		if next.IsZero() {
			again.Stop()
		} else {
			again.Reset(time.Until(next))
		}
		// Whatever happens at once is looked at together, and looking at a thousand
		// lines must not become all that a Reader does.
		calm.Reset(time.Millisecond + time.Duration(len(lines))*5*time.Microsecond)
		select {
		case <-ctx.Done():
			return
		case <-calm.C:
		case <-r.rationed:
			r.noteRation()
		}
	}
}

// divide divides the credit among lines, and returns when that is to be done again
// even if nothing happens until then; zero means never.
func (r *Reader) divide(lines []*line, now time.Time) (again time.Time) {
	total, until := r.credit(now)
	shares := make([]*share, len(lines))
	for i, l := range lines {
		shares[i] = l.share(now)
	}
	again = earlier(divide(shares, total, now), until)
	for i, l := range lines {
		l.grant(shares[i])
		if s := shares[i]; s.inFlight > s.ready {
			again = earlier(again, s.lapses)
		}
	}
	return again
}

// earlier returns the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
