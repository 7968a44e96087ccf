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
	r.noteChange()
}

// noteHandled has the whole Reader step back, or forward again, if it does so.
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
	if after == before {
		return
	}
	if after.level > before.level || after.until != before.until {
		r.config.Log.Warn("backing off", "failures", after.level, "for", time.Until(after.until))
	} else if after.level == 0 {
		r.config.Log.Info("back at full speed")
	}
	r.noteChange()
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

// noteChange has spread look at the lines again.
func (r *Reader) noteChange() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// spread keeps the credit divided among the connected lines.
func (r *Reader) spread(ctx context.Context) {
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-r.changed:
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
		if !sleep(ctx, time.Millisecond+time.Duration(len(lines))*5*time.Microsecond) {
			return
		}
	}
}

func (r *Reader) divide(lines []*line, now time.Time) (again time.Time) {
	total, until := r.credit(now)
	shares := make([]*share, len(lines))
	for i, l := range lines {
		shares[i] = l.share()
	}
	again = divide(shares, total, now)
	for i, l := range lines {
		l.setReady(shares[i].ready)
	}
	if again.IsZero() || !until.IsZero() && until.Before(again) {
		return until
	}
	return again
}
