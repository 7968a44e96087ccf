// To_file consumes topics and keeps their messages in files, a line each. A
// message is finished only when its line is on the device: whatever happens to
// the program, the machine or the disk, the daemon delivers again what is not in
// a file.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"

	"github.com/millrace-mq/millrace/internal/program"
)

func main() {
	itself.Main()
}

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	var s settings
	s.declare(fs)
	program.ConfigFile(fs)
	return func(ctx context.Context) error {
		log, _, err := program.Logger(std.Err, s.logs)
		if err != nil {
			return err
		}
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		o, err := s.opener(host, os.Getpid(), log)
		if err != nil {
			return err
		}
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGHUP)
		followed := make(chan struct{})
		go func() {
			defer close(followed)
			o.hangups.follow(signals)
		}()
		defer func() {
			signal.Stop(signals)
			close(signals)
			<-followed
		}()
		return s.consume.Run(ctx, log, o.open)
	}
}
