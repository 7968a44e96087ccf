// Stat shows what topics and channels do: a live table on a terminal, sorted by trouble,
// and elsewhere a line a period, nsq_stat's columns, or JSON.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/apps/stat/board"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/secure"
	"github.com/millrace-mq/millrace/protocol"
)

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "stat",
	Synopsis: "show what topics and channels do, those with trouble first",
	About: `On a terminal stat is a table that changes every --interval, as top's does: topics and channels over all daemons,
what needs somebody first. Keys: q quits, s sorts by something else, / filters by name, ? lists the rest.

When its output goes to a pipe or a file it writes a line a period, of all topics and channels together; or, with both
--topic and --channel, the columns of nsq_stat. --json writes an object a period, with every topic, channel, node and trouble.

It asks lookupds which daemons there are, or the daemons that are named. A daemon that does not answer is shown as such,
and what it had stays in the sums; nsqd and nsqlookupd are asked in the same way. Rates are messages a second since
the period before; the first period only begins them, so the first line comes with the second. After a daemon's
restart, when its counters begin again, the last rates stand for one period.`,
	Examples: []program.Example{
		{Does: "watch everything", Command: "stat --lookupd-http-address=127.0.0.1:4161"},
		{Does: "watch one topic on one daemon, twice a second", Command: "stat --qd-http-address=127.0.0.1:4151 --topic=test --interval=500ms"},
		{Does: "nsq_stat's columns, ten rows", Command: "stat --qd-http-address=127.0.0.1:4151 --topic=test --channel=archive --count=10 | cat"},
		{Does: "channels that wait for a consumer, now", Command: `stat --lookupd-http-address=127.0.0.1:4161 --json --count=1 |
  jq -r '.troubles[] | select(.kind == "no-consumer") | .topic + "/" + .channel'`},
	},
	Sections: []program.Section{
		{Title: "Whom to ask", Flags: []string{"lookupd-http-address", "qd-http-address"}},
		{Title: "What to show", Flags: []string{"topic", "channel", "sort", "interval", "count", "json", "plain"}},
		{Title: "Connections", Flags: []string{
			"http-client-connect-timeout", "http-client-request-timeout", "http-client-token-file", "http-client-tls-root-ca-file",
			"http-client-tls-cert", "http-client-tls-key", "http-client-tls-insecure-skip-verify",
		}},
	},
	Setup: setup,
}

func main() {
	itself.Main()
}

