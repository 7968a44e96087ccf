// Pub publishes what it reads on standard input, a message a line. It loses
// none: it ends with status 0 only when every message was acknowledged.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
)

// window is how many batches may be on their way to a daemon.
const window = 50

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "pub",
	Synopsis: "publish standard input, a message a line; empty lines are skipped",
	Setup:    setup,
}

func main() {
	itself.Main()
}

// settings are the flags.
type settings struct {
	topic      string
	daemons    program.Strings
	delimiter  string
	rate       int
	batch      int
	maxMsgSize int
	retryFor   time.Duration
}

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	var s settings
	fs.StringVar(&s.topic, "topic", "", "`name` of the topic to publish to")
	fs.Var(&s.daemons, "qd-tcp-address", "`host:port` of a qd's TCP side (may be given several times: each gets every message)")
	program.Alias(fs, "nsqd-tcp-address", "qd-tcp-address")
	fs.StringVar(&s.delimiter, "delimiter", "", "one `byte` that ends a message; the last one may lack it, empty ones are skipped (default newline)")
	fs.IntVar(&s.rate, "rate", 0, "`messages` a second at most")
	fs.IntVar(&s.batch, "batch", 200, "`messages` in one publish at most; what is there goes at once, without waiting for more")
	fs.IntVar(&s.maxMsgSize, "max-msg-size", protocol.DefaultMaxMessageSize, "`bytes` of a message at most, as the daemon has it")
	fs.DurationVar(&s.retryFor, "retry-for", 30*time.Second, "how long to go on trying while a daemon is away")
	return func(ctx context.Context) error {
		if err := s.check(); err != nil {
			return err
		}
		return s.publish(ctx, std)
	}
}

func (s *settings) check() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(s.topic == "", "topic: is needed")
	refuse(s.topic != "" && !protocol.ValidName(s.topic), "topic %q: not a valid name", s.topic)
	refuse(len(s.daemons) == 0, "qd-tcp-address: at least one is needed")
	for _, a := range s.daemons {
		_, _, err := net.SplitHostPort(a)
		refuse(err != nil, "qd-tcp-address %q: must be host:port", a)
	}
	refuse(len(s.delimiter) > 1, "delimiter %q: must be one byte", s.delimiter)
	refuse(s.rate < 0, "rate %d: must not be negative", s.rate)
	refuse(s.batch < 1, "batch %d: must be positive", s.batch)
	refuse(s.maxMsgSize < 1, "max-msg-size %d: must be positive", s.maxMsgSize)
	refuse(s.retryFor < 0, "retry-for %s: must not be negative", s.retryFor)
	return errors.Join(errs...)
}

func (s *settings) publish(ctx context.Context, std program.Stdio) error {
	p := &publishing{pace: pace{perSecond: s.rate}, report: &report{out: std.Err, terminal: isTerminal(std.Err)}}
	p.limit = p.pace.batchLimit(s.batch)
	slices.Sort(s.daemons)
	for _, address := range slices.Compact(s.daemons) {
		l := newLane(address, s.topic, window, func() (publisher, error) { return connectOnce(address) })
		l.retryFor, l.warn = s.retryFor, p.report.say
		p.lanes = append(p.lanes, l)
	}
	var wg sync.WaitGroup
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() { p.report.follow(following, p.acknowledged) })
	delimiter := byte('\n')
	if s.delimiter != "" {
		delimiter = s.delimiter[0]
	}
	err := p.run(ctx, newRecords(std.In, delimiter, s.maxMsgSize))
	stop()
	wg.Wait()
	return err
}

// connectOnce returns a Writer whose connection is its only one.
func connectOnce(address string) (publisher, error) {
	var used atomic.Bool
	return millrace.NewWriter(millrace.WriterConfig{
		Addresses: []string{address}, RetryFor: -1,
		MaxInFlight: math.MaxInt, MaxInFlightBytes: math.MaxInt, // the lane has its window
		Connection: millrace.Connection{UserAgent: "pub/" + program.Version, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if used.Swap(true) {
				return nil, errLost
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}},
	})
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
