package program

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Again returns what reads the settings again that fs was given: the same command line,
// the environment, and the config file as it is by then. declare declares flags as they
// were declared on fs and returns what they say.
func Again[S any](fs *flag.FlagSet, declare func(*flag.FlagSet) func() S) func() (S, error) {
	return func() (s S, err error) {
		again := flag.NewFlagSet(fs.Name(), flag.ContinueOnError)
		again.SetOutput(io.Discard)
		own := declareOwn(again)
		if l := ledgerOf(fs); l != nil {
			own.version.args = l.args
		}
		read := declare(again)
		if checkedOf(fs) != nil {
			Checkable(again, nil, nil) // has no effect any more, but may stand in the command line: --check-config=false
		}
		err = parse(again, own.version.args)
		if f := again.Lookup(configFlag); f != nil && f.Value.String() != "" {
			if err := canBeReread(f.Value.String()); err != nil {
				return s, err
			}
		}
		_, wrong := settle(again, os.Environ()) // what has no effect was told at the start
		return read(), errors.Join(err, wrong)
	}
}

// canBeReread refuses a config file that would be empty now, or be waited for: a pipe.
func canBeReread(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("config %s: is not a regular file, so it cannot be read again", path)
	}
	return nil
}

// Hangups are the process's SIGHUPs.
type Hangups struct{ signals chan os.Signal }

// CatchHangups has SIGHUP not end the process from now on. One that comes before Serve
// is kept for it: what has been read so far may not be all.
func CatchHangups() *Hangups {
	h := &Hangups{make(chan os.Signal, 1)}
	signal.Notify(h.signals, syscall.SIGHUP)
	return h
}

// Release has SIGHUP end the process again.
func (h *Hangups) Release() { signal.Stop(h.signals) }

// Serve calls reload after each SIGHUP until stop is called, which waits for one that is
// under way. Several that come meanwhile are one.
func (h *Hangups) Serve(reload func()) (stop func()) {
	var wg sync.WaitGroup
	end := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-h.signals:
				reload()
			case <-end:
				return
			}
		}
	})
	return func() {
		close(end)
		wg.Wait()
	}
}
