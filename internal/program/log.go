package program

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/millrace-mq/millrace/internal/program/logs"
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

// LogFormatFlag declares --log-format. What it is set to, LogSettings.Check checks.
func LogFormatFlag(fs *flag.FlagSet, format *string) {
	if *format == "" {
		*format = string(logs.Auto)
	}
	fs.StringVar(format, "log-format", *format, "`format` of what is logged: auto (text on a terminal, else JSON), text or json")
}

// LogSettings say how a program logs.
type LogSettings struct {
	Level  string // the least that is logged: the name of one of Levels
	Format string // auto, text or json; empty is auto: text on a terminal, else JSON
	Prefix string // before each line of text; in JSON the key "prefix"
}

// Flags declares --log-level and --log-format, of a program that has no prefix.
func (s *LogSettings) Flags(fs *flag.FlagSet) {
	fs.StringVar(&s.Level, "log-level", s.Level, "`level` of what is logged on standard error: debug, info, warn or error")
	LogFormatFlag(fs, &s.Format)
}

// Check returns all that is wrong with the settings, joined.
func (s LogSettings) Check() error {
	_, err := ParseLevel(s.Level)
	_, wrong := logs.ParseFormat(s.format())
	return errors.Join(err, wrong)
}

func (s LogSettings) format() string { return cmp.Or(s.Format, string(logs.Auto)) }

// Logger returns a logger to w, a program's standard error, as s says. The level can be
// changed while it is in use.
func Logger(w io.Writer, s LogSettings) (*slog.Logger, *slog.LevelVar, error) {
	if err := s.Check(); err != nil {
		return nil, nil, err
	}
	format := logs.Format(s.format())
	switch {
	case format == logs.Auto && IsTerminal(w):
		format = logs.Text
	case format == logs.Auto:
		format = logs.JSON
	}
	level, _ := ParseLevel(s.Level)
	v := new(slog.LevelVar)
	v.Set(level)
	return logs.New(w, format, v, s.Prefix), v, nil
}
