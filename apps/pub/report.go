package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// report writes to the user: progress in place when that is a terminal, and
// lines of their own for what must be known.
type report struct {
	out      io.Writer
	terminal bool

	mu    sync.Mutex // guards below, and that lines do not mix
	shown bool       // the cursor is behind a progress line
}

// Stream implements logs.Layer: the log looks as it does on what is below.
func (r *report) Stream() io.Writer { return r.out }

// Write writes lines of a log.
func (r *report) Write(lines []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
	return r.out.Write(lines)
}

func (r *report) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r, "pub: "+format+"\n", args...) // nobody to tell that nobody can be told
}

// clear takes the progress line away.
func (r *report) clear() {
	if r.shown {
		fmt.Fprint(r.out, "\r\x1b[K")
		r.shown = false
	}
}

// state is how far a run has come.
type state struct {
	messages, bytes int64 // that were acknowledged
	read, size      int64 // bytes of the input, and how many it has; 0 if that is not known
}

// follow shows now(), twice a second, until ctx ends; then the totals
// stay. Without a terminal it does nothing.
func (r *report) follow(ctx context.Context, now func() state) {
	if !r.terminal {
		return
	}
	began := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var before state
	last := began
	for {
		select {
		case at := <-tick.C:
			s := now()
			r.show(progress(s, before, at.Sub(last), at.Sub(began)))
			before, last = s, at
		case <-ctx.Done():
			r.show(totals(now(), time.Since(began)) + "\n")
			return
		}
	}
}

func (r *report) show(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprint(r.out, "\r\x1b[K"+text)
	r.shown = text[len(text)-1] != '\n'
}

// progress is the line for a state that was reached after elapsed, and another one
// span before it.
func progress(s, before state, span, elapsed time.Duration) string {
	text := fmt.Sprintf("%d messages  %.0f/s  ", s.messages, perSecond(s.messages-before.messages, span))
	if s.size == 0 {
		return text + elapsed.Round(100*time.Millisecond).String()
	}
	text += fmt.Sprintf("%s of %s (%d%%)", size(s.read), size(s.size), min(100, 100*s.read/s.size))
	if s.read > 0 && s.read < s.size {
		left := time.Duration(float64(elapsed) / float64(s.read) * float64(s.size-s.read))
		text += fmt.Sprintf("  %s left", left.Round(time.Second))
	}
	return text
}

// totals is the line for the end.
func totals(s state, elapsed time.Duration) string {
	return fmt.Sprintf("%d messages, %s, in %s (%.0f/s)", s.messages, size(s.bytes),
		elapsed.Round(100*time.Millisecond), perSecond(s.messages, elapsed))
}

func perSecond(n int64, span time.Duration) float64 { return float64(n) / max(span.Seconds(), 1e-3) }

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), 0
	for v >= 1000 {
		v /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %cB", v, " kMGTPE"[unit])
}
