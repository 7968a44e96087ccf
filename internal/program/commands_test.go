package program

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
)

func TestCommands(t *testing.T) {
	greet := Command{Name: "greet", Synopsis: "says hello", Setup: func(fs *flag.FlagSet, std Stdio) func(context.Context) error {
		whom := fs.String("whom", "world", "`name` to greet")
		return func(context.Context) error {
			_, err := fmt.Fprintf(std.Out, "hello %s\n", *whom)
			return err
		}
	}}
	for _, c := range []struct {
		args     string
		status   int
		out, err string // what they contain
	}{
		{"greet", 0, "hello world\n", ""},
		{"greet --whom you", 0, "hello you\n", ""},
		{"greet --help", 0, "--whom name", ""},
		{"greet twice", 1, "", `say greet: unexpected argument "twice"`},
		{"--help", 0, "greet\n        says hello", ""},
		{"--version", 0, "say v", ""},
		{"help", 0, "says hello", ""},
		{"version", 0, "say v", ""},
		{"--man", 0, ".TH \"SAY\" 1 ", ""},
		{"--completion fish", 0, "-a greet", ""},
		{"--loud", 1, "", "unknown flag --loud"},
		{"", 1, "", "say what to do: greet"},
		{"part", 1, "", `unknown command "part": must be one of greet`},
	} {
		var out, err strings.Builder
		status := Program{Name: "say", Synopsis: "talks", Commands: []Command{greet}}.Run(t.Context(), strings.Fields(c.args), Stdio{Out: &out, Err: &err})
		if status != c.status || !strings.Contains(out.String(), c.out) || !strings.Contains(err.String(), c.err) {
			t.Errorf("say %s: status %d, output %q, errors %q", c.args, status, out.String(), err.String())
		}
		if c.err == "" && err.Len() > 0 {
			t.Errorf("say %s: errors %q", c.args, err.String())
		}
	}
}

func TestUsageTellsADefaultOnce(t *testing.T) {
	var out strings.Builder
	Program{Name: "say", Synopsis: "talks", Setup: func(fs *flag.FlagSet, _ Stdio) func(context.Context) error {
		fs.Int("much", 7, "how `much`")
		fs.Int("limit", 12345, "`bytes` (default a quarter of the machine's)")
		fs.Int("none", 0, "an amount")
		Alias(fs, "lots", "much")
		return nil
	}}.Run(t.Context(), []string{"--help"}, Stdio{Out: &out})
	for _, want := range []string{"--much much\n        how much (default 7)\n", "bytes (default a quarter of the machine's)\n", "an amount\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "lots") {
		t.Errorf("an alias is listed in\n%s", out.String())
	}
}
