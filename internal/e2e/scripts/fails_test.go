package scripts

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// observed plays one script and is told of its failure instead of the test.
type observed struct {
	testing.TB
	said     strings.Builder
	failed   bool
	cleanups []func()
}

func (o *observed) Parallel()                               {}
func (o *observed) Verbose() bool                           { return false }
func (o *observed) Log(args ...any)                         { fmt.Fprintln(&o.said, args...) }
func (o *observed) Failed() bool                            { return o.failed }
func (o *observed) Cleanup(do func())                       { o.cleanups = append(o.cleanups, do) }
func (o *observed) Run(_ string, play func(t testscript.T)) { play(o) }

func (o *observed) Error(args ...any) {
	o.Log(args...)
	o.failed = true
}

func (o *observed) Fatal(args ...any) {
	o.Log(args...)
	o.FailNow()
}

func (o *observed) FailNow() {
	o.failed = true
	runtime.Goexit()
}

// play returns what was said of a script, and whether it failed.
func play(t *testing.T, script string) (said string, failed bool) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.txtar")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	o := &observed{TB: t}
	played := make(chan struct{})
	go func() {
		defer close(played)
		testscript.RunT(o, testscript.Params{Files: []string{file}, Cmds: commands, Setup: setUp, RequireExplicitExec: true})
	}()
	<-played
	for _, do := range o.cleanups {
		do()
	}
	return o.said.String(), o.failed
}

// A script that breaks a promise must fail, and say why: the others rely on it.
func TestScriptsThatFail(t *testing.T) {
	for name, c := range map[string]struct{ script, why string }{
		"a line is missing":             {"holds all wanted\n-- all --\na\n-- wanted --\na\nb\n", `all lacks 1 of 2 lines, first "b"`},
		"a line is there twice":         {"holds -once all wanted\n-- all --\na\na\n-- wanted --\na\n", `1 of 1 lines more than once, first "a"`},
		"an end that nobody looked at":  {"run x /bin/sh -c 'echo oops >&2; exit 3'\nuntil 'test -s x.err'\n", "x ended with exit status 3, which the script has not looked at"},
		"what it said last is shown":    {"run x /bin/sh -c 'echo oops >&2; exit 3'\n! ended x\nexec false\n", "said\noops"},
		"a bad end that was to be good": {"run x /bin/false\nended x\n", "x ended with exit status 1"},
		"a good end that was to be bad": {"run x /bin/true\n! ended x\n", "x ended with exit status 0"},
		"a bad end is run over":         {"run x /bin/false\nuntil 'true'\n! ended x\nagain x\nuntil 'true'\nended x", "x ended with exit status 1"},
		"a refusal that was to succeed": {"httpserver w rules\nhttp GET $W_URL/\n-- rules --\n500\n", "500 Internal Server Error"},
		"an answer that was to refuse":  {"httpserver w rules\n! http GET $W_URL/\n-- rules --\n200\n", "200 OK"},
		"a rule that is none":           {"httpserver w rules\n-- rules --\nx3\n", `rule "x3": must have a status`},
		"nothing was started":           {"end x\n", `nothing with the name "x" was started`},
		"two of one name":               {"run x /bin/true\nrun x /bin/true\n", `"x" is there already`},
		"an audit of nobody":            {"audit q\n", `there is no qd "q"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if said, failed := play(t, c.script); !failed || !strings.Contains(said, c.why) {
				t.Errorf("failed: %v, for want of %q; said\n%s", failed, c.why, said)
			}
		})
	}
}

// The books: what is in a queue and was not named, and what was named and is not there.
func TestUnexplained(t *testing.T) {
	at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"topics":[{"topic_name":"t","depth":4,"channels":[{"channel_name":"c","depth":1,"in_flight_count":2,"deferred_count":3}]}]}`)
	}))
	defer at.Close()
	for want, expected := range map[string]map[string]int{
		"":                                {"t": 4, "t/c": 6},
		"t has 4 messages, want 0":        {"t/c": 6},
		"t/c has 6 messages, want 1":      {"t": 4, "t/c": 1},
		"there is no u/c":                 {"t": 4, "t/c": 6, "u/c": 0},
		"t has 4 messages, want 0; t/c h": {},
	} {
		wrong, err := unexplained(strings.TrimPrefix(at.URL, "http://"), expected)
		if got := strings.Join(wrong, "; "); err != nil || !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("expected %v: %q, %v, want %q", expected, got, err, want)
		}
	}
}
