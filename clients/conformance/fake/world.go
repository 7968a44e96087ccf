// Package fake plays queue daemons and lookup daemons for the conformance
// scenarios: they listen on this machine's loopback and do what a scenario says
// and nothing by themselves, except where they are told to welcome everybody.
package fake

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// World is what everybody in a scenario shares: one lock over all that has
// happened, and a signal that something has.
type World struct {
	began time.Time
	wg    sync.WaitGroup // listeners and connections

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when something has happened
	log     []string
	easy    bool // the scenario is over: connections may part by themselves
	byName  map[string]address
}

// address is where a fake listens.
type address struct {
	host string
	port int
}

// NewWorld returns a world in which nothing has happened.
func NewWorld() *World {
	return &World{began: time.Now(), changed: make(chan struct{}), byName: map[string]address{}}
}

// Do has f change something, alone, and wakes those who wait. f may note what
// it was with the function that it is given.
func (w *World) Do(f func(note func(format string, args ...any))) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.noteLocked)
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *World) noteLocked(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%7.3f  ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// Note keeps a line for the account of what has happened.
func (w *World) Note(format string, args ...any) {
	w.Do(func(note func(string, ...any)) { note(format, args...) })
}

// Wait calls f, which sees everything as if it were alone, until it reports
// true, and again whenever something has happened. It reports false if ctx ended
// first.
func (w *World) Wait(ctx context.Context, f func() bool) bool {
	for {
		w.mu.Lock()
		done, changed := f(), w.changed
		w.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// Account is what has happened, a line each, with the seconds since the beginning.
func (w *World) Account() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.log, "\n")
}
