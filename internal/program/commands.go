package program

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Command is one of the things that a program with several can be asked for.
type Command struct {
	Name     string // the program's first argument
	Synopsis string // what it does, in a line
	Setup    Setup
}

// MainOf is Main for a program whose first argument names one of commands.
func MainOf(name, synopsis string, commands ...Command) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal is the system's
	os.Exit(RunOf(ctx, name, synopsis, os.Args[1:], Stdio{os.Stdin, os.Stdout, os.Stderr}, commands...))
}

// RunOf is MainOf without the process: it returns the exit status. Each
// command has flags of its own, listed by "name command --help".
func RunOf(ctx context.Context, name, synopsis string, args []string, std Stdio, commands ...Command) int {
	if len(args) == 0 {
		fmt.Fprintf(std.Err, "%s: say what to do: %s (%s --help explains)\n", name, names(commands), name)
		return 1
	}
	for _, c := range commands {
		if c.Name == args[0] {
			return Program{Name: name + " " + c.Name, Synopsis: c.Synopsis, Setup: c.Setup}.Run(ctx, args[1:], std)
		}
	}
	switch strings.TrimLeft(args[0], "-") {
	case "help", "h":
		listCommands(std.Out, name, synopsis, commands)
		return 0
	case "version":
		return Program{Name: name, Synopsis: synopsis, Setup: nothing}.Run(ctx, []string{"--version"}, std)
	}
	fmt.Fprintf(std.Err, "%s: unknown command %q: must be one of %s\n", name, args[0], names(commands))
	return 1
}

func names(commands []Command) string {
	var list []string
	for _, c := range commands {
		list = append(list, c.Name)
	}
	return strings.Join(list, ", ")
}

func listCommands(w io.Writer, name, synopsis string, commands []Command) {
	fmt.Fprintf(w, "%s - %s\n\nCommands (%s COMMAND --help lists the flags of one):\n", name, synopsis, name)
	for _, c := range commands {
		fmt.Fprintf(w, "  %s\n        %s\n", c.Name, c.Synopsis)
	}
}

func nothing(*flag.FlagSet, Stdio) func(context.Context) error {
	return func(context.Context) error { return nil }
}
