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
	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/lookupd"
	"github.com/millrace-mq/millrace/qd"
)

func main() {
	itself.MainDraining(setup)
}

func setup(fs *flag.FlagSet, std program.Stdio) func(ctx, term context.Context) error {
	read, issue := declare(fs), access.NewTokenFlag(fs)
	program.Instead(fs, "new-token")
	program.Checkable(fs, func() error { return read().validate() }, func() error { return read().checkFiles() })
	return func(ctx, term context.Context) error {
		if asked, err := issue(read().queues.AccessFile, std.Out); asked {
			return err
		}
		hangups := program.CatchHangups()
		defer hangups.Release()
		return read().run(ctx, term, std, hangups, program.Again(fs, declare))
	}
}

// house is the three daemons, listening. admin may be nil.
type house struct {
	lookup *lookupd.Daemon
	queues *qd.Daemon
	watch  *admin.Daemon
	log    *slog.Logger
}

// run serves until ctx ends, qd has drained after the end of term, or one of the
// daemons fails, and returns when all have ended.
func (s *settings) run(ctx, term context.Context, std program.Stdio, hangups *program.Hangups, reread func() (*settings, error)) error {
	log, level, err := program.Logger(std.Err, s.queues.LogSettings())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.queues.DataPath, 0o700); err != nil {
		return fmt.Errorf("data-path: %w", err)
	}
	h := &house{log: log}
	reload := func() (program.Reloaded, error) { return h.reload(reread) }
	s.queues.Together, s.lookup.Together, s.watch.Together = reload, reload, reload
	if err := h.listen(s, level); err != nil {
		return err
	}
	defer hangups.Serve(func() { _, _ = h.queues.Reload() })() // which is together, and logs how it went
	fmt.Fprintf(std.Out, "Millrace runs: TCP on %s, HTTP on %s, lookupd on %s, data in %s. Ctrl-C ends it.\n",
		h.queues.TCPAddr(), h.queues.HTTPAddr(), h.lookup.HTTPAddr(), s.queues.DataPath)
	if h.watch != nil {
		fmt.Fprintf(std.Out, "Look: %s\n", h.watch.URL())
	}
	fmt.Fprintf(std.Out, "Try: curl -d 'hello world 1' 'http://%s/put?topic=test'\n", h.queues.HTTPAddr())
	return h.run(ctx, term)
}

// listen opens what all of them listen on, or nothing.
func (h *house) listen(s *settings, level *slog.LevelVar) (err error) {
	s.lookup.Level = level
	if h.lookup, err = lookupd.Listen(s.lookup, h.log.With("daemon", "lookupd")); err != nil {
		return err
	}
	h.introduce(s)
	if s.watch.HTTPAddress != "" {
		h.watch, err = admin.Listen(s.watch, h.log.With("daemon", "admin"), level)
		if errors.Is(err, syscall.EADDRINUSE) && s.watchIfFree {
			h.log.Warn("no admin: somebody else has its address; --admin-http-address names another", "address", s.watch.HTTPAddress)
			err = nil
		}
		if err != nil {
			return errors.Join(err, h.lookup.Close())
		}
	}
	if h.queues, err = qd.Listen(s.queues, h.log.With("daemon", "qd"), level); err != nil {
		err = errors.Join(err, h.lookup.Close())
		if h.watch != nil {
			err = errors.Join(err, h.watch.Close())
		}
	}
	return err
}

// introduce tells the others where lookupd is, which nobody sets.
func (h *house) introduce(s *settings) {
	s.queues.LookupdTCPAddresses = []string{h.lookup.TCPAddr().String()}
	s.watch.Lookupds = []string{h.lookup.HTTPAddr().String()}
}

// run runs them. lookupd outlives qd, so that consumers hear of its end from qd itself;
// the admin shows the drain to its end.
func (h *house) run(ctx, term context.Context) error {
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
