package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/consume"
	"github.com/millrace-mq/millrace/apps/internal/fields"
	"github.com/millrace-mq/millrace/apps/internal/record"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
)

// settings are the flags. Where nsq_tail has a flag of the same name, it means the same.
type settings struct {
	consume  consume.Settings
	count    int
	since    string
	fromID   string
	noFollow bool
	sample   float64
	grep     program.Each
	fields   program.Each
	format   program.Choice
	pretty   program.Choice
	color    program.Choice
	topic    bool
	time     bool
	id       bool
	logs     program.LogSettings

	// What check makes of them.
	began  time.Time
	place  string // where to begin; "" is now
	filter filter
}

func newSettings() *settings {
	return &settings{
		consume: consume.Settings{MaxInFlight: 200},
		format:  program.Choice{Value: "raw", Words: []string{"raw", "json"}},
		pretty:  program.Choice{Value: "auto", Words: []string{"auto", "always", "never"}},
		color:   program.Choice{Value: "auto", Words: []string{"auto", "always", "never"}},
	}
}

func (s *settings) declare(fs *flag.FlagSet) {
	s.consume.Declare(fs)
	fs.Lookup("channel").Usage = "`name` of the channel to look through (default tail, a random number, #ephemeral)"
	fs.IntVar(&s.count, "n", 0, "end after so many `messages` were shown")
	fs.StringVar(&s.since, "since", "", "show what was published since a `time` first: 10m ago, 2026-11-20T08:00:00Z, or earliest for all there is")
	fs.StringVar(&s.fromID, "from-id", "", "show what was published since the message with this `ID` first, on the qd that has it")
	fs.BoolVar(&s.noFollow, "no-follow", false, "end when what was published before the start has been shown")
	fs.Float64Var(&s.sample, "sample", 1, "`share` of the messages to show, picked at random by the daemons, such as 0.01")
	fs.Var(&s.grep, "grep", "show only messages with this `text` in them (may be given several times: all of them)")
	fs.Var(&s.fields, "field", "show only messages that are JSON and have this field: `name` or name=value, inner ones as outer.inner (may be given several times: all of them)")
	fs.Var(&s.format, "format", "`format` of what is printed: raw, the bodies, or json, a line with the ID, the time, the attempts, the topic and the body, as to_file's")
	fs.Var(&s.pretty, "pretty", "`when` to indent bodies that are JSON: auto, which is on a terminal, always or never")
	fs.Var(&s.color, "color", "`when` to colour JSON: auto, which is on a terminal unless NO_COLOR is set, always or never")
	fs.BoolVar(&s.topic, "print-topic", false, "begin each message with the topic and a bar")
	fs.BoolVar(&s.time, "print-time", false, "begin each message with the time of its publication")
	fs.BoolVar(&s.id, "print-id", false, "begin each message with its ID")
	s.logs.Level = "warn"
	s.logs.Flags(fs)
}

// sections are where --help lists the flags.
func sections() []program.Section {
	return newSettings().consume.Sections(
		program.Section{Title: "What to show", Flags: []string{"n", "since", "from-id", "no-follow", "sample", "grep", "field"}},
		program.Section{Title: "How to print it", Flags: []string{"format", "pretty", "color", "print-topic", "print-time", "print-id"}},
	)
}

// check says all that is wrong with the flags.
func (s *settings) check() error {
	own := s.consume.Channel == ""
	if own {
		// #nosec G404 -- a name that others hardly have; nothing is kept from anybody by it
		s.consume.Channel = fmt.Sprintf("tail%06d#ephemeral", rand.IntN(1_000_000))
	}
	errs := s.consume.Check()
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(s.count < 0, "n %d: must not be negative", s.count)
	refuse(!(s.sample > 0 && s.sample <= 1), "sample %v: must be above 0, and 1 at most", s.sample)
	refuse(s.since != "" && s.fromID != "", "since and from-id: give only one of them")
	refuse((s.since != "" || s.fromID != "") && !own && !protocol.Ephemeral(s.consume.Channel),
		"channel %q: --since and --from-id need a channel of tail's own, leave --channel out", s.consume.Channel)
	s.began = time.Now()
	var err error
	s.place, err = s.begin()
	refuse(err != nil, "%v", err)
	refuse(s.noFollow && s.place == "", "no-follow: needs --since or --from-id, since nothing was published before now")
	for _, text := range s.grep {
		refuse(text == "", "grep: must not be empty")
		s.filter.texts = append(s.filter.texts, []byte(text))
	}
	for _, text := range s.fields {
		c, err := fields.Parse(text)
		refuse(err != nil, "field %q: %v", text, err)
		s.filter.fields = append(s.filter.fields, c)
	}
	err = s.logs.Check()
	refuse(err != nil, "%v", err)
	return errors.Join(errs...)
}

// begin is the place in the log where the channel begins; "" is its end.
func (s *settings) begin() (string, error) {
	switch {
	case s.fromID != "":
		if _, ok := protocol.ParseID([]byte(s.fromID)); !ok {
			return "", fmt.Errorf("from-id %q: must be 16 hexadecimal digits", s.fromID)
		}
		return s.fromID, nil
	case s.since == "" || s.since == protocol.PlaceEarliest:
		return s.since, nil
	}
	if ago, err := time.ParseDuration(s.since); err == nil && ago >= 0 {
		return s.began.Add(-ago).Format(time.RFC3339Nano), nil
	}
	if at, err := time.Parse(time.RFC3339Nano, s.since); err == nil {
		return at.Format(time.RFC3339Nano), nil
	}
	return "", fmt.Errorf("since %q: must be a duration such as 10m, a time such as 2026-11-20T08:00:00Z, or earliest", s.since)
}

// percent is the sample in percent, as daemons take it; 0 is all.
func (s *settings) percent() int {
	if s.sample == 1 {
		return 0
	}
	return min(99, max(1, int(math.Round(100*s.sample))))
}

// style is how messages are printed on out.
func (s *settings) style(out io.Writer) style {
	terminal := program.IsTerminal(out)
	on := func(c program.Choice, auto bool) bool { return c.Value == "always" || c.Value == "auto" && auto }
	st := style{
		topic: s.topic, time: s.time, id: s.id, format: record.Raw,
		pretty:  on(s.pretty, terminal),
		color:   on(s.color, terminal && os.Getenv("NO_COLOR") == ""),
		visible: terminal,
	}
	if s.format.Value == "json" {
		st.format, st.pretty = record.JSON, s.pretty.Value == "always"
	}
	return st
}
