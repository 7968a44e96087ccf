// Package program is what every main of Millrace shares: flags with NSQ's
// spellings as aliases, signals that end a context, and one clear line with
// exit status 1 when something cannot be done.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/millrace-mq/millrace/protocol"
)

// Version is Millrace's own version; releases set it with -ldflags -X.
var Version = "0.1.0-dev"

// Stdio is a program's standard streams, so that tests can run one in process.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Setup declares a program's flags on fs and returns what to run once they are
// parsed. The context ends with the first SIGINT or SIGTERM; a second one
// kills the process. Arguments that are not flags are refused.
type Setup func(fs *flag.FlagSet, std Stdio) func(ctx context.Context) error

// Main runs the program called name with the process's arguments and exits:
// with 0 when it returns nil, else with 1 after one line on standard error.
func Main(name, synopsis string, setup Setup) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal is the system's
	os.Exit(Run(ctx, name, synopsis, os.Args[1:], Stdio{os.Stdin, os.Stdout, os.Stderr}, setup))
}

// Run is Main without the process: it returns the exit status.
func Run(ctx context.Context, name, synopsis string, args []string, std Stdio, setup Setup) int {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	version := fs.Bool("version", false, "print the version and end")
	run := setup(fs, std)
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		usage(std.Out, fs, synopsis)
		return 0
	case err != nil:
		fmt.Fprintf(std.Err, "%s: %v (%s --help lists the flags)\n", name, err, name)
		return 1
	case *version:
		fmt.Fprintf(std.Out, "%s v%s (speaks NSQ %s, built w/%s)\n", name, Version, protocol.Version, runtime.Version())
		return 0
	case fs.NArg() > 0:
		fmt.Fprintf(std.Err, "%s: unexpected argument %q: settings are given as flags (%s --help lists them)\n", name, fs.Arg(0), name)
		return 1
	}
	if err := run(ctx); err != nil {
		fmt.Fprintf(std.Err, "%s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// Strings is a flag that may be given several times, or once with commas.
type Strings []string

// String returns the values, comma-separated.
func (s *Strings) String() string { return strings.Join(*s, ",") }

// Set adds the values in v.
func (s *Strings) Set(v string) error {
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*s = append(*s, part)
		}
	}
	return nil
}

// Alias makes alias another spelling of the flag called name, which must have
// been declared. Aliases are not listed by --help.
func Alias(fs *flag.FlagSet, alias, name string) {
	fs.Var(fs.Lookup(name).Value, alias, aliasUsage+name)
}

const aliasUsage = "the same as --"

// Logger returns a logger at the level called level (debug, info, warn or
// error; fatal, NSQ's fifth, shows errors alone), writing text to w. The level
// can be changed while it is in use.
func Logger(w io.Writer, level string) (*slog.Logger, *slog.LevelVar, error) {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
		"error": slog.LevelError, "fatal": slog.LevelError,
	}
	l, ok := levels[strings.ToLower(level)]
	if !ok {
		return nil, nil, fmt.Errorf("log-level %q: must be debug, info, warn, error or fatal", level)
	}
	v := new(slog.LevelVar)
	v.Set(l)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: v})), v, nil
}

func usage(w io.Writer, fs *flag.FlagSet, synopsis string) {
	fmt.Fprintf(w, "%s - %s\n\nFlags:\n", fs.Name(), synopsis)
	fs.VisitAll(func(f *flag.Flag) {
		if strings.HasPrefix(f.Usage, aliasUsage) {
			return
		}
		kind, text := flag.UnquoteUsage(f)
		head := "  --" + f.Name
		if kind != "" {
			head += " " + kind
		}
		told := strings.Contains(text, "(default") // in words
		if !told && !slices.Contains([]string{"", "0", "false", "0s", "[]"}, f.DefValue) {
			text += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		fmt.Fprintf(w, "%s\n        %s\n", head, text)
	})
}
