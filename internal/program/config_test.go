package program

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// knobs declares a flag of each kind, with a file.
func knobs(fs *flag.FlagSet, std Stdio) func(context.Context) error {
	var (
		size  = fs.Int64("queue-size", 7, "`messages`")
		wait  = fs.Duration("wait-time", time.Second, "how long")
		share = fs.Float64("share", 0.5, "how much")
		on    = fs.Bool("on", false, "whether")
		name  = fs.String("name", "x", "who")
		peers Strings
	)
	fs.Var(&peers, "peer-address", "whom")
	Key(fs, "peer_addresses", "peer-address")
	fs.Int("node-id", 0, "")
	Key(fs, "id", "node-id")
	Obsolete(fs, "node-id", "numbers are drawn")
	fs.Bool("verbose", false, "")
	Obsolete(fs, "verbose", "say more otherwise")
	ConfigFile(fs)
	return func(context.Context) error {
		_, err := fmt.Fprint(std.Out, *size, " ", *wait, " ", *share, " ", *on, " ", *name, " ", peers)
		return err
	}
}

func TestConfigFile(t *testing.T) {
	for name, c := range map[string]struct {
		file, args string
		want       string // on standard output
		says       string // on standard error, F standing for the file
	}{
		"nothing":     {want: "7 1s 0.5 false x []"},
		"every kind":  {file: "queue_size=1\nwait_time='2m'\nshare=0.25\non=true\nname='y'\npeer_addresses=['a', 'b']", want: "1 2m0s 0.25 true y [a b]"},
		"bare number": {file: "wait_time = 250\nshare = 1", want: "7 250ms 1 false x []"},
		"text":        {file: "queue_size = '12'\non = 'true'\npeer_addresses = 'a,b'", want: "12 1s 0.5 true x [a b]"},
		"flags win":   {file: "queue_size=1\npeer_addresses=['a']", args: "--queue-size=2 --peer-address=b", want: "2 1s 0.5 false x [b]"},
		"obsolete keys": {
			file: "# old\nid = 7\nverbose = true", want: "7 1s 0.5 false x []",
			says: "p: warning: config F:2: id has no effect: numbers are drawn\np: warning: config F:3: verbose has no effect: say more otherwise\n",
		},
		"obsolete flags": {
			args: "-verbose --node-id 5", want: "7 1s 0.5 false x []",
			says: "p: warning: --node-id has no effect: numbers are drawn\np: warning: --verbose has no effect: say more otherwise\n",
		},
		"all wrong": {
			file: "queue_sise = 1\n\nwait_time = 'long'\nname = 5\non = 1\nqueue_size = [1]\nshare='much'\nnonsense_indeed = 1\npeer-address = 'a'\n[peers]\na = 1",
			says: `p: config F:1: unknown key "queue_sise": is "queue_size" meant?
p: config F:3: wait_time: must be a duration, such as "250ms", or a number of milliseconds
p: config F:4: name: must be a string
p: config F:5: on: must be true or false
p: config F:6: queue_size: must be a whole number
p: config F:7: share: must be a number
p: config F:8: unknown key "nonsense_indeed" (--help lists the flags; keys have underscores)
p: config F:9: unknown key "peer-address": is "peer_addresses" meant?
p: config F:10: unknown key "peers" (--help lists the flags; keys have underscores)
`,
		},
		"name of a flag that has a key": {file: "peer_address = 'a'", says: "p: config F:1: unknown key \"peer_address\": is \"peer_addresses\" meant?\n"},
		"wrong though overridden":       {file: "queue_size = false", args: "--queue-size=2", says: "p: config F:1: queue_size: must be a whole number\n"},
		"config in config":              {file: "config = 'x'", says: "p: config F:1: unknown key \"config\" (--help lists the flags; keys have underscores)\n"},
		"too long":                      {file: "wait_time = 9223372036854775807", says: "p: config F:1: wait_time: must be a duration, such as \"250ms\", or a number of milliseconds\n"},
		"no TOML":                       {file: "a = 1\nb = = 2", says: "p: config F:2: expected value but found '=' instead\n"},
		"twice":                         {file: "share = 1\nshare = 1", says: "p: config F:2: Key 'share' has already been defined.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.cfg")
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs strings.Builder
			args := append([]string{"--config=" + path}, strings.Fields(c.args)...)
			status := Program{Name: "p", Synopsis: "tests", Setup: knobs}.Run(t.Context(), args, Stdio{Out: &out, Err: &errs})
			said := strings.ReplaceAll(errs.String(), path, "F")
			if out.String() != c.want || said != c.says || (status == 0) != (c.want != "") {
				t.Errorf("status %d, %q, said\n%s", status, out.String(), said)
			}
		})
	}
}

