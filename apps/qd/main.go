// Command qd is the queue daemon.
package main

import (
	"context"
	"flag"

	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/qd"
)

func main() {
	itself.MainDraining(setup)
}

func setup(fs *flag.FlagSet, std program.Stdio) func(ctx, term context.Context) error {
	settings := qd.Defaults()
	settings.Flags(fs)
	program.ConfigFile(fs)
	origins := program.OriginsOf(fs)
	return func(ctx, term context.Context) error {
		settings.Origins = origins()
		if err := settings.Validate(); err != nil {
			return err
		}
		log, level, err := program.Logger(program.Prefixed(std.Err, settings.LogPrefix), settings.LogLevel)
		if err != nil {
			return err
		}
		d, err := qd.Listen(settings, log, level)
		if err != nil {
			return err
		}
		defer context.AfterFunc(term, d.Terminate)()
		return d.Run(ctx)
	}
}
