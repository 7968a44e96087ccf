// Command lookupd tells consumers which queue daemons have a topic.
package main

import (
	"context"
	"flag"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/lookupd"
)

func main() {
	itself.Main()
}

// declare declares the flags of a lookupd, and returns what they say once they are read.
func declare(fs *flag.FlagSet) func() *lookupd.Settings {
	settings := lookupd.DefaultSettings()
	settings.Flags(fs)
	program.ConfigFile(fs)
	origins := program.OriginsOf(fs)
	return func() *lookupd.Settings {
		settings.Origins = origins()
		return &settings
	}
}

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	read, issue := declare(fs), access.NewTokenFlag(fs)
	program.Instead(fs, "new-token")
	program.Checkable(fs, func() error { return read().Validate() }, func() error { return read().CheckFiles() })
	return func(ctx context.Context) error {
		if asked, err := issue(read().AccessFile, std.Out); asked {
			return err
		}
		hangups := program.CatchHangups()
		defer hangups.Release()
		settings := read()
		settings.Reread = program.Again(fs, declare)
		if err := settings.Validate(); err != nil {
			return err
		}
		log, level, err := program.Logger(std.Err, settings.LogSettings())
		if err != nil {
			return err
		}
		settings.Level = level
		d, err := lookupd.Listen(*settings, log)
		if err != nil {
			return err
		}
		defer hangups.Serve(program.TellingOfReload(func() { _, _ = d.Reload() }))() // which logs how it went
		return program.RunSupervised(ctx, ctx, d)
	}
}