// TestCommandLine is about what is said in words, on the command line alone.
func TestCommandLine(t *testing.T) {
	for args, want := range map[string]struct {
		out  string // on standard output
		says string // on standard error
	}{
		"": {out: "7 1s 0.5 false x []"},
		"-queue-size 3 --wait-time=2m -on --name -":                   {out: "3 2m0s 0.5 true - []"},
		"-on=false --on=1 -peer-address a,b --peer-address=c --name=": {out: "7 1s 0.5 true  [a b c]"},
		"--queue-size=3 --queue-size -5":                              {out: "-5 1s 0.5 false x []"},
		"--queue-size=many --wait-time 5 --share=x -on=perhaps": {says: `p: queue-size "many": must be a whole number
p: wait-time "5": must be a duration, such as "250ms"
p: share "x": must be a number
p: on "perhaps": must be true or false
`},
		"--queue-sise 3 --nothing-like-it=4 -on here --wait-time": {says: `p: unknown flag --queue-sise: is --queue-size meant?
p: unknown flag --nothing-like-it: p --help lists the flags
p: unexpected argument "here": settings are given as flags (p --help lists them)
p: wait-time: must have a value, a duration, such as "250ms"
`},
		"- --": {says: `p: unexpected argument "-": settings are given as flags (p --help lists them)
p: unexpected argument "--": settings are given as flags (p --help lists them)
`},
	} {
		var out, errs strings.Builder
		status := Program{Name: "p", Synopsis: "tests", Setup: knobs}.Run(t.Context(), strings.Fields(args), Stdio{Out: &out, Err: &errs})
		if out.String() != want.out || errs.String() != want.says || (status == 0) != (want.out != "") {
			t.Errorf("%s: status %d, %q, said\n%s", args, status, out.String(), errs.String())
		}
	}
}

func TestConfigFileMissing(t *testing.T) {
	var out, errs strings.Builder
	status := Program{Name: "p", Synopsis: "tests", Setup: knobs}.Run(t.Context(), []string{"--config=/nowhere/p.cfg"}, Stdio{Out: &out, Err: &errs})
	if want := "p: config: open /nowhere/p.cfg: no such file or directory\n"; status != 1 || errs.String() != want {
		t.Errorf("status %d, said %q", status, errs.String())
	}
}

func TestHelpListsWhatHasAnEffect(t *testing.T) {
	var out, errs strings.Builder
	Program{Name: "p", Synopsis: "tests", Setup: knobs}.Run(t.Context(), []string{"--help"}, Stdio{Out: &out, Err: &errs})
	for _, no := range []string{"verbose", "node-id", "--id", "peer_addresses"} {
		if strings.Contains(out.String(), no) {
			t.Errorf("%s is listed in\n%s", no, out.String())
		}
	}
	if !strings.Contains(out.String(), "--config file") {
		t.Errorf("--config is not listed in\n%s", out.String())
	}
}

func TestLogLines(t *testing.T) {
	for _, c := range []struct {
		level string
		lines int // of debug, info, warn and error
	}{{"debug", 4}, {"INFO", 3}, {"warn", 2}, {"error", 1}, {"fatal", 0}} {
		var out strings.Builder
		log, _, err := Logger(&out, LogSettings{Level: c.level, Format: "text", Prefix: "[p] "})
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("a")
		log.Info("b")
		log.Warn("c")
		log.Error("d")
		if n := strings.Count(out.String(), "\n"); n != c.lines || strings.Count(out.String(), "[p] time=") != n {
			t.Errorf("at %s:\n%s", c.level, out.String())
		}
	}
	_, _, err := Logger(&strings.Builder{}, LogSettings{Level: "loud", Format: "xml"})
	if err == nil || err.Error() != "log-level \"loud\": must be debug, info, warn, error or fatal\nlog-format \"xml\": must be auto, text or json" {
		t.Errorf("there is no level loud, and no format xml: %v", err)
	}
	var out strings.Builder
	log, _, err := Logger(&out, LogSettings{Level: "info"})
	if log.Info("a"); err != nil || !strings.HasPrefix(out.String(), `{"time":"`) {
		t.Errorf("to what is no terminal it writes %q, %v", out.String(), err)
	}
}
