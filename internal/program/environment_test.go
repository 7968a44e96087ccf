package program

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// surrounded is what knobs has, with a list whose values have commas, and two flags
// that are wrong or right only when it runs.
func surrounded(fs *flag.FlagSet, std Stdio) func(context.Context) error {
	var headers Each
	fs.Var(&headers, "header", "`line`")
	level := fs.String("log-level", "info", "`level`")
	show := knobs(fs, std)
	Alias(fs, "size", "queue-size")
	return func(ctx context.Context) error {
		if _, err := ParseLevel(*level); err != nil {
			return err
		}
		defer func() { fmt.Fprintf(std.Out, " %q", []string(headers)) }()
		return show(ctx)
	}
}

func TestEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		environment string // a setting a line; F stands for the config file, | for the end of a line in a value
		file, args  string
		want        string // on standard output
		says        string // on standard error, F standing for the file
	}{
		"nothing":    {want: "7 1s 0.5 false x [] []"},
		"every kind": {environment: "P_PLAY_QUEUE_SIZE=1\nP_PLAY_WAIT_TIME=2m\nP_PLAY_SHARE=.25\nP_PLAY_ON=1\nP_PLAY_NAME=y=z\nP_PLAY_PEER_ADDRESS=a, b", want: "1 2m0s 0.25 true y=z [a b] []"},
		"empty is not set": {
			environment: "P_PLAY_QUEUE_SIZE=\nP_PLAY_ON=\nP_PLAY_NAME=\nP_PLAY_CONFIG=", want: "7 1s 0.5 false x [] []",
		},
		"lines are values": {environment: "P_PLAY_HEADER=A: 1,2\r|B: 3||\nP_PLAY_PEER_ADDRESS=a|b,c", want: `7 1s 0.5 false x [a b c] ["A: 1,2" "B: 3"]`},
		"another spelling": {environment: "P_PLAY_SIZE=9", want: "9 1s 0.5 false x [] []"},
		"flags win": {
			environment: "P_PLAY_QUEUE_SIZE=1\nP_PLAY_PEER_ADDRESS=a\nP_PLAY_ON=true", args: "--size=2 --peer_addresses=b -on=false", want: "2 1s 0.5 false x [b] []",
		},
		"it wins over the file": {
			environment: "P_PLAY_SIZE=1\nP_PLAY_PEER_ADDRESS=a", file: "queue_size = 5\npeer_addresses = ['b', 'c']\nname = 'y'", want: "1 1s 0.5 false y [a] []",
		},
		"it names the file":     {environment: "P_PLAY_CONFIG=F", file: "name = 'y'", want: "7 1s 0.5 false y [] []"},
		"the flag names a file": {environment: "P_PLAY_CONFIG=/nowhere", args: "--config=F", file: "name = 'y'", want: "7 1s 0.5 false y [] []"},
		"all that is wrong": {
			environment: "P_PLAY_QUEUE_SIZE=many\nP_PLAY_WAIT_TIME=5\nP_PLAY_ON=perhaps\nP_PLAY_CONFIG=F", args: "--share=x", file: "shore = 1",
			says: `p play: share "x": must be a number
p play: environment P_PLAY_ON "perhaps": must be true or false
p play: environment P_PLAY_QUEUE_SIZE "many": must be a whole number
p play: environment P_PLAY_WAIT_TIME "5": must be a duration, such as "250ms"
p play: config F:1: unknown key "shore": is "share" meant? (P_PLAY_CONFIG is set)
`,
		},
		"wrong though overridden": {environment: "P_PLAY_QUEUE_SIZE=many", args: "--queue-size=2", want: "2 1s 0.5 false x [] []"},
		"two spellings": {
			environment: "P_PLAY_QUEUE_SIZE=1\nP_PLAY_SIZE=2",
			says:        "p play: environment P_PLAY_SIZE: is the same as P_PLAY_QUEUE_SIZE: set one of them\n",
		},
		"what the program refuses": {environment: "P_PLAY_LOG_LEVEL=loud", says: "p play: log-level \"loud\": must be debug, info, warn, error or fatal (P_PLAY_LOG_LEVEL is set)\n"},
		"obsolete": {
			environment: "P_PLAY_NODE_ID=5\nP_PLAY_ID=5", want: "7 1s 0.5 false x [] []",
			says: "p play: warning: P_PLAY_NODE_ID has no effect: numbers are drawn\n",
		},
		"nearly": {
			environment: "P_PLAY_QUEUE_SISE=1\nP_PLAY_OM=1\nP_PLAY_PEERADDRESS=a\nP_PLAY_COLOUR=red", want: "7 1s 0.5 false x [] []",
			says: "p play: warning: environment P_PLAY_PEERADDRESS has no effect: is P_PLAY_PEER_ADDRESS meant?\n" +
				"p play: warning: environment P_PLAY_QUEUE_SISE has no effect: is P_PLAY_QUEUE_SIZE meant?\n",
		},
		// Kubernetes sets these for each service that is called p-play.
		"Kubernetes": {
			environment: "P_PLAY_SERVICE_HOST=10.0.0.1\nP_PLAY_SERVICE_PORT=4150\nP_PLAY_SERVICE_PORT_TCP=4150\nP_PLAY_PORT=tcp://10.0.0.1:4150\n" +
				"P_PLAY_PORT_4150_TCP=tcp://10.0.0.1:4150\nP_PLAY_PORT_4150_TCP_PROTO=tcp\nP_PLAY_PORT_4150_TCP_PORT=4150\nP_PLAY_PORT_4150_TCP_ADDR=10.0.0.1",
			want: "7 1s 0.5 false x [] []",
		},
		"no settings":  {environment: "P_PLAY_VERSION=1.2.3\nP_PLAY_HELP=1\nP_PLAY_MAN=1\nP_PLAY_COMPLETION=x", want: "7 1s 0.5 false x [] []"},
		"another's":    {environment: "P_QUEUE_SIZE=1\nP_PLAYER_QUEUE_SIZE=1\nQUEUE_SIZE=1\np_play_queue_size=1", want: "7 1s 0.5 false x [] []"},
		"no such file": {environment: "P_PLAY_CONFIG=/nowhere/f", says: "p play: config: open /nowhere/f: no such file or directory (P_PLAY_CONFIG is set)\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.cfg")
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			for setting := range strings.Lines(c.environment) {
				name, value, _ := strings.Cut(strings.TrimSpace(setting), "=")
				if value == "F" {
					value = path
				}
				t.Setenv(name, strings.ReplaceAll(value, "|", "\n"))
			}
			args := strings.Fields(strings.ReplaceAll(c.args, "=F", "="+path))
			if c.file != "" && !strings.Contains(c.environment+c.args, "=F") {
				args = append(args, "--config="+path)
			}
			var out, errs strings.Builder
			status := Program{Name: "p play", Synopsis: "tests", Setup: surrounded}.Run(t.Context(), args, Stdio{Out: &out, Err: &errs})
			said := strings.ReplaceAll(errs.String(), path, "F")
			if out.String() != c.want || said != c.says || (status == 0) != (c.want != "") {
				t.Errorf("status %d, %q, said\n%s", status, out.String(), said)
			}
		})
	}
}
