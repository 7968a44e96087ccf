package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// audience keeps what a screen shows.
type audience struct {
	fails func(written int) error // asked before each write
	seen  strings.Builder
}

func (a *audience) Write(p []byte) (int, error) {
	if a.fails != nil {
		if err := a.fails(a.seen.Len()); err != nil {
			return 0, err
		}
	}
	return a.seen.Write(p)
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
		count int
		fails func(int) error
		lots  []int // lines in each
		shown []int // of each
		full  int
		want  error
	}{
		"all":                {lots: []int{3, 2}, shown: []int{3, 2}},
		"nothing of a lot":   {lots: []int{0, 2}, shown: []int{0, 2}},
		"a number":           {count: 4, lots: []int{3, 3, 1}, shown: []int{3, 1, 0}, full: 1},
		"exactly a number":   {count: 3, lots: []int{3, 1}, shown: []int{3, 0}, full: 1},
		"nobody reads":       {fails: broken, lots: []int{1, 2, 1}, shown: []int{1, 0, 0}, full: 1},
		"nobody can be told": {fails: noSpace, lots: []int{2}, shown: []int{0}, full: 1, want: syscall.ENOSPC},
		"pipe in a process":  {fails: func(int) error { return io.ErrClosedPipe }, lots: []int{1}, shown: []int{0}, full: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a, full := &audience{fails: tt.fails}, 0
			s := newScreen(a, tt.count, func() { full++ })
			ctx, end := context.WithCancel(t.Context())
			result := make(chan error)
			go func() { result <- s.run(ctx) }()
			var want strings.Builder
			line := 0
			for i, n := range tt.lots {
				l := &lot{shown: make(chan int, 1)}
				for j := range n {
					line++
					text := fmt.Sprintln("line", line)
					l.text = append(l.text, text...)
					l.ends = append(l.ends, len(l.text))
					if j < tt.shown[i] {
						want.WriteString(text)
					}
				}
				if got := s.show(t.Context(), l); got != tt.shown[i] {
					t.Errorf("of lot %d %d lines were shown, want %d", i, got, tt.shown[i])
				}
			}
			end()
			if err := <-result; !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if a.seen.String() != want.String() || full != tt.full {
				t.Errorf("shown %q, want %q; told its end %d times, want %d", a.seen.String(), want.String(), full, tt.full)
			}
		})
	}
}
