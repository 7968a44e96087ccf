package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// quietFor is how long nothing must come that was published before the start, for it to
	// count as all.
	quietFor = time.Second
	// lonelyFor is how long a daemon is waited for.
	lonelyFor = 10 * time.Second
)

var errLonely = errors.New("no daemon with such a topic was found: is its name right, and the address?")

// catchUp tells whether all that was published before the start has been shown. It has no
// clock.
type catchUp struct {
	connected, missing int
	since              time.Time // when these last changed; at first, the start
}

// look is told how many daemons are connected, how many should be and are not, whether
// messages are in hand, and when the last one of those came that are looked for.
func (c *catchUp) look(now time.Time, connected, missing int, busy bool, last time.Time) (done bool, err error) {
	if connected != c.connected || missing != c.missing {
		c.connected, c.missing, c.since = connected, missing, now
	}
	steady := now.Sub(c.since)
	switch {
	case busy:
		return false, nil
	case connected > 0 && missing == 0:
		return steady > quietFor && now.Sub(last) > quietFor, nil
	case steady <= lonelyFor || now.Sub(last) <= quietFor:
		return false, nil
	case connected == 0 && last.IsZero():
		return false, errLonely
	}
	return false, fmt.Errorf("%d of %d daemons could not be reached for %v: what they have is not shown, or not all of it", missing, connected+missing, lonelyFor)
}

// untilCaughtUp returns when all that was published before the start has been shown, as far
// as one can tell, or ctx ends. The error says that some of it cannot be had.
func (w *watch) untilCaughtUp(ctx context.Context) error {
	look := time.NewTicker(quietFor / 10)
	defer look.Stop()
	c := catchUp{since: w.settings.began}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		connected, missing := w.daemons()
		var last time.Time
		if ago := w.lastOld.Load(); ago > 0 {
			last = w.settings.began.Add(time.Duration(ago))
		}
		if done, err := c.look(time.Now(), connected, missing, w.handling.Load() > 0, last); done || err != nil {
			return err
		}
	}
}

// daemons is how many are listened to, and how many should be: those that are named, that
// lookupds list, or that were there; and of a topic that is named, one at least.
func (w *watch) daemons() (connected, missing int) {
	w.mu.Lock()
	all := slices.Clone(w.streams)
	w.mu.Unlock()
	named := len(w.settings.consume.Named()) > 0
	for _, st := range all {
		now := st.reader.Stats().Connections
		st.most = max(st.most, now)
		want := max(st.most, st.reader.Daemons())
		if named {
			want = max(want, 1)
		}
		connected += now
		missing += want - now
	}
	return connected, missing
}
