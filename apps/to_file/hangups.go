package main

import (
	"os"
	"sync"
)

// hangups tells all streams of SIGHUP, those that begin later, too.
type hangups struct {
	mu  sync.Mutex // guards all
	all map[chan struct{}]bool
}

// join returns what a stream hears of them by. It must leave.
func (h *hangups) join() chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = make(map[chan struct{}]bool)
	}
	c := make(chan struct{}, 1)
	h.all[c] = true
	return c
}

func (h *hangups) leave(c chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, c)
}

// follow passes on what comes until it is closed.
func (h *hangups) follow(signals <-chan os.Signal) {
	for range signals {
		h.mu.Lock()
		for c := range h.all {
			select {
			case c <- struct{}{}:
			default: // one is waiting already, and a second would close an empty file
			}
		}
		h.mu.Unlock()
	}
}
