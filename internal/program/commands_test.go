package program

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
)

func TestRunOf(t *testing.T) {
	greet := Command{"greet", "says hello", func(fs *flag.FlagSet, std Stdio) func(context.Context) error {
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
		{"", 1, "", "say what to do: greet"},
		{"part", 1, "", `unknown command "part": must be one of greet`},
	} {
		var out, err strings.Builder
		status := RunOf(t.Context(), "say", "talks", strings.Fields(c.args), Stdio{Out: &out, Err: &err}, greet)
		if status != c.status || !strings.Contains(out.String(), c.out) || !strings.Contains(err.String(), c.err) {
			t.Errorf("say %s: status %d, output %q, errors %q", c.args, status, out.String(), err.String())
		}
		if c.err == "" && err.Len() > 0 {
			t.Errorf("say %s: errors %q", c.args, err.String())
		}
	}
}
