// Command standalone is a whole Millrace in one process: a qd and the lookupd
// that it registers with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"

	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/lookupd"
	"github.com/millrace-mq/millrace/qd"
)

func main() {
	program.MainDraining("standalone", "qd and lookupd in one process", setup)
}

func setup(fs *flag.FlagSet, std program.Stdio) func(ctx, term context.Context) error {
	queues, lookup := qd.Defaults(), lookupd.DefaultSettings()
	queues.DataPath, queues.LogLevel = "data", "warn"
	fs.StringVar(&queues.TCPAddress, "tcp-address", queues.TCPAddress, "`host:port` for TCP clients of qd")
	fs.StringVar(&queues.HTTPAddress, "http-address", queues.HTTPAddress, "`host:port` for HTTP clients of qd")
	fs.StringVar(&lookup.TCPAddress, "lookupd-tcp-address", lookup.TCPAddress, "`host:port` that daemons register at")
	fs.StringVar(&lookup.HTTPAddress, "lookupd-http-address", lookup.HTTPAddress, "`host:port` that consumers ask at")
	queues.StorageFlags(fs)
	queues.DrainFlag(fs)
	fs.Lookup("data-path").Usage = "`directory` for what is kept on disk; created when missing"
	fs.StringVar(&queues.LogLevel, "log-level", queues.LogLevel, "`level`: debug, info, warn, error or fatal")
	origins := program.OriginsOf(fs)
	return func(ctx, term context.Context) error {
		queues.Origins = origins()
		lookup.Origins = queues.Origins.Renamed(map[string]string{
			"tcp_address": "lookupd_tcp_address", "http_address": "lookupd_http_address", "log_level": "log_level",
		})
		lookup.LogLevel = queues.LogLevel
		return run(ctx, term, queues, lookup, std)
	}
}

// run serves until ctx ends, qd has drained after the end of term, or one of the
// two daemons fails, and returns when both have ended.
func run(ctx, term context.Context, queues qd.Settings, lookup lookupd.Settings, std program.Stdio) error {
	log, level, err := program.Logger(std.Err, queues.LogLevel)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(queues.DataPath, 0o755); err != nil {
		return fmt.Errorf("data-path: %w", err)
	}
	l, err := lookupd.Listen(lookup, log.With("daemon", "lookupd"))
	if err != nil {
		return err
	}
	queues.LookupdTCPAddresses = []string{l.TCPAddr().String()}
	q, err := qd.Listen(queues, log.With("daemon", "qd"), level)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	fmt.Fprintf(std.Out, "Millrace runs: TCP on %s, HTTP on %s, lookupd on %s, data in %s. Ctrl-C ends it.\n",
		q.TCPAddr(), q.HTTPAddr(), l.HTTPAddr(), queues.DataPath)
	fmt.Fprintf(std.Out, "Try: curl -d 'hello world 1' 'http://%s/put?topic=test'\n", q.HTTPAddr())

	// lookupd outlives qd, so that consumers hear of its end from qd itself.
	looking, stopLooking := context.WithCancel(context.WithoutCancel(ctx))
	queueing, stopQueueing := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var lookErr error
	wg.Go(func() {
		defer stopQueueing()
		lookErr = l.Run(looking)
	})
	defer context.AfterFunc(term, q.Terminate)()
	err = q.Run(queueing)
	stopLooking()
	wg.Wait()
	stopQueueing()
	return errors.Join(err, lookErr)
}
