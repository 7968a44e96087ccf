package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
)

// lot is some lines to be shown together.
type lot struct {
	text []byte
	ends []int // of each line in text

	shown chan int // receives how many of the lines were written, from the first on; has room for it
}

// screen shows what several readers bring, a lot at a time. Whoever brings one waits
// until it was written, which may take as long as whoever reads the output likes: that
// is what bounds how much waits.
type screen struct {
	out   io.Writer
	count int    // how many lines to show; 0 is no limit
	full  func() // called when no more can be shown
	lots  chan *lot
	stuck atomic.Bool // somebody has given up waiting

	// Owned by run.
	shown int
}

func newScreen(out io.Writer, count int, full func()) *screen {
	return &screen{out: out, count: count, full: full, lots: make(chan *lot)}
}

// show has l shown and returns how many of its lines were. When ctx has ended before, that
// is none, as far as one knows, and l is the screen's for good. show must not be called
// when run has returned.
func (s *screen) show(ctx context.Context, l *lot) int {
	if len(l.ends) == 0 {
		return 0
	}
	select {
	case s.lots <- l:
		select {
		case n := <-l.shown:
			return n
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	s.stuck.Store(true)
	return 0
}

// run shows lots until ctx ends. That nobody reads them any more is a good end.
func (s *screen) run(ctx context.Context) error {
	var failed error
	done := false
	for {
		select {
		case <-ctx.Done():
			if errors.Is(failed, syscall.EPIPE) || errors.Is(failed, io.ErrClosedPipe) {
				return nil
			}
			return failed
		case l := <-s.lots:
			n := 0
			if !done {
				n, failed = s.write(l)
				if done = failed != nil || s.count > 0 && s.shown == s.count; done {
					s.full()
				}
			}
			l.shown <- n
		}
	}
}

// write writes l, or as many of its lines as may still be shown.
func (s *screen) write(l *lot) (int, error) {
	n := len(l.ends)
	if s.count > 0 {
		n = min(n, s.count-s.shown)
	}
	if _, err := s.out.Write(l.text[:l.ends[n-1]]); err != nil {
		return 0, fmt.Errorf("write to standard output: %w", err)
	}
	s.shown += n
	return n, nil
}
