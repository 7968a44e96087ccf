package httpapi

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	sparingEvery = time.Minute
	maxCauses    = 64 // beyond these, causes are one
)

// Sparing logs each cause at most once a minute: what clients do wrong is worth
// a line, but they must not be able to fill the log. It is safe for concurrent
// use.
type Sparing struct {
	log *slog.Logger

	mu     sync.Mutex
	causes map[string]*sparingCause
}

type sparingCause struct {
	logged time.Time
	more   int // times since then
}

// NewSparing returns a Sparing that logs to log.
func NewSparing(log *slog.Logger) *Sparing {
	return &Sparing{log: log, causes: map[string]*sparingCause{}}
}

// Warn logs cause with args, unless it has done so within the last minute. How
// often it has not is told with the next.
func (s *Sparing) Warn(cause string, args ...any) {
	if more, now := s.due(cause); now {
		if more > 0 {
			args = append(args, "unlogged", more)
		}
		s.log.Warn(cause, args...)
	}
}

// Settle logs the causes of which there have been more, once the minute is over,
// with how many. Without it that is told with the next one, which may never come.
func (s *Sparing) Settle() {
	for cause, more := range s.overdue() {
		s.log.Warn(cause, "unlogged", more)
	}
}

func (s *Sparing) overdue() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	overdue := make(map[string]int)
	now := time.Now()
	for cause, c := range s.causes {
		if c.more > 0 && now.Sub(c.logged) >= sparingEvery {
			overdue[cause] = c.more
			c.logged, c.more = now, 0
		}
	}
	return overdue
}

// due counts a cause, and reports whether it is to be logged.
func (s *Sparing) due(cause string) (more int, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.causes[cause]
	if c == nil {
		if len(s.causes) >= maxCauses {
			cause = ""
		}
		if c = s.causes[cause]; c == nil {
			c = new(sparingCause)
			s.causes[cause] = c
		}
	}
	now := time.Now()
	if !c.logged.IsZero() && now.Sub(c.logged) < sparingEvery {
		c.more++
		return 0, false
	}
	more, c.logged, c.more = c.more, now, 0
	return more, true
}

// Write logs a line of net/http's, such as "http: TLS handshake error from
// 192.0.2.1:51234: EOF". Its cause is what stands before the address.
func (s *Sparing) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	cause, detail, found := strings.Cut(text, " from ")
	if !found {
		cause, detail, _ = strings.Cut(text, "; ")
	}
	s.Warn(cause, "detail", detail)
	return len(line), nil
}
