package logs

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

var background = context.Background()

// sparing is a handler that bounds lines that are alike. Lines below INFO are not bounded:
// who asks for them wants to see them.
type sparing struct {
	next    slog.Handler
	about   []slog.Attr // of those it was given before, the ones that tell lines apart
	grouped bool        // attributes that come now are in a group, and tell nothing
	*account
}

// account is what handlers have in common that come of one.
type account struct {
	plain slog.Handler // without attributes

	mu      sync.Mutex // guards below; never held while something is written
	repeats repeats
	timer   *time.Timer // runs settle when the first window ends; nil: none is to be told
	closed  bool
}

func newSparing(to slog.Handler) *sparing {
	return &sparing{next: to, account: &account{plain: to}}
}

// Enabled implements slog.Handler.
func (s *sparing) Enabled(ctx context.Context, level slog.Level) bool {
	return s.next.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (s *sparing) WithAttrs(attrs []slog.Attr) slog.Handler {
	about := slices.Clone(s.about)
	for _, a := range attrs {
		if !s.grouped && telling[a.Key] {
			about = append(about, a)
		}
	}
	return &sparing{s.next.WithAttrs(attrs), about, s.grouped, s.account}
}

// WithGroup implements slog.Handler.
func (s *sparing) WithGroup(name string) slog.Handler {
	return &sparing{s.next.WithGroup(name), s.about, s.grouped || name != "", s.account}
}

// Handle implements slog.Handler.
func (s *sparing) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return s.next.Handle(ctx, r)
	}
	about := slices.Clip(s.about)
	var c cause
	r.Attrs(func(a slog.Attr) bool {
		switch {
		case wrong[a.Key]:
			c ^= causeOf(a.Key + told(a.Value.Any()))
		case !s.grouped && telling[a.Key]:
			about = append(about, a)
		}
		return true
	})
	if !s.admit(kindOf(r.Level, r.Message, about), about, c) {
		return nil
	}
	return s.next.Handle(ctx, r)
}

// admit is that of repeats, at this time.
func (c *account) admit(k kind, about []slog.Attr, why cause) bool {
	now := time.Now()
	c.mu.Lock()
	yes, before := c.repeats.admit(k, about, why, now)
	if !yes {
		c.armLocked(now)
	}
	c.mu.Unlock()
	c.tell(before)
	return yes
}

// armLocked sees to it that what was left out is told when its window ends.
func (c *account) armLocked(now time.Time) {
	if c.timer != nil || c.closed {
		return
	}
	if first, any := c.repeats.next(); any {
		c.timer = time.AfterFunc(first.Sub(now), c.settle)
	}
}

// settle tells what has been left out in the windows that have ended.
func (c *account) settle() {
	now := time.Now()
	c.mu.Lock()
	c.timer = nil
	over := c.repeats.over(now)
	c.armLocked(now)
	c.mu.Unlock()
	c.tell(over)
}

// close tells what has been left out until now. Nothing is told by itself any more.
func (c *account) close() {
	c.mu.Lock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	over := c.repeats.over(time.Now().Add(period))
	c.mu.Unlock()
	c.tell(over)
}

// tell writes a line for each of what was left out. Its level is that of the lines.
func (c *account) tell(left []omitted) {
	for _, o := range left {
		r := slog.NewRecord(time.Now(), o.level, "lines like this were left out", 0)
		r.AddAttrs(slog.String("like", o.msg), slog.Int("unlogged", o.lines))
		r.AddAttrs(o.attrs...)
		if c.plain.Enabled(background, o.level) {
			_ = c.plain.Handle(background, r)
		}
	}
}
