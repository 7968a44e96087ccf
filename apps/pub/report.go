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
	mu       sync.Mutex // guards out, so that lines do not mix
	out      io.Writer
	terminal bool
	shown    bool // the cursor is behind a progress line
}

func (r *report) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
	fmt.Fprintf(r.out, "pub: "+format+"\n", args...)
}

// clear takes the progress line away.
func (r *report) clear() {
	if r.shown {
		fmt.Fprint(r.out, "\r\x1b[K")
		r.shown = false
	}
}

// follow shows acknowledged(), twice a second, until ctx ends; then the last
// state stays. Without a terminal it does nothing.
func (r *report) follow(ctx context.Context, acknowledged func() int64) {
	if !r.terminal {
		return
	}
	began := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var before int64
	last := began
	for {
		select {
		case now := <-tick.C:
			n := acknowledged()
			r.show(progress(n, n-before, now.Sub(last), now.Sub(began)))
			before, last = n, now
		case <-ctx.Done():
			n, elapsed := acknowledged(), time.Since(began)
			r.show(progress(n, n, elapsed, elapsed) + "\n")
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

// progress is the line for total messages after elapsed, the latest of which
// came within span.
func progress(total, latest int64, span, elapsed time.Duration) string {
	rate := float64(latest) / max(span.Seconds(), 1e-3)
	return fmt.Sprintf("%d messages  %.0f/s  %s", total, rate, elapsed.Round(100*time.Millisecond))
}
