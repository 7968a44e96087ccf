package browser

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is a process of ours that serves HTTP.
type program struct {
	t    *testing.T
	name string
	args []string
	http string // where it answers, from its first start on

	mu     sync.Mutex // guards what follows
	said   bytes.Buffer
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd was waited for
}

// newProgram returns a program that does not run yet. It is killed when the test
// ends.
func newProgram(t *testing.T, name string, args ...string) *program {
	p := &program{t: t, name: name, args: args}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s at %s said\n%s", name, p.http, p.tail(25))
		}
	})
	return p
}

// up is what our daemons log, or standalone prints, when they listen: it has the port
// that the system chose.
var up = regexp.MustCompile(`(?:(?:is up|qd listens)" .*\bhttp=|Millrace runs: .*\bHTTP on )([^ ,]+)`)

// start starts it, and returns when it listens: where it did before, if it ran before.
func (p *program) start() {
	p.t.Helper()
	dir, err := programs()
	if err != nil {
		p.t.Fatal(err)
	}
	args := p.args
	if p.http != "" {
		args = append(args[:len(args):len(args)], "--http-address="+p.http)
	} else {
		args = append(args[:len(args):len(args)], "--http-address=127.0.0.1:0")
	}
	cmd := exec.Command(filepath.Join(dir, p.name), args...)
	cmd.Stdout, cmd.Stderr = p, p
	cmd.Dir = p.t.TempDir()
	p.mu.Lock()
	p.said.Reset()
	p.mu.Unlock()
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("starting %s: %v", p.name, err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended is in what it said
	}()
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	p.listens(exited)
}

// listens waits until it says where it listens.
func (p *program) listens(exited chan struct{}) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		found := up.FindSubmatch(p.said.Bytes())
		p.mu.Unlock()
		if found != nil {
			p.http = string(found[1])
			return
		}
		select {
		case <-exited:
			p.t.Fatalf("%s %v ended: %s", p.name, p.args, p.tail(10))
		case <-deadline:
			p.t.Fatalf("%s does not listen: %s", p.name, p.tail(10))
		case <-time.After(10 * time.Millisecond): // another process: it has no event for us
		}
	}
}

// kill ends it at once, as the system would.
func (p *program) kill() { p.end(syscall.SIGKILL) }

// end sends a signal and waits until it has ended.
func (p *program) end(with syscall.Signal) {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(with) // it may have ended
	<-exited
}

// Write takes what the process says.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

// tail is the last n lines that it said.
func (p *program) tail(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(p.said.String()), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}
