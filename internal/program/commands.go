package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
)

// Command is one of the things that a program with several can be asked for: Name is
// the first argument, and the flags come after it.
type Command = Program

// runCommand is Run for a program that has commands.
func (p Program) runCommand(ctx context.Context, args []string, std Stdio) int {
	if len(args) == 0 {
		fmt.Fprintf(std.Err, "%s: say what to do: %s (%s --help explains)\n", p.Name, p.commandNames(), p.Name)
		return 1
	}
	for _, c := range p.Commands {
		if c.Name == args[0] {
			return p.command(c).Run(ctx, args[1:], std)
		}
	}
	if word := strings.TrimLeft(args[0], "-"); word == "help" || word == versionFlag {
		args = append([]string{"--" + word}, args[1:]...)
	}
	if !strings.HasPrefix(args[0], "-") {
		fmt.Fprintf(std.Err, "%s: unknown command %q: must be one of %s\n", p.Name, args[0], p.commandNames())
		return 1
	}
	fs, own, _ := p.flags(std)
	wrong := parse(fs, args)
	if errors.Is(wrong, flag.ErrHelp) || wrong == nil && own.tells() {
		return p.tell(own, fs, std)
	}
	if wrong == nil {
		wrong = fmt.Errorf("say what to do: %s", p.commandNames())
	}
	return p.status(fs, std, wrong)
}

// command is c as a program of its own.
func (p Program) command(c Command) Program {
	c.called, c.begin = p.as()+" "+c.Name, p.begin
	c.Name = p.Name + " " + c.Name
	return c
}

func (p Program) commandNames() string {
	var list []string
	for _, c := range p.Commands {
		list = append(list, c.Name)
	}
	return strings.Join(list, ", ")
}
