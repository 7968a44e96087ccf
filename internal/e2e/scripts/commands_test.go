package scripts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// commands are what scripts can say, besides testscript's own. The doc of the package
// explains them.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"qd":         positive("qd NAME [flags]", 1, startQd),
	"lookupd":    positive("lookupd NAME [flags]", 1, startLookupd),
	"run":        positive("run NAME program [args]", 2, run),
	"again":      positive("again NAME", 1, again),
	"signal":     positive("signal SIGNAL NAME", 2, signal),
	"crash":      positive("crash NAME", 1, crash),
	"end":        end,
	"ended":      ended,
	"http":       ask,
	"httpserver": positive("httpserver [-tls] NAME file", 2, serve),
	"until":      positive("until 'shell command'", 1, until),
	"audit":      positive("audit QD [TOPIC/CHANNEL=N ...]", 1, audit),
	"holds":      positive("holds [-once] FILE LINES", 2, holds),
}

// positive is a command that cannot be denied, with a least number of arguments.
func positive(usage string, least int, do func(ts *testscript.TestScript, args []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < least {
			ts.Fatalf("usage: %s", usage)
		}
		do(ts, args)
	}
}

// variable is the environment variable that tells something about a name.
func variable(name, what string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_" + what
}

func startQd(ts *testscript.TestScript, args []string) {
	data := filepath.Join(stageOf(ts).work, args[0])
	ts.Check(os.MkdirAll(data, 0o755))
	startDaemon(ts, "qd", args[0], append([]string{"--broadcast-address=127.0.0.1", "--data-path=" + data}, args[1:]...))
}

func startLookupd(ts *testscript.TestScript, args []string) {
	startDaemon(ts, "lookupd", args[0], append([]string{"--broadcast-address=127.0.0.1"}, args[1:]...))
}

func startDaemon(ts *testscript.TestScript, program, name string, flags []string) {
	tcp, err := testenv.Address()
	ts.Check(err)
	http, err := testenv.Address()
	ts.Check(err)
	ts.Setenv(variable(name, "TCP"), tcp)
	ts.Setenv(variable(name, "HTTP"), http)
	start(ts, &actor{
		name: name, answers: http,
		path: filepath.Join(programs, program),
		args: append([]string{"--tcp-address=" + tcp, "--http-address=" + http}, flags...),
	})
}

func run(ts *testscript.TestScript, args []string) {
	a := &actor{name: args[0], path: args[1], args: args[2:]}
	if filepath.Base(a.path) == a.path {
		for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
			if found, err := exec.LookPath(filepath.Join(dir, a.path)); err == nil {
				a.path = found
				break
			}
		}
	}
	start(ts, a)
}

// start starts an actor for the first time. The script's environment, folder and input
// are only known to what testscript executes: a shell writes them down.
func start(ts *testscript.TestScript, a *actor) {
	s := stageOf(ts)
	s.add(ts, a)
	env, input := s.file(a, "env"), s.file(a, "in")
	ts.Check(ts.Exec("/bin/sh", "-c", `env -0 >"$1" && cat >"$2"`, "sh", env, input))
	text, err := os.ReadFile(env)
	ts.Check(err)
	a.env = strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
	a.input, err = os.ReadFile(input)
	ts.Check(err)
	ts.Check(os.Remove(env))
	ts.Check(os.Remove(input))
	a.dir = ts.MkAbs(".")
	s.begin(ts, a)
}

func again(ts *testscript.TestScript, args []string) {
	s := stageOf(ts)
	a := s.find(ts, args[0])
	if a.server != nil {
		ts.Check(a.server.open())
		return
	}
	if !a.running() && !a.cmd.ProcessState.Success() && !a.lookedAt {
		ts.Fatalf("%s had ended with %v: say \"! ended %s\" if it was to", a.name, a.cmd.ProcessState, a.name)
	}
	s.begin(ts, a)
}

var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL,
	"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

func signal(ts *testscript.TestScript, args []string) {
	sig, ok := signals[args[0]]
	if !ok {
		ts.Fatalf("there is no signal %s", args[0])
	}
	send(ts, args[1], sig)
}

// send signals a program, which must be there.
func send(ts *testscript.TestScript, name string, sig syscall.Signal) *actor {
	a := stageOf(ts).find(ts, name)
	if a.server != nil {
		ts.Fatalf("%s is no process", name)
	}
	if err := a.cmd.Process.Signal(sig); err != nil {
		ts.Fatalf("signalling %s: %v:\n%s", name, err, stageOf(ts).tail(a))
	}
	return a
}

func crash(ts *testscript.TestScript, args []string) {
	a := send(ts, args[0], syscall.SIGKILL)
	ts.Check(a.wait())
	a.lookedAt = true
}

func end(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] end NAME")
	}
	if a := stageOf(ts).find(ts, args[0]); a.server != nil {
		a.server.close()
		return
	}
	send(ts, args[0], syscall.SIGTERM)
	ended(ts, neg, args)
}

// ended leaves what the program has printed for stdout and stderr.
func ended(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] ended NAME")
	}
	s := stageOf(ts)
	a := s.find(ts, args[0])
	if a.server != nil {
		ts.Fatalf("%s is no process", a.name)
	}
	ts.Check(a.wait())
	a.lookedAt = true
	if good := a.cmd.ProcessState.Success(); good == neg {
		ts.Fatalf("%s ended with %v:\n%s", a.name, a.cmd.ProcessState, s.tail(a))
	}
	out, err := os.ReadFile(s.file(a, "out"))
	ts.Check(err)
	said, err := os.ReadFile(s.file(a, "err"))
	ts.Check(err)
	_, _ = ts.Stdout().Write(out)
	_, _ = ts.Stderr().Write(said)
}

// tryAgain runs $1 until it succeeds, for $2 seconds, and prints what it printed last.
const tryAgain = `out=$(mktemp) err=$(mktemp)
end=$(($(date +%s) + $2))
until (eval "$1") >"$out" 2>"$err"; do
	[ "$(date +%s)" -lt "$end" ] || { cat "$out"; cat "$err" >&2; exit 1; }
	sleep 0.05
done
cat "$out"; cat "$err" >&2`

func until(ts *testscript.TestScript, args []string) {
	if err := ts.Exec("/bin/sh", "-c", tryAgain, "sh", strings.Join(args, " "), "20"); err != nil {
		ts.Fatalf("waited %v for: %s", patience, strings.Join(args, " "))
	}
}

func holds(ts *testscript.TestScript, args []string) {
	once := args[0] == "-once"
	if once {
		args = args[1:]
	}
	if len(args) != 2 {
		ts.Fatalf("usage: holds [-once] FILE LINES")
	}
	has := map[string]int{}
	for l := range bytes.Lines([]byte(ts.ReadFile(args[0]))) {
		has[string(bytes.TrimSuffix(l, []byte("\n")))]++
	}
	wanted, missing, repeated := 0, []string{}, []string{}
	for l := range bytes.Lines([]byte(ts.ReadFile(args[1]))) {
		line := string(bytes.TrimSuffix(l, []byte("\n")))
		wanted++
		if has[line] == 0 {
			missing = append(missing, line)
		} else if has[line] > 1 {
			repeated = append(repeated, line)
		}
	}
	if len(missing) > 0 {
		ts.Fatalf("%s lacks %d of %d lines, first %q", args[0], len(missing), wanted, missing[0])
	}
	if once && len(repeated) > 0 {
		ts.Fatalf("%s has %d of %d lines more than once, first %q", args[0], len(repeated), wanted, repeated[0])
	}
}
