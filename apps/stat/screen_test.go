//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// patience is how long anything that must happen may take: the machine may be busy.
const patience = 30 * time.Second

// terminal is stat on a terminal of its own.
type terminal struct {
	t      *testing.T
	tty    *os.File // the side that somebody types at
	other  *os.File // the side that stat has; it is kept open, so that it can be asked how it was left
	cmd    *exec.Cmd
	exited chan struct{}
	before *term.State

	mu   sync.Mutex
	sent bytes.Buffer // that has not been looked at
}

// onTerminal starts stat, 100 letters wide, with a daemon that has a channel.
func onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	f := clustertest.NewFleet(t, clustertest.Lookupds(0), clustertest.Topics(2), clustertest.Channels(1))
	tty, other, err := pty.Open()
	if err != nil {
		testenv.Missing(t, "terminals: "+err.Error())
	}
	if err := pty.Setsize(tty, &pty.Winsize{Cols: 100, Rows: 20}); err != nil {
		t.Fatal(err)
	}
	before, err := term.GetState(int(other.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	s := &terminal{t: t, tty: tty, other: other, before: before, exited: make(chan struct{})}
	s.cmd = exec.Command(os.Args[0], append([]string{"--qd-http-address=" + f.Nodes[0].Address(), "--interval=100ms"}, args...)...)
	s.cmd.Env = append(os.Environ(), asProgram+"=yes", "TERM=xterm", "NO_COLOR=", "GORACE=atexit_sleep_ms=0")
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = other, other, other
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(s.read)
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // the status is read from ProcessState
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.exited
		_ = other.Close()
		reading.Wait() // the terminal's end is read as an error
		_ = tty.Close()
	})
	return s
}

func (s *terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := s.tty.Read(buf)
		s.mu.Lock()
		s.sent.Write(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// sees waits until stat has written text, and forgets what came up to there.
func (s *terminal) sees(text string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) { // another process: it has no event for us
		s.mu.Lock()
		all := s.sent.String()
		_, rest, found := strings.Cut(all, text)
		if found {
			s.sent.Reset()
			s.sent.WriteString(rest)
		}
		s.mu.Unlock()
		if found {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%q does not come; there is %q", text, all[max(0, len(all)-3000):])
		}
	}
}

func (s *terminal) types(keys string) {
	s.t.Helper()
	if _, err := s.tty.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// isBack waits until stat has ended well and left the terminal as it was.
func (s *terminal) isBack() {
	s.t.Helper()
	s.sees("\x1b[?7h\x1b[?25h\x1b[?1049l")
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.t.Fatal("stat does not end")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("it ended with %v", s.cmd.ProcessState)
	}
	after, err := term.GetState(int(s.other.Fd()))
	if err != nil {
		s.t.Fatal(err)
	}
	if *after != *s.before {
		s.t.Errorf("the terminal is %+v, and was %+v", after, s.before)
	}
}

// However it ends, the terminal is as it was, and the status is 0.
func TestTerminalComesBack(t *testing.T) {
	for name, end := range map[string]func(s *terminal){
		"q":          func(s *terminal) { s.types("q") },
		"Ctrl-C":     func(s *terminal) { s.types("\x03") },
		"TERM":       func(s *terminal) { _ = s.cmd.Process.Signal(syscall.SIGTERM) },
		"HUP":        func(s *terminal) { _ = s.cmd.Process.Signal(syscall.SIGHUP) },
		"q, at once": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := onTerminal(t)
			s.sees("\x1b[?1049h\x1b[?25l\x1b[?7l")
			if end == nil {
				s.sees("asking")
				s.types("q")
			} else {
				s.sees(clustertest.TopicName(1) + "/")
				end(s)
			}
			s.isBack()
		})
	}
}

func TestCountOnTerminal(t *testing.T) {
	onTerminal(t, "--count=2").isBack()
}

// The table follows keys, and the size of the terminal.
func TestKeysAndSize(t *testing.T) {
	s := onTerminal(t)
	second := clustertest.TopicName(1) + "/"
	s.sees(second)
	s.types("/" + clustertest.TopicName(0))
	s.sees("Enter keeps it")
	s.types("\r")
	s.sees("Esc all")
	s.types("s")
	s.sees("sort: depth")
	s.types("nothing that is a key but this: ?")
	s.sees("any key goes back")
	s.types("x\x1b")
	s.sees(second)
	if err := pty.Setsize(s.tty, &pty.Winsize{Cols: 40, Rows: 10}); err != nil {
		t.Fatal(err)
	}
	s.sees("TOPIC/CHANNEL")
	s.sees("nodes up: …\x1b[0m\r\n\x1b[K")
	s.types("q")
	s.isBack()
}

// A terminal that is gone is no reason to go on.
func TestTerminalGoes(t *testing.T) {
	s := onTerminal(t)
	s.sees("nodes up")
	if err := s.other.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	if err := s.tty.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Fatal("stat goes on without its terminal")
	}
}
