package main

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// counts are what became of a topic's messages.
type counts struct {
	stored    atomic.Int64 // acknowledged by the destination
	leftOut   atomic.Int64 // not to be sent, and finished
	noJSON    atomic.Int64 // of these, no JSON object
	refused   atomic.Int64 // each time that the destination did not take one
	uncertain atomic.Int64 // sent again though they may have been stored
	givenBack atomic.Int64 // to the source, unsent
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
