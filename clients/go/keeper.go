package millrace

import "time"

// watchClock does what is to be done at a certain time, and when contexts end.
func (w *Writer) watchClock() {
	defer w.clock.Stop()
	for {
		select {
		case <-w.clock.C:
		case <-w.wake:
		case <-w.life.Done():
			return
		}
		w.ring(time.Now())
	}
}

func (w *Writer) ring(at time.Time) {
	w.mu.Lock()
	defer w.unlock()
	w.alarm = time.Time{}
	for b := w.open.first; b != nil && !b.began.Add(w.config.Linger).After(at); b = w.open.first {
		w.closeLocked(b)
	}
	w.eachReadyLocked(func(b *pubBatch) {
		if end := w.deadline(b); w.sweepLocked(b) && !end.IsZero() && !end.After(at) {
			b.unlink()
			w.failLocked(b)
		}
	})
	w.fillLocked(at)
	w.pumpLocked()
	if w.open.first != nil {
		w.alarmLocked(w.open.first.began.Add(w.config.Linger))
	}
	for b := w.ready.first; b != nil; b = b.next {
		if end := w.deadline(b); !end.IsZero() {
			w.alarmLocked(end)
		}
	}
}

// alarmLocked has ring called at a time, or before.
func (w *Writer) alarmLocked(at time.Time) {
	if w.alarm.IsZero() || at.Before(w.alarm) {
		w.alarm = at
		w.clock.Reset(time.Until(at))
	}
}

// deadline is until when a batch waits for a daemon; zero: for ever.
func (w *Writer) deadline(b *pubBatch) (at time.Time) {
	if b.replay != nil {
		return at
	}
	if w.config.RetryFor > 0 {
		at = b.began.Add(w.config.RetryFor)
	}
	if w.config.Spool != nil {
		at = earliest(at, b.began.Add(w.config.SpoolAfter))
	}
	return at
}

// fillLocked begins to connect to daemons, up to MaxConnections in all.
func (w *Writer) fillLocked(at time.Time) {
	if w.ending {
		return
	}
	for {
		d, when := w.pool.next(at, w.config.MaxConnections)
		if d == nil {
			if !when.IsZero() {
				w.alarmLocked(when)
			}
			return
		}
		d.busy = true
		w.wg.Go(func() { w.connect(d) })
	}
}

// connect connects to a daemon, and uses the connection until it fails.
func (w *Writer) connect(d *daemon) {
	c, err := w.dialer.connect(w.life, d.address)
	if err == nil {
		w.serve(d, c)
		return
	}
	w.mu.Lock()
	defer w.unlock()
	if first := d.failures == 0; first && !w.ending {
		w.config.Log.Warn("connecting failed", "node", d.address, "error", err)
	}
	at := time.Now()
	d.unreachable(at, err)
	w.fillLocked(at)
	w.giveUpLocked()
}

// giveUpLocked fails what waits, if nothing is tried twice and there is nobody
// left to try, or all daemons refuse us.
func (w *Writer) giveUpLocked() {
	by := w.pool.refusal()
	if !w.pool.hopeless() || by == nil && w.config.RetryFor >= 0 {
		return
	}
	w.closeAllLocked() // who still gathers asked for the same attempt
	w.eachReadyLocked(func(b *pubBatch) {
		b.unlink()
		if by != nil {
			w.settleLocked(b, w.refusedError(b, &RefusedError{b.topic, by.address, by.trouble}))
		} else {
			w.failLocked(b)
		}
	})
}

// eachReadyLocked calls f with all that waits, except what comes from the spool.
// f may take it out, or all of them.
func (w *Writer) eachReadyLocked(f func(*pubBatch)) {
	for b := w.ready.first; b != nil && b.list == &w.ready; {
		next := b.next
		if b.replay == nil {
			f(b)
		}
		b = next
	}
}

// refusal returns a daemon that says that we have no right to be there, if all do.
func (p *pool) refusal() (by *daemon) {
	for _, d := range p.daemons {
		if !d.refuses {
			return nil
		}
		by = d
	}
	return by
}

// abandonLocked ends the trying, at the end of Close: what is not on its way
// fails, or goes to the spool.
func (w *Writer) abandonLocked() {
	w.closeAllLocked()
	for b := w.ready.first; b != nil; b = w.ready.first {
		b.unlink() // what comes from the spool stays there
		w.failLocked(b)
	}
}

// troubleLocked says why nothing can be sent.
func (w *Writer) troubleLocked() error { return w.pool.trouble() }

// tryNowLocked begins to connect without waiting for any back-off.
func (w *Writer) tryNowLocked() {
	at := time.Now()
	for _, d := range w.pool.daemons {
		d.notBefore = at
	}
	w.fillLocked(at)
}

// discover keeps the daemons that are known those that lookupds list, and asks
// sooner than LookupInterval while there is nobody to publish to.
func (w *Writer) discover() {
	if len(w.config.Lookupds) == 0 {
		return
	}
	// A lookupd that hangs holds up nobody who is listed by another.
	w.lookups.partly = func(found []producer) { w.meet(found, false) }
	const soon = time.Second
	for pause := soon; ; {
		found, _ := w.lookups.ask(w.life)
		next := w.config.LookupInterval
		if w.meet(found, true) {
			pause = soon
		} else {
			next = min(pause, next)
			pause = 2 * next
		}
		if !sleep(w.life, vary(next, 0.1)) {
			return
		}
	}
}

// meet takes note of daemons that are listed, of all that are if found is
// complete, and reports whether any is connected.
func (w *Writer) meet(found []producer, complete bool) (connected bool) {
	w.mu.Lock()
	defer w.unlock()
	w.pool.meet(found, complete, &w.config.Connection)
	w.after.lost = append(w.after.lost, w.pool.spare()...)
	w.fillLocked(time.Now())
	if complete {
		w.giveUpLocked()
	}
	return len(w.pool.lanes) > 0
}
