package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/consume"
	"github.com/millrace-mq/millrace/apps/internal/fields"
	"github.com/millrace-mq/millrace/apps/internal/link"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
)

// settings are the flags.
type settings struct {
	from consume.Settings

	to      link.Settings
	daemons program.Strings
	lookups program.Strings

	route        route
	renames      program.Each
	ordered      bool
	mirror       bool
	channelHosts program.Strings // HTTP addresses, for the mirror

	required      program.Each
	requiredField string
	requiredValue string
	selection     selection
	kept          program.Strings

	refused     string
	statusEvery int
	stopTimeout time.Duration
	logs        program.LogSettings
}

// What --refused can be.
const (
	refusedRequeue = "requeue"
	refusedDrop    = "drop"
	refusedStop    = "stop"
)

func (s *settings) declare(fs *flag.FlagSet) {
	s.from.Channel, s.from.MaxInFlight = "to_qd", 5000
	s.from.Declare(fs)
	fs.Var(&s.daemons, "destination-qd-tcp-address", "`host:port` of the TCP side of a daemon to publish to (may be given several times: each message goes to one of them)")
	program.Alias(fs, "destination-nsqd-tcp-address", "destination-qd-tcp-address")
	fs.Var(&s.lookups, "destination-lookupd-http-address", "`host:port` of a lookupd's HTTP side, whose daemons are published to (may be given several times)")
	program.Alias(fs, "destination-nsqlookupd-http-address", "destination-lookupd-http-address")
	fs.StringVar(&s.route.template, "destination-topic", topicToken, "`name` of the topic to publish to, in which <TOPIC> stands for that of the source")
	fs.Var(&s.renames, "rename", "publish the messages of one topic to another, as `old=new`, whatever destination-topic says (may be given several times)")
	fs.BoolVar(&s.ordered, "ordered", false, "keep the order in which a source daemon delivers; for one destination daemon")
	fs.BoolVar(&s.mirror, "mirror", false, "copy all topics (or those that are named, or match), with their channels; needs a lookupd-http-address")
	fs.Var(&s.channelHosts, "destination-qd-http-address", "`host:port` of a destination daemon's HTTP side, where mirror makes channels, if there is no destination-lookupd-http-address to tell it (may be given several times)")
	program.Alias(fs, "destination-nsqd-http-address", "destination-qd-http-address")
	s.to.Prefix = "destination-"
	s.to.Declare(fs, "producer-opt")

	fs.Var(&s.required, "require-json", "send only JSON objects that have a `field`, or field=value; a.b is the field b in a (may be given several times: all have to be met)")
	fs.StringVar(&s.requiredField, "require-json-field", "", "send only JSON objects that have this `field`, as in NSQ")
	fs.StringVar(&s.requiredValue, "require-json-value", "", "`text` or number that require-json-field must have")
	fs.Var(&s.kept, "whitelist-json-field", "send only this `field` of JSON objects, a.b for the field b in a (may be given several times)")
	fs.Float64Var(&s.selection.sample, "sample", 1, "`share` of the messages to send, picked at random, such as 0.01; others are finished unsent")

	fs.StringVar(&s.refused, "refused", "", "`what` becomes of a message that the destination does not take: requeue, drop or stop (default requeue; with ordered, stop)")
	fs.DurationVar(&s.stopTimeout, "stop-timeout", 10*time.Second, "for how long what was delivered is still published after Ctrl-C or TERM; the rest is given back")
	fs.IntVar(&s.statusEvery, "status-every", 0, "log a line after so many `messages` of a topic")
	fs.String("mode", "", "")
	program.Obsolete(fs, "mode", "each message goes to a daemon that answers, the one that has least to do")
	s.logs.Level = "info"
	s.logs.Flags(fs)
	program.ConfigFile(fs)
}

