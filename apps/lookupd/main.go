// Command lookupd tells consumers which queue daemons have a topic.
package main

import (
	"context"
	"flag"

	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/lookupd"
)

func main() {
	itself.Main()
}

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	settings := lookupd.DefaultSettings()
	settings.Flags(fs)
	program.ConfigFile(fs)
	origins := program.OriginsOf(fs)
	return func(ctx context.Context) error {
		settings.Origins = origins()
		if err := settings.Validate(); err != nil {
			return err
		}
		log, _, err := program.Logger(program.Prefixed(std.Err, settings.LogPrefix), settings.LogLevel)
		if err != nil {
			return err
		}
		d, err := lookupd.Listen(settings, log)
		if err != nil {
			return err
		}
		return d.Run(ctx)
	}
}
