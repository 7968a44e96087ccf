// Command standalone is a whole Millrace in one process: a qd, the lookupd that it
// registers with, and the admin that shows both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"github.com/millrace-mq/millrace/admin"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/lookupd"
	"github.com/millrace-mq/millrace/qd"
)

func main() {
	itself.MainDraining(setup)
}

// settings are those of the three. watchIfFree says that nobody has chosen the admin's
// address: if somebody else has it, there is no admin.
type settings struct {
	queues      qd.Settings
	lookup      lookupd.Settings
	watch       admin.Settings
	watchIfFree bool
}

func setup(fs *flag.FlagSet, std program.Stdio) func(ctx, term context.Context) error {
	s := settings{queues: qd.Defaults(), lookup: lookupd.DefaultSettings(), watch: admin.DefaultSettings()}
	s.queues.DataPath, s.queues.LogLevel = "data", "warn"
	fs.StringVar(&s.queues.TCPAddress, "tcp-address", s.queues.TCPAddress, "`host:port` for TCP clients of qd")
	fs.StringVar(&s.queues.HTTPAddress, "http-address", s.queues.HTTPAddress, "`host:port` for HTTP clients of qd")
	fs.StringVar(&s.lookup.TCPAddress, "lookupd-tcp-address", s.lookup.TCPAddress, "`host:port` that daemons register at")
	fs.StringVar(&s.lookup.HTTPAddress, "lookupd-http-address", s.lookup.HTTPAddress, "`host:port` that consumers ask at")
	fs.StringVar(&s.watch.HTTPAddress, "admin-http-address", s.watch.HTTPAddress, "`host:port` for browsers; empty is no admin")
	s.queues.StorageFlags(fs)
	s.queues.DrainFlag(fs)
	fs.Lookup("data-path").Usage = "`directory` for what is kept on disk; created when missing"
	fs.StringVar(&s.queues.LogLevel, "log-level", s.queues.LogLevel, "`level`: debug, info, warn, error or fatal")
	program.ConfigFile(fs)
	origins := program.OriginsOf(fs)
	return func(ctx, term context.Context) error {
		s.queues.Origins = origins()
		s.lookup.Origins = s.queues.Origins.Renamed(map[string]string{
			"tcp_address": "lookupd_tcp_address", "http_address": "lookupd_http_address", "log_level": "log_level",
		})
		s.watch.Origins = s.queues.Origins.Renamed(map[string]string{"http_address": "admin_http_address", "log_level": "log_level"})
		s.lookup.LogLevel, s.watch.LogLevel = s.queues.LogLevel, s.queues.LogLevel
		s.watchIfFree = true
		fs.Visit(func(f *flag.Flag) { s.watchIfFree = s.watchIfFree && f.Name != "admin-http-address" })
		return s.run(ctx, term, std)
	}
}

// house is the three daemons, listening. admin may be nil.
type house struct {
	lookup *lookupd.Daemon
	queues *qd.Daemon
	watch  *admin.Daemon
}

// run serves until ctx ends, qd has drained after the end of term, or one of the
// daemons fails, and returns when all have ended.
func (s *settings) run(ctx, term context.Context, std program.Stdio) error {
	log, level, err := program.Logger(std.Err, s.queues.LogLevel)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.queues.DataPath, 0o755); err != nil {
		return fmt.Errorf("data-path: %w", err)
	}
	h, err := s.listen(log, level)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "Millrace runs: TCP on %s, HTTP on %s, lookupd on %s, data in %s. Ctrl-C ends it.\n",
		h.queues.TCPAddr(), h.queues.HTTPAddr(), h.lookup.HTTPAddr(), s.queues.DataPath)
	if h.watch != nil {
		fmt.Fprintf(std.Out, "Look: %s\n", h.watch.URL())
	}
	fmt.Fprintf(std.Out, "Try: curl -d 'hello world 1' 'http://%s/put?topic=test'\n", h.queues.HTTPAddr())
	return h.run(ctx, term)
}

// listen opens what all of them listen on, or nothing.
func (s *settings) listen(log *slog.Logger, level *slog.LevelVar) (h house, err error) {
	if h.lookup, err = lookupd.Listen(s.lookup, log.With("daemon", "lookupd")); err != nil {
		return h, err
	}
	if s.watch.HTTPAddress != "" {
		s.watch.Lookupds = []string{h.lookup.HTTPAddr().String()}
		h.watch, err = admin.Listen(s.watch, log.With("daemon", "admin"), nil)
		if errors.Is(err, syscall.EADDRINUSE) && s.watchIfFree {
			log.Warn("no admin: somebody else has its address; --admin-http-address names another", "address", s.watch.HTTPAddress)
			err = nil
		}
		if err != nil {
			return h, errors.Join(err, h.lookup.Close())
		}
	}
	s.queues.LookupdTCPAddresses = []string{h.lookup.TCPAddr().String()}
	if h.queues, err = qd.Listen(s.queues, log.With("daemon", "qd"), level); err != nil {
		err = errors.Join(err, h.lookup.Close())
		if h.watch != nil {
			err = errors.Join(err, h.watch.Close())
		}
	}
	return h, err
}

// run runs them. lookupd outlives qd, so that consumers hear of its end from qd itself;
// the admin shows the drain to its end.
func (h house) run(ctx, term context.Context) error {
	looking, stopLooking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLooking()
	queueing, stopQueueing := context.WithCancel(ctx)
	defer stopQueueing()
	var wg sync.WaitGroup
	var lookErr, watchErr error
	wg.Go(func() {
		defer stopQueueing()
		lookErr = h.lookup.Run(looking)
	})
	if h.watch != nil {
		wg.Go(func() {
			defer stopQueueing()
			watchErr = h.watch.Run(looking)
		})
	}
	defer context.AfterFunc(term, h.queues.Terminate)()
	err := h.queues.Run(queueing)
	stopLooking()
	wg.Wait()
	return errors.Join(err, lookErr, watchErr)
}