// settings are the flags. They mean what nsq_stat's do.
type settings struct {
	only              board.Only
	order             program.Choice
	interval          time.Duration
	count             int
	json, plain       bool
	daemons, lookupds program.Strings
	connect, request  time.Duration
	client            secure.ClientFiles
	logs              program.LogSettings
	tokenFile         string
}

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	s := settings{client: secure.ClientFiles{Prefix: "http-client-"}, order: program.Choice{Value: string(board.Orders[0]), Words: orders()}}
	program.ConfigFile(fs)
	fs.StringVar(&s.only.Topic, "topic", "", "`name` of the one topic to show (default all)")
	fs.StringVar(&s.only.Channel, "channel", "", "`name` of the channels to show (default all)")
	fs.Var(&s.order, "sort", "`order` of a table: "+s.order.Expects())
	fs.DurationVar(&s.interval, "interval", 2*time.Second, "`time` from one look at the daemons to the next, at least 100ms; longer where a look takes more than a tenth of it")
	fs.IntVar(&s.count, "count", 0, "end after so many `lines` or tables (0 is never)")
	fs.BoolVar(&s.json, "json", false, "write an object a line, one each interval, also to a terminal")
	fs.BoolVar(&s.plain, "plain", false, "write a line each interval, also to a terminal")
	fs.Var(&s.daemons, "qd-http-address", "`host:port` of a qd's HTTP side (may be given several times)")
	program.Alias(fs, "nsqd-http-address", "qd-http-address")
	fs.Var(&s.lookupds, "lookupd-http-address", "`host:port` of a lookupd's HTTP side (may be given several times)")
	program.Alias(fs, "nsqlookupd-http-address", "lookupd-http-address")
	fs.DurationVar(&s.connect, "http-client-connect-timeout", 2*time.Second, "`time` to connect to a daemon")
	fs.DurationVar(&s.request, "http-client-request-timeout", 5*time.Second, "`time` for a daemon's answer")
	fs.StringVar(&s.tokenFile, "http-client-token-file", "", "`file` with the token that daemons are shown: over TLS alone if --http-client-tls-root-ca-file is given, else in clear to whomever a lookupd lists")
	fs.BoolVar(&s.client.SkipVerify, "http-client-tls-insecure-skip-verify", false, "believe any daemon over TLS")
	fs.StringVar(&s.client.RootCA, "http-client-tls-root-ca-file", "", "`file` with the certificates that sign daemons'")
	fs.StringVar(&s.client.Cert, "http-client-tls-cert", "", "`file` with the certificate that daemons are shown, PEM")
	fs.StringVar(&s.client.Key, "http-client-tls-key", "", "`file` with its key, PEM")
	s.logs.Level = "warn"
	s.logs.Flags(fs)
	return func(ctx context.Context) error {
		if err := s.check(); err != nil {
			return err
		}
		// A reader that has seen enough, such as head, ends stat in good order: as an
		// error from Write, not as a signal.
		broken := make(chan os.Signal, 1)
		signal.Notify(broken, syscall.SIGPIPE)
		defer signal.Stop(broken)
		// A terminal that is closed is put back in order as far as it is there.
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
		return s.run(ctx, std)
	}
}

func orders() (names []string) {
	for _, o := range board.Orders {
		names = append(names, string(o))
	}
	return names
}

func (s *settings) check() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(len(s.daemons)+len(s.lookupds) == 0, "lookupd-http-address or qd-http-address: at least one is needed, such as --lookupd-http-address=127.0.0.1:4161")
	refuse(len(s.daemons) > 0 && len(s.lookupds) > 0, "lookupd-http-address and qd-http-address: give only one of them")
	for _, list := range []struct {
		flag      string
		addresses []string
	}{{"lookupd-http-address", s.lookupds}, {"qd-http-address", s.daemons}} {
		for _, a := range list.addresses {
			err := cluster.CheckAddress(a)
			refuse(err != nil, "%s %v", list.flag, err)
		}
	}
	refuse(s.only.Topic != "" && !protocol.ValidName(s.only.Topic), "topic %q: not a valid name", s.only.Topic)
	refuse(s.only.Channel != "" && !protocol.ValidName(s.only.Channel), "channel %q: not a valid name", s.only.Channel)
	refuse(s.interval < 100*time.Millisecond, "interval %s: must be at least 100ms", s.interval)
	refuse(s.count < 0, "count %d: must not be negative", s.count)
	refuse(s.json && s.plain, "json and plain: give only one of them")
	refuse(s.connect <= 0, "http-client-connect-timeout %s: must be positive", s.connect)
	refuse(s.request <= 0, "http-client-request-timeout %s: must be positive", s.request)
	refuse((s.client.Cert == "") != (s.client.Key == ""), "http-client-tls-cert and http-client-tls-key: give both, or none")
	return errors.Join(errs...)
}

// run shows what there is until ctx ends, or --count is reached.
func (s *settings) run(ctx context.Context, std program.Stdio) error {
	log, _, err := program.Logger(std.Err, s.logs)
	if err != nil {
		return err
	}
	out, live := terminalOf(std.Out)
	if live = live && !s.json && !s.plain; live {
		// The log would be written over the table, which shows what there is to say.
		log = slog.New(slog.DiscardHandler)
	}
	c, err := s.cluster(log)
	if err != nil {
		return err
	}
	if live {
		return s.watch(ctx, c, log, &screen{out: out, settings: s})
	}
	return s.watch(ctx, c, log, s.lines(std.Out, log))
}
