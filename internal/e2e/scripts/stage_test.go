package scripts

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long anything that must happen may take. It is long because the
// machine may be busy; nothing waits it out unless it fails.
const patience = 20 * time.Second

// A stage is what runs while one script is played.
type stage struct {
	t      testing.TB
	work   string
	actors map[string]*actor
	order  []*actor // as they were started first
}

type stageKey struct{}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

// An actor is a program that a script has started in the background, or a server of
// ours that plays one.
type actor struct {
	name   string
	server *server // then it is no program

	path    string
	args    []string
	env     []string
	dir     string
	input   []byte
	answers string // the HTTP address that says that it has started; may be empty

	cmd      *exec.Cmd
	exited   chan struct{} // closed once the process was waited for
	lookedAt bool          // the script knows how it ended
}

// find is the actor that a command names.
func (s *stage) find(ts *testscript.TestScript, name string) *actor {
	a := s.actors[name]
	if a == nil {
		ts.Fatalf("nothing with the name %q was started", name)
	}
	return a
}

// add gives a new actor its name, and its log to whoever looks why a script failed.
func (s *stage) add(ts *testscript.TestScript, a *actor) {
	if s.actors[a.name] != nil {
		ts.Fatalf("%q is there already: \"again\" starts it again", a.name)
	}
	s.actors[a.name] = a
	s.order = append(s.order, a)
}

// begin starts a program. What it says is appended to its two files.
func (s *stage) begin(ts *testscript.TestScript, a *actor) {
	if a.running() {
		ts.Fatalf("%s runs already", a.name)
	}
	a.cmd = exec.Command(a.path, a.args...)
	a.cmd.Env, a.cmd.Dir, a.cmd.Stdin = a.env, a.dir, strings.NewReader(string(a.input))
	out, err := os.OpenFile(s.file(a, "out"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	ts.Check(err)
	defer out.Close()
	said, err := os.OpenFile(s.file(a, "err"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	ts.Check(err)
	defer said.Close()
	a.cmd.Stdout, a.cmd.Stderr = out, said
	if err := a.cmd.Start(); err != nil {
		ts.Fatalf("starting %s: %v", a.name, err)
	}
	a.exited, a.lookedAt = make(chan struct{}), false
	go func(cmd *exec.Cmd, exited chan struct{}) {
		defer close(exited)
		_ = cmd.Wait() // the status is read from ProcessState
	}(a.cmd, a.exited)
	if a.answers != "" {
		s.awaitAnswer(ts, a)
	}
}

func (s *stage) file(a *actor, suffix string) string {
	return filepath.Join(s.work, a.name+"."+suffix)
}

// awaitAnswer returns when a daemon serves.
func (s *stage) awaitAnswer(ts *testscript.TestScript, a *actor) {
	for deadline := time.Now().Add(patience); ; {
		if r, err := client.Get("http://" + a.answers + "/ping"); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == 200 {
				return
			}
		}
		select {
		case <-a.exited:
			ts.Fatalf("%s ended with %v instead of listening:\n%s", a.name, a.cmd.ProcessState, s.tail(a))
		case <-time.After(10 * time.Millisecond): // another process: it has no event for us
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not answer at %s:\n%s", a.name, a.answers, s.tail(a))
		}
	}
}

func (a *actor) running() bool {
	if a.exited == nil {
		return false
	}
	select {
	case <-a.exited:
		return false
	default:
		return true
	}
}

// wait returns when a program has ended, or why it has not.
func (a *actor) wait() error {
	select {
	case <-a.exited:
		return nil
	case <-time.After(patience):
		_ = a.cmd.Process.Signal(syscall.SIGQUIT) // shows the goroutines
		return fmt.Errorf("%s did not end within %v", a.name, patience)
	}
}

// clear ends what still runs, the youngest first, and complains of whatever did not end
// well. It is the last thing that a script does.
func (s *stage) clear() {
	var complaints []string
	for _, a := range slices.Backward(s.order) {
		if a.server != nil {
			a.server.close()
			continue
		}
		if a.exited == nil {
			continue // it never started
		}
		left := a.running()
		if left {
			_ = a.cmd.Process.Signal(syscall.SIGCONT) // it may have been stopped
			_ = a.cmd.Process.Signal(os.Interrupt)
		}
		if err := a.wait(); err != nil {
			complaints = append(complaints, err.Error())
			_ = a.cmd.Process.Kill()
			<-a.exited
		} else if !a.cmd.ProcessState.Success() && !a.lookedAt {
			complaints = append(complaints, fmt.Sprintf("%s ended with %v, which the script has not looked at", a.name, a.cmd.ProcessState))
		}
	}
	s.say(complaints)
}

// say shows at the end of a script that failed what each program said last: the files
// go with the script.
func (s *stage) say(complaints []string) {
	var said []string
	for _, a := range s.order {
		if a.server == nil {
			said = append(said, fmt.Sprintf("%s (%s %s) said\n%s", a.name, filepath.Base(a.path), strings.Join(a.args, " "), s.tail(a)))
		}
	}
	s.t.Cleanup(func() {
		for _, c := range complaints {
			s.t.Error(c)
		}
		if s.t.Failed() {
			s.t.Log(strings.Join(said, "\n"))
		}
	})
}

// tail is the last lines that a program wrote to standard error.
func (s *stage) tail(a *actor) string {
	text, err := os.ReadFile(s.file(a, "err"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
