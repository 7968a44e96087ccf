package httpapi

import (
	"fmt"
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
	causes map[cause]*sparingCause
}

// cause is what is logged once a minute: a message, and what tells lines with it apart.
type cause struct{ message, key, value string }

// causeOf is the cause of a line. Of its attributes only those count of which there are few:
// others are the clients' choice.
func causeOf(message string, args []any) cause {
	c := cause{message: message}
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "code" || args[i] == "to" {
			c.key, c.value = fmt.Sprint(args[i]), fmt.Sprint(args[i+1])
		}
	}
	return c
}

type sparingCause struct {
	logged time.Time
	more   int // times since then
}

// NewSparing returns a Sparing that logs to log.
func NewSparing(log *slog.Logger) *Sparing {
	return &Sparing{log: log, causes: map[cause]*sparingCause{}}
}

// Warn logs message with args, unless it has done so within the last minute. How
// often it has not is told with the next. Values of "code" and "to" tell lines with one
// message apart.
func (s *Sparing) Warn(message string, args ...any) {
	if more, now := s.due(causeOf(message, args)); now {
		if more > 0 {
			args = append(args, "unlogged", more)
		}
		s.log.Warn(message, args...)
	}
}

// Settle logs the causes of which there have been more, once the minute is over,
// with how many. Without it that is told with the next one, which may never come.
func (s *Sparing) Settle() {
	for c, more := range s.overdue() {
		args := []any{"unlogged", more}
		if c.key != "" {
			args = append(args, c.key, c.value)
		}
		s.log.Warn(c.message, args...)
	}
}

func (s *Sparing) overdue() map[cause]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	overdue := make(map[cause]int)
	now := time.Now()
	for of, c := range s.causes {
		if c.more > 0 && now.Sub(c.logged) >= sparingEvery {
			overdue[of] = c.more
			c.logged, c.more = now, 0
		}
	}
	return overdue
}

// due counts a cause, and reports whether it is to be logged.
func (s *Sparing) due(of cause) (more int, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.causes[of]
	if c == nil {
		if len(s.causes) >= maxCauses {
			of = cause{}
		}
		if c = s.causes[of]; c == nil {
			c = new(sparingCause)
			s.causes[of] = c
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
	message, detail, found := strings.Cut(text, " from ")
	if !found {
		message, detail, _ = strings.Cut(text, "; ")
	}
	s.Warn(message, "detail", detail)
	return len(line), nil
}
