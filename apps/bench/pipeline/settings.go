package pipeline

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/work"
	"github.com/millrace-mq/millrace/internal/program"
)

// Bench is a run of all workloads.
type Bench struct {
	Subject  work.Subject
	Progress io.Writer // a line for each step

	Pub, ToFile string // command lines
	Formats     program.Strings
	Lines       int64
	Size        int // bytes of a line, without its newline
	Rounds      int
	Dir         string // a directory on the disk; "" is the system's for temporary files
	Stall       time.Duration
}

// format is how files are written, and what to_file is told for that.
type format struct{ name, flag string }

var formats = []format{{name: "plain"}, {"gzip", "--gzip"}, {"zstd", "--zstd"}}

// chosen are the formats to measure.
func (b *Bench) chosen() (list []format) {
	for _, f := range formats {
		if slices.Contains(b.Formats, f.name) || len(b.Formats) == 0 {
			list = append(list, f)
		}
	}
	return list
}

// Flags declares the flags.
func (b *Bench) Flags(fs *flag.FlagSet) {
	b.Subject.Flags(fs)
	fs.StringVar(&b.Pub, "pub", "", "`command` that publishes its standard input; --topic and --nsqd-tcp-address are added (default the pub beside this program)")
	fs.StringVar(&b.ToFile, "to-file", "",
		"`command` that writes a topic to files; --topic, --channel, --nsqd-tcp-address, --output-dir and, for compressed files,"+
			" --gzip or --zstd are added (default the to_file beside this program)")
	fs.Var(&b.Formats, "files", "`format` of the files: plain, gzip or zstd (may be given several times; default all)")
	fs.Int64Var(&b.Lines, "lines", 2_000_000, "`lines` in a pass")
	fs.IntVar(&b.Size, "size", 100, "`bytes` of a line, without its newline")
	fs.IntVar(&b.Rounds, "rounds", 3, "do everything this many `times` and show the medians")
	fs.StringVar(&b.Dir, "dir", "", "`directory` on the disk that files are written to, in a directory of their own (default the system's for temporary files)")
	fs.DurationVar(&b.Stall, "stall", 30*time.Second, "give up when nothing happens for this `duration`")
}

// commandOr is the words of a command, or else the program of that name in the directory that
// this one is in.
func commandOr(command, name string) []string {
	self, err := os.Executable()
	switch {
	case command != "":
		return strings.Fields(command)
	case err != nil:
		return []string{name}
	}
	return []string{filepath.Join(filepath.Dir(self), name)}
}

// Validate reports every setting that is out of range.
func (b *Bench) Validate() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(blank(b.Pub), "--pub: the command is empty")
	refuse(blank(b.ToFile), "--to-file: the command is empty")
	for _, name := range b.Formats {
		refuse(!slices.ContainsFunc(formats, func(f format) bool { return f.name == name }), "--files %s: must be plain, gzip or zstd", name)
	}
	refuse(b.Lines < 1 || b.Lines >= 1e12, "--lines %d: must be 1 or more, and less than 10^12", b.Lines)
	refuse(b.Size < leastSize || b.Size > 1<<20, "--size %d: must be %d to %d", b.Size, leastSize, 1<<20)
	refuse(b.Rounds < 1, "--rounds %d: must be 1 or more", b.Rounds)
	refuse(b.Stall <= 0, "--stall %v: must be positive", b.Stall)
	return errors.Join(errs...)
}

// blank reports whether a command was given that has no word.
func blank(command string) bool { return command != "" && strings.TrimSpace(command) == "" }
