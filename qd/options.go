package qd

import (
	"flag"

	"github.com/millrace-mq/millrace/internal/program"
)

// Option returns what tells the value of a setting by its key in config files,
// as /config does: durations are time.Duration, lists slices, and what NSQ has
// numbers for are these numbers. It is made of the flags, so it knows what they
// know. What s becomes later it does not tell.
func (s Settings) Option() func(key string) (value any, known bool) {
	values := make(map[string]any)
	for _, o := range program.Options(s.flags()) {
		values[o.Key] = o.Value()
	}
	return func(key string) (any, bool) {
		v, known := values[key]
		return v, known
	}
}

// flags are the flags of a copy of s.
func (s Settings) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	s.Flags(fs)
	return fs
}
