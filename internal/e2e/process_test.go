package e2e

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything that must happen may take. It is long because
// the machine may be busy with other packages' tests; nothing waits it out
// unless it fails.
const patience = 60 * time.Second

// A process is one run of one of our programs.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	exited chan struct{} // closed once the process was waited for
	stdout printed
	stderr printed
}

// start runs the program called name, reading stdin, which may be nil. When
// the test ends the process is killed if it is still there, and what it said
// last is shown if the test failed.
func start(t *testing.T, stdin io.Reader, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, exited: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(programs, name), args...)
	p.cmd.Dir = t.TempDir() // a program that writes to its working folder does no harm
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the status is read from ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("%s %s\nended with %v after saying\n%s", name, strings.Join(args, " "), p.cmd.ProcessState, p.stderr.tail(30))
		}
	})
	return p
}

// signal sends sig.
func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signalling %s: %v", p.name, err)
	}
}

// status waits for the end of the process and returns its exit status.
func (p *process) status() int {
	p.t.Helper()
	p.wait(patience)
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) wait(limit time.Duration) {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(limit):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // shows the goroutines
		p.t.Fatalf("%s did not end within %v", p.name, limit)
	}
}

// stop ends the process with sig and wants status 0.
func (p *process) stop(sig os.Signal) {
	p.t.Helper()
	p.signal(sig)
	if got := p.status(); got != 0 {
		p.t.Fatalf("%s ended with status %d after %v, want 0", p.name, got, sig)
	}
}

// running tells whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// printed is what a process has written to one of its streams.
type printed struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *printed) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}

func (w *printed) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// lines returns the lines printed so far.
func (w *printed) lines() []string {
	if s := strings.TrimRight(w.String(), "\n"); s != "" {
		return strings.Split(s, "\n")
	}
	return nil
}

func (w *printed) tail(n int) string {
	l := w.lines()
	return strings.Join(l[max(0, len(l)-n):], "\n")
}

// eventually waits until done. Another process's state can only be asked for,
// so this asks again and again; what names what is waited for.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
