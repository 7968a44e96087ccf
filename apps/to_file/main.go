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

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "to_file",
	Synopsis: "keep the messages of topics in files, a line each",
	Setup:    setup,
}

func main() {
	itself.Main()
}

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	var s settings
	s.declare(fs)
	return func(ctx context.Context) error {
		log, _, err := program.Logger(std.Err, s.logLevel)
		if err != nil {
			return err
		}
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		streams, err := s.streams(host, os.Getpid(), log)
		if err != nil {
			return err
		}
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		defer signal.Stop(hangups)
		return run(ctx, streams, hangups)
	}
}
