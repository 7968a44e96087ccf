// Pub publishes what it reads, on standard input or in files, a message a line or as
// to_file writes them. It loses none: it ends with status 0 only when every message was
// acknowledged, and else says which were not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/link"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
)

func main() {
	itself.Main()
}

// settings are the flags.
type settings struct {
	topic      string
	field      string
	daemons    program.Strings
	lookupds   program.Strings
	mode       program.Choice
	files      program.Each
	format     program.Choice
	delimiter  string
	rate       float64
	batch      int
	deferred   time.Duration
	maxMsgSize int
	retryFor   time.Duration
	failed     string
	logs       program.LogSettings
	link       link.Settings

	// What check makes of them.
	delim  []byte
	log    *slog.Logger
	writer millrace.WriterConfig
}

// The values of --mode and --format.
const (
	modeAll        = "all"
	modeSpread     = "spread"
	formatRaw      = "raw"
	formatJSON     = "json"
	formatPrefixed = "length-prefixed"
)

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	s := settings{
		mode:   program.Choice{Words: []string{modeAll, modeSpread}},
		format: program.Choice{Value: formatRaw, Words: []string{formatRaw, formatJSON, formatPrefixed}},
	}
	fs.StringVar(&s.topic, "topic", "", "`name` of the topic to publish to")
	fs.StringVar(&s.field, "topic-field", "", "`name` of the field with the topic of each record, a JSON object; those that name none go to --topic, or fail without it")
	fs.Var(&s.daemons, "qd-tcp-address", "`host:port` of a qd's TCP side (may be given several times)")
	program.Alias(fs, "nsqd-tcp-address", "qd-tcp-address")
	fs.Var(&s.lookupds, "lookupd-http-address", "`host:port` of a lookupd's HTTP side: messages are spread over the qds that it lists (may be given several times)")
	program.Alias(fs, "nsqlookupd-http-address", "lookupd-http-address")
	fs.Var(&s.mode, "mode", "`mode`: all, each message to every daemon, or spread, to one of them, to another when that is away (default all; spread with lookupds)")
	fs.Var(&s.files, "file", "`path` to read instead of standard input, which is -; .gz and .zst are unpacked (may be given several times)")
	fs.Var(&s.format, "format", "`format` of the input: raw, records with a delimiter behind each; json or length-prefixed, as to_file writes them")
	fs.StringVar(&s.delimiter, "delimiter", `\n`, "`bytes` that end a raw record, with the escapes \\n \\r \\t \\0 \\xHH; the last may lack them, empty records are skipped")
	fs.Float64Var(&s.rate, "rate", 0, "`messages` a second at most, such as 0.5; 0 is as fast as possible")
	fs.IntVar(&s.batch, "batch", 10_000, "`messages` in one publish at most; what is there goes at once, without waiting for more")
	fs.DurationVar(&s.deferred, "defer", 0, "deliver each message only after this time, counted from when it is published")
	fs.IntVar(&s.maxMsgSize, "max-msg-size", protocol.DefaultMaxMessageSize, "`bytes` of a message at most, as the daemon has it")
	fs.DurationVar(&s.retryFor, "retry-for", 30*time.Second, "how long to go on trying while a daemon is away")
	fs.StringVar(&s.failed, "failed", "", "`file` to which records are added that were not acknowledged, so that it can be published with --file")
	s.logs.Level = "warn"
	s.logs.Flags(fs)
	s.link.Declare(fs, "producer-opt")
	program.ConfigFile(fs)
	return func(ctx context.Context) error {
		report := &report{out: std.Err, terminal: program.IsTerminal(std.Err) && !(len(s.files) == 0 && program.IsTerminal(std.In))}
		if err := s.check(report); err != nil {
			return err
		}
		return s.publish(ctx, std, report)
	}
}

// check completes the settings; the error tells all that is wrong.
func (s *settings) check(logTo io.Writer) error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(s.topic == "" && s.field == "", "topic: is needed, or topic-field")
	refuse(s.topic != "" && !protocol.ValidName(s.topic), "topic %q: not a valid name", s.topic)
	refuse(len(s.daemons)+len(s.lookupds) == 0, "qd-tcp-address: at least one is needed, or lookupd-http-address")
	for _, a := range s.daemons {
		_, _, err := net.SplitHostPort(a)
		refuse(err != nil, "qd-tcp-address %q: must be host:port", a)
	}
	refuse(s.mode.Value == modeAll && len(s.lookupds) > 0,
		"mode all: needs to know every daemon; name them with qd-tcp-address, or use spread with lookupd-http-address")
	refuse(s.field != "" && s.format.Value == formatPrefixed, "topic-field: needs records that are JSON; format length-prefixed has none")
	var err error
	s.delim, err = unescape(s.delimiter)
	refuse(err != nil, "delimiter %q: %w", s.delimiter, err)
	refuse(s.format.Value != formatRaw && s.delimiter != `\n`, "delimiter: is for format raw")
	refuse(!(s.rate >= 0 && s.rate <= math.MaxInt32), "rate %v: must be from 0 to %d", s.rate, math.MaxInt32)
	refuse(s.rate > 0 && s.rate < 1e-6, "rate %v: is less than one in a week", s.rate)
	refuse(s.batch < 1, "batch %d: must be positive", s.batch)
	refuse(s.deferred < 0, "defer %s: must not be negative", s.deferred)
	refuse(s.maxMsgSize < 1 || s.maxMsgSize > math.MaxInt32, "max-msg-size %d: must be from 1 to %d", s.maxMsgSize, math.MaxInt32)
	refuse(s.retryFor < 0, "retry-for %s: must not be negative", s.retryFor)
	refuse(slices.Contains([]string{".gz", ".zst"}, strings.ToLower(filepath.Ext(s.failed))), "failed %q: is written plainly; give it another ending", s.failed)
	log, _, err := program.Logger(logTo, s.logs)
	if refuse(err != nil, "%w", err); err != nil {
		log = slog.New(slog.DiscardHandler)
	}
	s.log = log
	named := slices.DeleteFunc(slices.Clone(s.files), func(name string) bool { return name == stdin })
	refuse(len(s.files)-len(named) > 1, "file -: standard input can be read once")
	errs = append(errs, s.configure())
	return errors.Join(errs...)
}

