package program

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"
)

// DrainSetup is Setup for a daemon that has something to finish before it ends.
// The first SIGTERM ends term alone: the daemon is to end in its own time. Any
// further SIGTERM or SIGINT, or a SIGINT to begin with, ends ctx; the one after
// that kills the process.
type DrainSetup func(fs *flag.FlagSet, std Stdio) func(ctx, term context.Context) error

// MainDraining is Main for such a daemon; p.Setup is not looked at.
func (p Program) MainDraining(setup DrainSetup) {
	ctx, stop := context.WithCancel(context.Background())
	term, terminate := context.WithCancel(context.Background())
	p.begin = func() {
		signals := make(chan os.Signal, 2)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		go func() { // ends with the process
			obey(signals, terminate, stop)
			signal.Stop(signals)
		}()
	}
	p.Draining(term, setup).exit(ctx)
}

// Draining is p with a Setup that passes term on to setup.
func (p Program) Draining(term context.Context, setup DrainSetup) Program {
	p.Setup = func(fs *flag.FlagSet, std Stdio) func(context.Context) error {
		run := setup(fs, std)
		return func(ctx context.Context) error { return run(ctx, term) }
	}
	return p
}

// obey returns when the signals that the process deals with itself are spent.
func obey(signals <-chan os.Signal, terminate, stop func()) {
	if <-signals == syscall.SIGTERM {
		terminate()
		<-signals
	}
	stop()
}
