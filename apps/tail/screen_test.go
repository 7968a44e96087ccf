package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// audience keeps what a screen shows and how its messages were answered.
type audience struct {
	fails func(written int) error // asked before each write

	mu                 sync.Mutex // guards below
	seen               strings.Builder
	finished, requeued []string
	full               int // how often the screen said that it was
}

func (a *audience) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fails != nil {
		if err := a.fails(a.seen.Len()); err != nil {
			return 0, err
		}
	}
	return a.seen.Write(p)
}

type message struct {
	a    *audience
	body string
}

func (m message) Finish() {
	m.a.mu.Lock()
	defer m.a.mu.Unlock()
	m.a.finished = append(m.a.finished, m.body)
	if !strings.Contains(m.a.seen.String(), m.body+"\n") {
		panic("finished unseen: " + m.body)
	}
}

func (m message) Requeue(time.Duration) {
	m.a.mu.Lock()
	defer m.a.mu.Unlock()
	m.a.requeued = append(m.a.requeued, m.body)
}

// watch shows lots of messages, one after another, and returns run's error.
func watch(a *audience, count int, lots ...[]string) error {
	s := newScreen(a, count, func() { a.full++ })
	ended, result := make(chan struct{}), make(chan error)
	go func() { result <- s.run(ended) }()
	for _, lot := range lots {
		for _, body := range lot {
			s.add(line{"topic | ", []byte(body), message{a, body}})
		}
		synctest.Wait()
	}
	close(ended)
	return <-result
}

func bodies(first, last int) (all []string) {
	for n := first; n <= last; n++ {
		all = append(all, fmt.Sprint("message ", n))
	}
	return all
}

func TestScreen(t *testing.T) {
	broken := func(written int) error {
		if written > 0 {
			return fmt.Errorf("write: %w", syscall.EPIPE)
		}
		return nil
	}
	noSpace := func(int) error { return syscall.ENOSPC }
	tests := map[string]struct {
		count              int
		fails              func(int) error
		lots               [][]string
		finished, requeued []string
		want               error
	}{
		"all":                {lots: [][]string{bodies(1, 3), bodies(4, 5)}, finished: bodies(1, 5)},
		"a number":           {count: 4, lots: [][]string{bodies(1, 3), bodies(4, 6), bodies(7, 7)}, finished: bodies(1, 4), requeued: bodies(5, 7)},
		"exactly a number":   {count: 3, lots: [][]string{bodies(1, 3)}, finished: bodies(1, 3)},
		"nobody reads":       {fails: broken, lots: [][]string{bodies(1, 1), bodies(2, 3), bodies(4, 4)}, finished: bodies(1, 1), requeued: bodies(2, 4)},
		"nobody can be told": {fails: noSpace, lots: [][]string{bodies(1, 2)}, requeued: bodies(1, 2), want: syscall.ENOSPC},
		"pipe in a process":  {fails: func(int) error { return io.ErrClosedPipe }, lots: [][]string{bodies(1, 1)}, requeued: bodies(1, 1)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &audience{fails: tt.fails}
				if err := watch(a, tt.count, tt.lots...); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				var seen strings.Builder
				for _, body := range tt.finished {
					seen.WriteString("topic | " + body + "\n")
				}
				if a.seen.String() != seen.String() {
					t.Errorf("shown %q, want %q", a.seen.String(), seen.String())
				}
				if !slices.Equal(a.finished, tt.finished) || !slices.Equal(a.requeued, tt.requeued) {
					t.Errorf("finished %q, requeued %q; want %q and %q", a.finished, a.requeued, tt.finished, tt.requeued)
				}
				if a.full != 1 {
					t.Errorf("it told its end %d times", a.full)
				}
			})
		})
	}
}
