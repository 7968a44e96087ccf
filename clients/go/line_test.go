package millrace

import (
	"testing"
	"time"
)

// TestAnsweredWhileCreditIsDivided: the last message of a line whose turn is over is
// answered before that is known to the line, and must not leave its credit to nobody.
func TestAnsweredWhileCreditIsDivided(t *testing.T) {
	for name, c := range map[string]struct {
		before, after int // messages answered
		again         bool
	}{
		"before": {1, 0, true},
		"after":  {0, 1, true},
		"never":  {0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := NewReader(ReaderConfig{Topic: "t", Channel: "c", Addresses: []string{"q:1"}})
			noError(t, err)
			l := newLine(&conn{kick: make(chan struct{}, 1)}, r)
			answer := func(n int) {
				l.mu.Lock()
				defer l.mu.Unlock()
				if n > 0 {
					l.settleLocked(n)
				}
			}
			l.timeout = time.Minute
			l.setReady(1)
			l.arrivedLocked(1, time.Now())
			<-r.changed // because it is hungry
			s := l.share(time.Now())
			answer(c.before)
			s.ready = 0
			l.grant(s)
			answer(c.after)
			want(t, "is divided again", len(r.changed) > 0, c.again)
		})
	}
}
