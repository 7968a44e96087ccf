// Package consume is what the programs that consume topics share: the flags that say
// which topics, from whom, and a stream for each topic, whether it was named or found.
package consume

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/link"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
)

// Settings are the flags of a program that consumes topics. Where NSQ's tools have a
// flag of the same name, it means the same.
type Settings struct {
	Channel     string
	MaxInFlight int // messages of a topic
	Link        link.Settings

	// How long connecting to a lookupd that is asked for topics may take, and its answer
	// with that. 0 stands for 5 s.
	ConnectTimeout, RequestTimeout time.Duration

	topics         program.Strings
	patterns       program.Each
	refresh        time.Duration
	daemons        program.Strings
	lookups        program.Strings
	lookupInterval time.Duration

	allowed []*regexp.Regexp
	dial    millrace.Dialer // to lookupds; nil stands for net.Dialer's
}

// Declare declares the flags on fs. What s holds already are their defaults.
func (s *Settings) Declare(fs *flag.FlagSet) {
	fs.Var(&s.topics, "topic", "`name` of a topic to consume (may be given several times)")
	fs.Var(&s.patterns, "topic-pattern", "consume all topics that this regular `expression` matches somewhere, those that come later, too; it needs lookupds."+
		" Of topics that are named, only those that it matches (may be given several times: any of them has to)")
	fs.DurationVar(&s.refresh, "topic-refresh", 10*time.Second, "how often lookupds are asked for topics that a pattern matches")
	fs.StringVar(&s.Channel, "channel", s.Channel, "`name` of the channel to consume from")
	fs.Var(&s.daemons, "qd-tcp-address", "`host:port` of a qd's TCP side (may be given several times)")
	program.Alias(fs, "nsqd-tcp-address", "qd-tcp-address")
	fs.Var(&s.lookups, "lookupd-http-address", "`host:port` of a lookupd's HTTP side (may be given several times)")
	program.Alias(fs, "nsqlookupd-http-address", "lookupd-http-address")
	fs.DurationVar(&s.lookupInterval, "lookupd-poll-interval", 2*time.Second, "how often lookupds are asked who has the topics; of the nth topic it is every n/10 seconds, up to a minute, if that is longer")
	fs.IntVar(&s.MaxInFlight, "max-in-flight", s.MaxInFlight, "`messages` of a topic that may be delivered and not yet finished")
	s.Link.Declare(fs, "consumer-opt")
}

// Sections are where --help lists the flags: what is consumed, own, which are the
// program's, and connections.
func (s *Settings) Sections(own ...program.Section) []program.Section {
	connections := s.Link.Section()
	connections.Flags = append(connections.Flags, "consumer-opt")
	return slices.Concat([]program.Section{
		{Title: "What to consume", Flags: []string{"topic", "topic-pattern", "topic-refresh", "channel", "qd-tcp-address", "lookupd-http-address", "lookupd-poll-interval", "max-in-flight"}},
	}, own, []program.Section{connections})
}

// Check returns all that is wrong with the flags. It has to be called before the other
// methods.
func (s *Settings) Check() (errs []error) {
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(len(s.topics)+len(s.patterns) == 0, "topic: at least one is needed, or a topic-pattern")
	refuse(len(s.daemons)+len(s.lookups) == 0, "lookupd-http-address or qd-tcp-address: at least one is needed")
	refuse(len(s.daemons) > 0 && len(s.lookups) > 0, "lookupd-http-address and qd-tcp-address: give only one of them")
	refuse(len(s.topics) == 0 && len(s.patterns) > 0 && len(s.daemons) > 0, "topic-pattern: needs a lookupd-http-address, since a lookupd knows which topics there are")
	refuse(s.MaxInFlight < 1, "max-in-flight %d: must be positive", s.MaxInFlight)
	refuse(s.lookupInterval <= 0, "lookupd-poll-interval %s: must be positive", s.lookupInterval)
	refuse(s.refresh <= 0, "topic-refresh %s: must be positive", s.refresh)
	refuse(!protocol.ValidName(s.Channel), "channel %q: not a valid name", s.Channel)
	for _, t := range s.topics {
		refuse(!protocol.ValidName(t), "topic %q: not a valid name", t)
	}
	for _, a := range s.daemons {
		_, _, err := net.SplitHostPort(a)
		refuse(err != nil, "qd-tcp-address %q: must be host:port", a)
	}
	s.allowed = nil
	for _, p := range s.patterns {
		r, err := regexp.Compile(p)
		if err != nil {
			errs = append(errs, fmt.Errorf("topic-pattern %q: %w", p, err))
			continue
		}
		s.allowed = append(s.allowed, r)
	}
	_, err := newLister(s.lookups, nil, nil)
	refuse(err != nil, "%v", err)
	if err := s.Link.Reader(new(millrace.ReaderConfig), slog.New(slog.DiscardHandler)); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// Reader is how a topic's messages are read; the caller adds what is done with them.
func (s *Settings) Reader(topic, userAgent string, log *slog.Logger) (millrace.ReaderConfig, error) {
	cfg := millrace.ReaderConfig{
		Topic: topic, Channel: s.Channel,
		Addresses: s.daemons, Lookupds: s.lookups, LookupInterval: s.lookupInterval,
		MaxInFlight: s.MaxInFlight,
		Connection:  millrace.Connection{UserAgent: userAgent},
	}
	err := s.Link.Reader(&cfg, log)
	return cfg, err
}

// A program asks lookupds who has its topics at most so often, all topics taken together, as
// long as each is asked for at least so often.
const (
	perAsk    = 100 * time.Millisecond
	seldomest = time.Minute
)

// LookupInterval is how often the reader of the nth topic asks lookupds: as the flags say,
// but seldomer when topics are many. A thousand that are asked for every two seconds
// keep a fifth of a core busy, and the lookupd as well.
func (s *Settings) LookupInterval(n int) time.Duration {
	return max(s.lookupInterval, min(time.Duration(n)*perAsk, seldomest))
}

// Named are the topics that the flags name and that the patterns allow, each once.
func (s *Settings) Named() []string {
	names := slices.Clone([]string(s.topics))
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(t string) bool { return !s.matches(t) })
}

// Consumes reports whether a topic of this name would be consumed, if there is one.
func (s *Settings) Consumes(topic string) bool {
	return s.matches(topic) && (len(s.topics) == 0 || slices.Contains(s.topics, topic))
}

// Refresh is how often lookupds are asked for topics.
func (s *Settings) Refresh() time.Duration { return s.refresh }

// Lookups are the lookupds that the flags name.
func (s *Settings) Lookups() []string { return s.lookups }

// Daemons are the queue daemons that the flags name.
func (s *Settings) Daemons() []string { return s.daemons }

// matches reports whether the patterns, if there are any, allow a topic.
func (s *Settings) matches(topic string) bool {
	return len(s.allowed) == 0 || slices.ContainsFunc(s.allowed, func(r *regexp.Regexp) bool { return r.MatchString(topic) })
}

var errNoTopic = errors.New("topic-pattern: it matches none of the topics that are named")
