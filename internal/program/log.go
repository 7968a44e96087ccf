package program

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Level is a level of logging by NSQ's name. NSQ numbers them from 1.
type Level struct {
	Name  string
	Level slog.Level
}

// Levels are all that there are, beginning with the one that shows most.
// Nothing is logged at fatal: what ends a program is told on standard error.
var Levels = []Level{
	{"debug", slog.LevelDebug},
	{"info", slog.LevelInfo},
	{"warn", slog.LevelWarn},
	{"error", slog.LevelError},
	{"fatal", slog.LevelError + 4},
}

// LevelNumber is NSQ's number for a level, from 1.
func LevelNumber(level slog.Level) int {
	for i, l := range Levels {
		if level <= l.Level {
			return i + 1
		}
	}
	return len(Levels)
}

// ParseLevel returns the level called name, in any case.
func ParseLevel(name string) (slog.Level, error) {
	for _, l := range Levels {
		if l.Name == strings.ToLower(name) {
			return l.Level, nil
		}
	}
	return 0, fmt.Errorf("log-level %q: must be debug, info, warn, error or fatal", name)
}

// LevelName is how name, which ParseLevel takes, calls the level that v has now; nil has
// none. Several daemons of a process share one: what one changes the others tell.
func LevelName(name string, v *slog.LevelVar) string {
	if l, err := ParseLevel(name); v == nil || err == nil && l == v.Level() {
		return name
	}
	return Levels[LevelNumber(v.Level())-1].Name
}

// Logger returns a logger at the level called level, writing text to w. The
// level can be changed while it is in use.
func Logger(w io.Writer, level string) (*slog.Logger, *slog.LevelVar, error) {
	l, err := ParseLevel(level)
	if err != nil {
		return nil, nil, err
	}
	v := new(slog.LevelVar)
	v.Set(l)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: v})), v, nil
}

// Prefixed returns a writer that writes prefix before all that is written to it
// at once: for a Logger, before each line.
func Prefixed(w io.Writer, prefix string) io.Writer {
	if prefix == "" {
		return w
	}
	return &prefixed{w, prefix}
}

type prefixed struct {
	w      io.Writer
	prefix string
}

func (p *prefixed) Write(b []byte) (int, error) {
	n, err := p.w.Write(append([]byte(p.prefix), b...))
	return max(n-len(p.prefix), 0), err
}