// configure makes the configuration that all Writers have in common.
func (s *settings) configure() error {
	s.writer = millrace.WriterConfig{
		MaxInFlight: math.MaxInt, MaxInFlightBytes: math.MaxInt, // a sink has its window
		BatchBytes: 2 * maxBatchBytes, // whose memory is used again
		Connection: millrace.Connection{
			UserAgent:         "pub/" + program.Version,
			HeartbeatInterval: 10 * time.Second, // a dead daemon is to be noticed in less than the default of --retry-for
		},
	}
	return s.link.Writer(&s.writer, s.log)
}

func (s *settings) publish(ctx context.Context, std program.Stdio, report *report) error {
	noun := "record"
	if s.format.Value == formatJSON || s.format.Value == formatRaw && string(s.delim) == "\n" {
		noun = "line"
	}
	in, err := newInputs(s.files, std.In, noun)
	if err != nil {
		return err
	}
	p := &publishing{feed: s.newFeed(in), ledger: new(ledger), report: report}
	if s.failed != "" {
		if p.ledger.keep, err = openKeeper(s.failed, p.feed.framing.delim, in); err != nil {
			return err
		}
	}
	p.sinks = s.newSinks(delivery{
		window: window, deferred: s.deferred, perTopic: s.field != "", retryFor: s.retryFor,
		warn: report.say, inputs: in, ledger: p.ledger,
	})
	var wg sync.WaitGroup
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() {
		report.follow(following, func() state {
			return state{p.ledger.stored.Load(), p.ledger.bytes.Load(), in.read.Load(), in.size}
		})
	})
	err = p.run(ctx)
	stop()
	wg.Wait()
	return err
}

// A record that is too large to be published is held in memory all the same up to so
// many bytes, if it is to be kept.
const mostKept = 64 << 20

func (s *settings) newFeed(in *inputs) *feed {
	f := &feed{
		inputs: in, framing: framing{delim: s.delim, limit: s.maxMsgSize}, keeping: s.failed != "",
		decoder: decoder{wrapped: s.format.Value == formatJSON, topic: s.topic, field: s.field, limit: s.maxMsgSize},
		pace:    pace{perSecond: s.rate}, topics: make(map[string]*batch),
	}
	switch {
	case s.format.Value == formatPrefixed:
		f.framing.delim = nil
	case s.format.Value == formatJSON:
		f.framing.limit = jsonLimit(s.maxMsgSize)
	}
	if f.keeping {
		f.framing.limit = max(f.framing.limit, mostKept)
	}
	f.limit = f.pace.batchLimit(s.batch)
	f.framing.read = f.pace.readLimit()
	return f
}

// jsonLimit is how long a line may be that has a message of size bytes in it: each byte
// of text may be escaped with six.
func jsonLimit(size int) int { return 6*size + 64<<10 }

// unescape returns the bytes that a delimiter is given as.
func unescape(text string) ([]byte, error) {
	if text == "" {
		return nil, errors.New("must not be empty")
	}
	if text == `\` {
		return []byte(text), nil // as NSQ's tool has it
	}
	var b []byte
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			b = append(b, text[i])
			continue
		}
		i++
		if i == len(text) {
			return nil, errors.New(`ends with a backslash: write \\ for one`)
		}
		switch c := text[i]; c {
		case 'n', 'r', 't', '0', '\\':
			b = append(b, "\n\r\t\x00\\"[strings.IndexByte(`nrt0\`, c)])
		case 'x':
			v, err := strconv.ParseUint(text[i+1:min(len(text), i+3)], 16, 8)
			if err != nil || len(text) < i+3 {
				return nil, errors.New(`\x must be followed by two hexadecimal digits`)
			}
			b = append(b, byte(v))
			i += 2
		default:
			return nil, fmt.Errorf(`\%c: the escapes are \n \r \t \0 \\ \xHH`, c)
		}
	}
	return b, nil
}
