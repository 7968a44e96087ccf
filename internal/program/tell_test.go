package program

import (
	"context"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"
)

// told is a program with sections, whose user calls it by another name.
func told(sections ...Section) Program {
	return Program{
		Name: "p", called: "our-p", Synopsis: "tests", Setup: knobs,
		Examples: []Example{{"Say a name", "echo p | P_NAME=x p --name y && p --on # upon p"}},
		Sections: sections,
	}
}

func TestHelpHasSections(t *testing.T) {
	var out, errs strings.Builder
	p := told(Section{"Sizes", []string{"share", "queue-size"}}, Section{"Names", []string{"peer-address", "name"}})
	if status := p.Run(t.Context(), []string{"--help"}, Stdio{Out: &out, Err: &errs}); status != 0 || errs.Len() > 0 {
		t.Errorf("status %d, %s", status, errs.String())
	}
	order := []string{
		"our-p - tests\n", "Usage: our-p [flags]", "Examples:", "echo p | P_NAME=x our-p --name y && our-p --on # upon p\n",
		"\nSizes:\n", "--share float\n", "--queue-size messages\n        messages (default 7)\n",
		"\nNames:\n", "--peer-address", "--name string\n        who (default x)\n",
		"\nOther flags:\n", "--config file", "--on\n", "--version", "--help",
		"Settings: what --share sets may also be set by P_SHARE in the environment, or by share in\nthe --config file", "Exit status: 0 ", "our-p --completion bash",
	}
	rest := out.String()
	for _, want := range order {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is missing, or comes too early, in\n%s", want, out.String())
		}
		rest = after
	}
	for _, no := range []string{"--man\n", "--completion shell", "--verbose"} {
		if strings.Contains(out.String(), no) {
			t.Errorf("%q is in\n%s", no, out.String())
		}
	}
}

// What is wrong with a program's own words must not keep them from users, but fails.
func TestSectionsThatAreWrong(t *testing.T) {
	p := told(Section{"Sizes", []string{"share", "shore", "share", "verbose", "peer_addresses"}})
	for _, ask := range []string{"--help", "--man", "--completion=zsh"} {
		var out, errs strings.Builder
		status := p.Run(t.Context(), []string{ask}, Stdio{Out: &out, Err: &errs})
		if status != 1 || strings.Count(errs.String(), "\n") != 4 || !strings.Contains(errs.String(), `p: the section "Sizes" of --help has --shore, which is no flag`) {
			t.Errorf("%s: status %d, says\n%s", ask, status, errs.String())
		}
		if !strings.Contains(out.String(), "share") {
			t.Errorf("%s prints\n%s", ask, out.String())
		}
	}
}

// What is to be told is told, whatever the environment has; but not if the flags are wrong.
func TestTelling(t *testing.T) {
	t.Setenv("P_QUEUE_SIZE", "many")
	for args, want := range map[string]string{
		"--man":             ".TH \"OUR\\-P\" 1 ",
		"--completion bash": "complete -F _millrace_our_p our-p\n",
		"--completion=fish": "complete -c our-p -l queue-size -x",
		"--completion zsh":  "#compdef our-p\n",
		"--version":         "p v" + Version,
		"--man --nothing":   "",
		"--completion csh":  "",
	} {
		var out, errs strings.Builder
		status := told().Run(t.Context(), strings.Fields(args), Stdio{Out: &out, Err: &errs})
		if (status == 0) != (want != "") || !strings.Contains(out.String(), want) || (status == 0) != (errs.Len() == 0) {
			t.Errorf("%s: status %d, %q, says %s", args, status, out.String(), errs.String())
		}
	}
}

type expecting struct{ Strings }

func (expecting) Expects() string { return "memory, disk or fsync" }

type enumerated struct{ Strings }

func (enumerated) Choices() []string { return []string{"a", "b"} }

func TestChoices(t *testing.T) {
	fs := flag.NewFlagSet("p", flag.ContinueOnError)
	fs.Var(new(expecting), "expecting", "`level`: this or that")
	fs.Var(new(enumerated), "enumerated", "`level`: this or that")
	for name, usage := range map[string]string{
		"level":  "`level` of what is logged on standard error: debug, info, warn or error",
		"aside":  "the `method`: get (or not), or post (likewise); more",
		"comma":  "what there is: true, false, or tcp-https",
		"no":     "what is kept, this or that",
		"words":  "`address`: host:port or the path of a socket file",
		"single": "`name` of what is tried: one",
	} {
		fs.String(name, "", usage)
	}
	for name, want := range map[string]string{
		"expecting": "memory disk fsync", "enumerated": "a b", "level": "debug info warn error", "aside": "get post", "comma": "true false tcp-https",
		"no": "", "words": "", "single": "",
	} {
		if got := choices(fs.Lookup(name)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s can be %q, want %q", name, got, want)
		}
	}
}

func TestFailsWhenNobodyCanRead(t *testing.T) {
	var errs strings.Builder
	for _, ask := range []string{"--help", "--man", "--version"} {
		if status := told().Run(context.Background(), []string{ask}, Stdio{Out: broken{}, Err: &errs}); status != 1 {
			t.Errorf("%s: status %d", ask, status)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, context.Canceled }

// What is said of lists is said of those that there are.
func TestHelpOfLists(t *testing.T) {
	const commas, lines = " Where there may be several values, commas or ends of lines divide them", " Where there may be several values, ends of lines divide them. "
	for names, want := range map[string]string{
		"":                          "",
		"topic":                     commas + ". ",
		"header!":                   lines,
		"topic header!":             commas + "; in --header ends of lines alone. ",
		"header! topic post! fast!": commas + "; in --fast, --header and --post ends of lines alone. ",
	} {
		p := Program{Name: "p", Setup: func(fs *flag.FlagSet, _ Stdio) func(context.Context) error {
			fs.Duration("wait", 90*time.Minute, "`time` to wait")
			for name := range strings.FieldsSeq(names) {
				if name, each := strings.CutSuffix(name, "!"); each {
					fs.Var(new(Each), name, "texts")
				} else {
					fs.Var(new(Strings), name, "words")
				}
			}
			return nil
		}}
		var out, errs strings.Builder
		if status := p.Run(t.Context(), []string{"--help"}, Stdio{Out: &out, Err: &errs}); status != 0 || errs.Len() > 0 {
			t.Errorf("status %d, %s", status, errs.String())
		}
		if !strings.Contains(out.String(), "--wait duration\n        time to wait (default 1h30m)\n") {
			t.Errorf("it says\n%s", out.String())
		}
		text := strings.Join(strings.Fields(out.String()), " ")
		if want == "" && strings.Contains(text, "divide") || !strings.Contains(text, "a flag."+want) && want != "" {
			t.Errorf("of %s it says\n%s", names, out.String())
		}
	}
}

func TestBrief(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 20 * time.Second: "20s", time.Minute: "1m", 10 * time.Minute: "10m", time.Hour: "1h", 10 * time.Hour: "10h",
		time.Hour + time.Second: "1h0m1s", 90 * time.Second: "1m30s", 250 * time.Millisecond: "250ms",
	} {
		if got := brief(d.String()); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
