package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// counts are what became of a topic's messages.
type counts struct {
	stored    atomic.Int64 // acknowledged by the destination
	leftOut   atomic.Int64 // not to be sent, and finished
	noJSON    atomic.Int64 // of these, no JSON object
	refused   atomic.Int64 // each time that the destination did not take one
	uncertain atomic.Int64 // sent again though they may have been stored
	givenBack atomic.Int64 // to the source, when the stream ended
}

// published counts n messages that are stored, and logs a line when it is time for one.
func (c *counts) published(s *stream, n int) {
	after := c.stored.Add(int64(n))
	if every := int64(s.every); every > 0 && after/every > (after-int64(n))/every {
		c.tell(s.log, slog.LevelInfo, "status")
	}
}

func (c *counts) tell(log *slog.Logger, level slog.Level, what string) {
	log.Log(context.Background(), level, what,
		"published", c.stored.Load(), "left_out", c.leftOut.Load(), "no_json", c.noJSON.Load(), "refused", c.refused.Load(),
		"maybe_twice", c.uncertain.Load(), "given_back", c.givenBack.Load())
}

// away is whether the destination takes messages. While some worker is told that it does
// not, the source is asked for nothing more: what would time out there is then not delivered
// again and again.
type away struct {
	mu      sync.Mutex // guards all below; a Reader's may be taken in it
	failing int        // workers
	since   time.Time
	told    time.Time
}

// tellEvery is how often it is logged that a destination is away.
const tellEvery = time.Minute

func (a *away) begin(s *stream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failing++; a.failing == 1 {
		a.since, a.told = time.Now(), time.Time{}
		s.reader.Pause()
	}
}

func (a *away) end(s *stream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failing--; a.failing == 0 {
		s.reader.Resume()
		if !a.told.IsZero() {
			s.log.Info("the destination is not waited for any more", "for", time.Since(a.since).Round(time.Millisecond))
		}
	}
}

// tell logs why nothing is taken, now and then.
func (a *away) tell(s *stream, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.told) < tellEvery {
		return
	}
	a.told = time.Now()
	s.log.Warn("the destination takes no messages, they are held and it is tried again", "for", time.Since(a.since).Round(time.Second), "error", err)
}
