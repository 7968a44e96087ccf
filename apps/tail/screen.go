package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// answer is how a message is answered: a millrace.Message.
type answer interface {
	Finish()
	Requeue(delay time.Duration)
}

// requeueDelay is how long messages that are not shown any more stay away, so
// that they do not come straight back to a program that is ending.
const requeueDelay = time.Second

// line is a message to show.
type line struct {
	prefix string
	body   []byte
	answer
}

// screen shows what several readers bring. A message is finished once its line
// was written. While one lot is written, which may take as long as whoever
// reads the output likes, the next gathers.
type screen struct {
	count int    // how many lines to show; 0 is no limit
	full  func() // called when no more can be shown
	wake  chan struct{}

	mu      sync.Mutex // guards arrived; never held across I/O
	arrived []line

	// Owned by run.
	out   *bufio.Writer
	batch []line
	shown int
}

func newScreen(out io.Writer, count int, full func()) *screen {
	return &screen{count: count, full: full, wake: make(chan struct{}, 1), out: bufio.NewWriterSize(out, 64<<10)}
}

// add has l shown. It never blocks.
func (s *screen) add(l line) {
	s.mu.Lock()
	s.arrived = append(s.arrived, l)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *screen) take() []line {
	clear(s.batch) // lets go of the bodies
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batch, s.arrived = s.arrived, s.batch[:0]
	return s.batch
}

// run shows lines until ended is closed. That nobody reads them any more is a
// good end.
func (s *screen) run(ended <-chan struct{}) error {
	err := s.showUntil(ended)
	s.full()
	for { // what comes now goes back
		for _, l := range s.take() {
			l.Requeue(requeueDelay)
		}
		select {
		case <-s.wake:
		case <-ended:
			if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
				return nil
			}
			return err
		}
	}
}

// showUntil shows lines until ended is closed, count is reached, or the output
// fails.
func (s *screen) showUntil(ended <-chan struct{}) error {
	for {
		if err := s.show(s.take()); err != nil {
			return err
		}
		if s.count > 0 && s.shown == s.count {
			return nil
		}
		select {
		case <-s.wake:
		case <-ended:
			return nil
		}
	}
}

func (s *screen) show(lines []line) error {
	if s.count > 0 && len(lines) > s.count-s.shown {
		for _, l := range lines[s.count-s.shown:] {
			l.Requeue(requeueDelay)
		}
		lines = lines[:s.count-s.shown]
	}
	if len(lines) == 0 {
		return nil
	}
	for _, l := range lines {
		s.write(l)
	}
	if err := s.out.Flush(); err != nil {
		for _, l := range lines {
			l.Requeue(requeueDelay)
		}
		return fmt.Errorf("write to standard output: %w", err)
	}
	for _, l := range lines {
		l.Finish()
	}
	s.shown += len(lines)
	return nil
}

// write appends to the buffer, which keeps an error until Flush returns it.
func (s *screen) write(l line) {
	_, _ = s.out.WriteString(l.prefix)
	_, _ = s.out.Write(l.body)
	_ = s.out.WriteByte('\n')
}
