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
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// Stdio is a program's standard streams, so that tests can run one in process.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Setup declares a program's flags on fs and returns what to run once they are
// parsed. The context ends with the first SIGINT or SIGTERM; a second one
// kills the process. Arguments that are not flags are refused.
type Setup func(fs *flag.FlagSet, std Stdio) func(ctx context.Context) error

// Program is one of Millrace's programs: what --help tells of it, and what it does.
type Program struct {
	Name     string // as it is called in what it says of itself
	Synopsis string // what it does, in a line that begins with a verb
	About    string // what one has to know to use it, in paragraphs; may be empty
	Examples []Example
	Sections []Section // in which its flags are listed; those in none come last
	Setup    Setup
	Commands []Command // what it can be asked for, instead of Setup

	called string // as its user has called it; Name if empty
	begin  func() // called when the settings are read, before what Setup has returned; may be nil
}

// Example is a command that does something that users want.
type Example struct {
	Does    string // what it does, in a line
	Command string // as it is typed; may have several lines
}

// Section is some flags that belong together.
type Section struct {
	Title string
	Flags []string // names without dashes, in the order in which they are listed
}

// Main runs the program with the process's arguments and exits: with 0 when it
// returns nil, else with 1 after one line on standard error for each thing that
// is wrong. Until the settings are read a signal ends the process at once: nobody would
// obey, and a config file may be a pipe that says nothing.
func (p Program) Main() {
	ctx, cancel := context.WithCancel(context.Background())
	p.begin = func() {
		told, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(told, func() {
			stop() // the second signal is the system's
			cancel()
		})
	}
	p.exit(ctx)
}

func (p Program) exit(ctx context.Context) {
	if name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe"); fileName.MatchString(name) {
		p.called = name
	}
	os.Exit(p.Run(ctx, os.Args[1:], Stdio{os.Stdin, os.Stdout, apart(os.Stderr)}))
}

// fileName is a name that needs no quotes in a shell's script or a man page. By another
// one the program is not called in them.
var fileName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)

// Run is Main without the process: it returns the exit status.
func (p Program) Run(ctx context.Context, args []string, std Stdio) int {
	std, done := std.patient()
	defer done()
	if len(p.Commands) > 0 {
		return p.runCommand(ctx, args, std)
	}
	fs, own, run := p.flags(std)
	own.version.args = args
	wrong := parse(fs, args)
	if errors.Is(wrong, flag.ErrHelp) || wrong == nil && own.tells() {
		return p.tell(own, fs, std)
	}
	warnings, err := settle(fs, os.Environ())
	for _, w := range warnings {
		fmt.Fprintf(std.Err, "%s: warning: %s\n", p.Name, w)
	}
	check := checkedOf(fs)
	err = check.complaints(errors.Join(wrong, err))
	if asked, wrong := check.inspect(fs, std.Out, err); asked || wrong != nil {
		return p.status(fs, std, wrong)
	}
	if p.begin != nil {
		p.begin()
	}
	return p.status(fs, std, run(ctx))
}

// flags are the program's and every program's.
func (p Program) flags(std Stdio) (*flag.FlagSet, *own, func(context.Context) error) {
	fs := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	own := declareOwn(fs)
	if p.Setup == nil {
		return fs, own, nil
	}
	return fs, own, p.Setup(fs, std)
}

// status is the exit status after err, which is told.
func (p Program) status(fs *flag.FlagSet, std Stdio, err error) int {
	if err == nil {
		return 0
	}
	complain(std.Err, fs, err)
	return 1
}

// complain writes a line for each thing that is wrong. What is wrong with a setting
// begins with its name; nobody has typed what comes from the environment, so its
// variable is named, too.
func complain(w io.Writer, fs *flag.FlagSet, err error) {
	said := make(map[string]bool) // several parts may have the same to say
	for line := range strings.Lines(err.Error()) {
		if said[line] {
			continue
		}
		said[line] = true
		line = strings.TrimSuffix(line, "\n")
		name := strings.TrimLeft(line, "-")
		name = name[:max(strings.IndexAny(name, ": "), 0)]
		if l := ledgerOf(fs); l != nil && l.by[name] == FromEnvironment {
			line += fmt.Sprintf(" (%s is set)", variable(fs, name))
		}
		fmt.Fprintf(w, "%s: %s\n", fs.Name(), line)
	}
}

// settle completes what the command line has said: by the environment, environ, and
// what neither has said by the config file, if there is one. It returns warnings about
// what has no effect.
func settle(fs *flag.FlagSet, environ []string) (warnings []string, err error) {
	fs.Visit(func(f *flag.Flag) {
		if reason, old := obsolete(fs.Lookup(meant(f))); old {
			warnings = append(warnings, fmt.Sprintf("--%s has no effect: %s", f.Name, reason))
		}
	})
	more, err := readEnvironment(fs, environ)
	warnings = append(warnings, more...)
	f := fs.Lookup(configFlag)
	if f == nil || f.Value.String() == "" {
		return warnings, err
	}
	more, wrong := readConfig(fs, f.Value.String())
	return append(warnings, more...), errors.Join(err, wrong)
}
