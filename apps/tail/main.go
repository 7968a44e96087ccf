// Tail shows the messages of topics as they are published, from now on, on a
// channel that goes when it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
)

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "tail",
	Synopsis: "show the messages of topics as they come",
	Setup:    setup,
}

func main() {
	itself.Main()
}

// settings are the flags. They mean what nsq_tail's do.
type settings struct {
	topics         program.Strings
	channel        string
	count          int
	printTopic     bool
	daemons        program.Strings
	lookupds       program.Strings
	lookupInterval time.Duration
	maxInFlight    int
	logLevel       string
}

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	var s settings
	fs.Var(&s.topics, "topic", "`name` of a topic to show (may be given several times)")
	fs.StringVar(&s.channel, "channel", "", "`name` of the channel to consume from (default tail, a random number, #ephemeral)")
	fs.IntVar(&s.count, "n", 0, "end after so many `messages`")
	fs.BoolVar(&s.printTopic, "print-topic", false, "begin each line with the topic and a bar")
	fs.Var(&s.daemons, "qd-tcp-address", "`host:port` of a qd's TCP side (may be given several times)")
	program.Alias(fs, "nsqd-tcp-address", "qd-tcp-address")
	fs.Var(&s.lookupds, "lookupd-http-address", "`host:port` of a lookupd's HTTP side (may be given several times)")
	program.Alias(fs, "nsqlookupd-http-address", "lookupd-http-address")
	fs.DurationVar(&s.lookupInterval, "lookupd-poll-interval", 2*time.Second, "how often lookupds are asked who has the topics")
	fs.IntVar(&s.maxInFlight, "max-in-flight", 200, "`messages` of a topic that may be on their way")
	fs.StringVar(&s.logLevel, "log-level", "warn", "`level` of what is logged on standard error: debug, info, warn or error")
	return func(ctx context.Context) error {
		if err := s.check(); err != nil {
			return err
		}
		// A reader that has seen enough, such as head, ends tail in good order:
		// as an error from Write, not as a signal.
		broken := make(chan os.Signal, 1)
		signal.Notify(broken, syscall.SIGPIPE)
		defer signal.Stop(broken)
		return s.show(ctx, std)
	}
}

func (s *settings) check() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(len(s.topics) == 0, "topic: at least one is needed")
	refuse(len(s.daemons)+len(s.lookupds) == 0, "lookupd-http-address or qd-tcp-address: at least one is needed")
	refuse(len(s.daemons) > 0 && len(s.lookupds) > 0, "lookupd-http-address and qd-tcp-address: give only one of them")
	refuse(s.count < 0, "n %d: must not be negative", s.count)
	refuse(s.maxInFlight < 1, "max-in-flight %d: must be positive", s.maxInFlight)
	refuse(s.lookupInterval <= 0, "lookupd-poll-interval %s: must be positive", s.lookupInterval)
	for _, t := range s.topics {
		refuse(!protocol.ValidName(t), "topic %q: not a valid name", t)
	}
	return errors.Join(errs...)
}

func (s *settings) show(ctx context.Context, std program.Stdio) error {
	log, _, err := program.Logger(std.Err, s.logLevel)
	if err != nil {
		return err
	}
	if s.channel == "" {
		s.channel = fmt.Sprintf("tail%06d#ephemeral", rand.IntN(1_000_000))
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	out := newScreen(std.Out, s.count, stop)
	slices.Sort(s.topics)
	var readers []*millrace.Reader
	for _, topic := range slices.Compact(s.topics) {
		prefix := ""
		if s.printTopic {
			prefix = topic + " | "
		}
		r, err := millrace.NewReader(millrace.ReaderConfig{
			Topic: topic, Channel: s.channel,
			Addresses: s.daemons, Lookupds: s.lookupds, LookupInterval: s.lookupInterval,
			MaxInFlight: s.inFlight(), Connection: millrace.Connection{UserAgent: "tail/" + program.Version, Log: log},
			Handler: millrace.HandlerFunc(func(_ context.Context, m *millrace.Message) error {
				out.add(line{prefix, m.Body, m})
				return millrace.ErrAnswerLater
			}),
		})
		if err != nil {
			return err
		}
		readers = append(readers, r)
	}
	return run(ctx, readers, out)
}

// inFlight is how many messages may be on their way: not more than are shown.
func (s *settings) inFlight() int {
	if s.count > 0 {
		return min(s.count, s.maxInFlight)
	}
	return s.maxInFlight
}

func run(ctx context.Context, readers []*millrace.Reader, out *screen) error {
	errs := make([]error, len(readers))
	ended := make(chan struct{})
	var reading, showing sync.WaitGroup
	for i, r := range readers {
		reading.Go(func() { errs[i] = r.Run(ctx) })
	}
	var shown error
	showing.Go(func() { shown = out.run(ended) })
	reading.Wait()
	close(ended)
	showing.Wait()
	return errors.Join(append(errs, shown)...)
}