func (s *settings) sections() []program.Section {
	s.to.Prefix = "destination-"
	destination := s.to.Section()
	destination.Flags = append(destination.Flags, "producer-opt")
	return append(s.from.Sections(
		program.Section{Title: "Where to", Flags: []string{"destination-qd-tcp-address", "destination-lookupd-http-address", "destination-topic", "rename", "ordered", "mirror", "destination-qd-http-address"}},
		program.Section{Title: "What of it", Flags: []string{"require-json", "require-json-field", "require-json-value", "whitelist-json-field", "sample"}},
		program.Section{Title: "When it fails", Flags: []string{"refused", "stop-timeout"}},
	), destination)
}

// check completes the settings, and returns all that is wrong with them.
func (s *settings) check(fs *flag.FlagSet) error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	given := func(flag string) bool { return fs.Lookup(flag).Value.String() != "" }
	if s.mirror && !given("topic") && !given("topic-pattern") {
		refuse(given("qd-tcp-address"), "mirror: needs a lookupd-http-address, since a lookupd knows which topics there are")
		_ = fs.Set("topic-pattern", ".*") // of a flag that takes any text
	}
	errs = append(errs, s.from.Check()...)
	refuse(len(s.daemons)+len(s.lookups) == 0, "destination-qd-tcp-address or destination-lookupd-http-address: at least one is needed")
	refuse(s.ordered && (len(s.daemons) != 1 || len(s.lookups) > 0), "ordered: needs exactly one destination-qd-tcp-address, since order is a daemon's")
	refuse(s.mirror && len(s.lookups)+len(s.channelHosts) == 0, "mirror: needs a destination-lookupd-http-address, or each daemon's destination-qd-http-address, to make channels there")
	refuse(s.mirror && len(s.from.Lookups()) == 0 && given("topic"), "mirror: needs a lookupd-http-address, since a lookupd knows which channels there are")
	hostPorts := func(flag string, addresses []string) {
		for _, a := range addresses {
			_, _, err := net.SplitHostPort(a)
			refuse(err != nil, "%s %q: must be host:port", flag, a)
		}
	}
	hostPorts("destination-qd-tcp-address", s.daemons)
	hostPorts("destination-qd-http-address", s.channelHosts)
	for _, l := range s.lookups {
		_, err := consume.LookupdURL(l)
		refuse(err != nil, "destination-lookupd-http-address %v", err)
	}
	errs = append(errs, s.to.Writer(new(millrace.WriterConfig), slog.New(slog.DiscardHandler)))
	errs = append(errs, s.route.check(s.renames))
	fs.Visit(func(f *flag.Flag) { // without a name it would send everything
		refuse(f.Name == "whitelist-json-field" && len(s.kept) == 0, "whitelist-json-field: must be a field's name")
	})
	errs = append(errs, s.checkSelection())
	switch s.refused {
	case "":
		s.refused = refusedRequeue
		if s.ordered {
			s.refused = refusedStop
		}
	case refusedRequeue, refusedDrop, refusedStop:
	default:
		refuse(true, "refused %q: must be requeue, drop or stop", s.refused)
	}
	refuse(s.stopTimeout < 0, "stop-timeout %s: must not be negative", s.stopTimeout)
	refuse(s.statusEvery < 0, "status-every %d: must not be negative", s.statusEvery)
	return errors.Join(errs...)
}

// checkSelection makes the selection of the flags.
func (s *settings) checkSelection() error {
	var errs []error
	for _, text := range s.required {
		c, err := fields.Parse(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("require-json %q: %w", text, err))
		}
		s.selection.filter = append(s.selection.filter, c)
	}
	switch {
	case s.requiredField != "":
		s.selection.filter = append(s.selection.filter, fields.Condition{Field: s.requiredField, Value: s.requiredValue, Any: s.requiredValue == ""})
	case s.requiredValue != "":
		errs = append(errs, errors.New("require-json-value: needs a require-json-field"))
	}
	if !(s.selection.sample > 0 && s.selection.sample <= 1) {
		errs = append(errs, fmt.Errorf("sample %v: must be above 0, and 1 at most", s.selection.sample))
	}
	s.selection.keep = s.kept
	return errors.Join(errs...)
}
