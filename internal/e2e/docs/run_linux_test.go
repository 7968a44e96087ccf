package docs

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

//go:embed driver.sh
var driver string

// patience is how long anything may take that a page waits for, on a machine with much
// else to do.
const patience = time.Minute

// denied are programs that a page cannot use before it has said that it needs them: not
// every machine has them.
var denied = []string{"curl", "docker", "helm", "jq", "node", "npm", "openssl", "python", "python3", "sudo", "wget"}

// TestMain is the test, or the first process of a page's machine.
func TestMain(m *testing.M) {
	if shell := os.Getenv(asMachine); shell != "" {
		if err := machine(shell); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	status := m.Run()
	if err := goleak.Find(); status == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		status = 1
	}
	os.Exit(status)
}

// TestPages runs every block of every page.
func TestPages(t *testing.T) {
	testenv.Need(t, "bash", "setsid", "env")
	probe := exec.Command(os.Args[0])
	probe.Env = append(os.Environ(), asMachine+"=-", "D="+t.TempDir())
	apart(probe)
	if out, err := probe.CombinedOutput(); err != nil {
		testenv.Missing(t, fmt.Sprintf("namespaces, without which no command of the documents is tried (%s)", one(string(out), err)))
	}
	shells := []string{"bash"}
	t.Run("zsh", func(t *testing.T) {
		testenv.Need(t, "zsh")
		shells = append(shells, "zsh")
	})
	environment := goEnvironment(t)
	names, blocks, run := pages(t), 0, 0
	defer func() {
		t.Logf("the documents have %d blocks of commands on %d pages; %d are run, in %s", blocks, len(names), run, strings.Join(shells, " and "))
	}()
	for _, name := range names {
		p := readPage(t, name)
		blocks += len(p.blocks)
		run += p.run()
		for _, line := range p.notRun() {
			t.Log(line)
		}
		for _, shell := range shells {
			if p.run() > 0 {
				t.Run(shell+"/"+name, func(t *testing.T) {
					t.Parallel()
					play(t, p, shell, environment)
				})
			}
		}
	}
}

// one is what went wrong, in a line.
func one(out string, err error) string {
	if line, _, _ := strings.Cut(strings.TrimSpace(out), "\n"); line != "" {
		return line
	}
	return err.Error()
}

// run is how many blocks of the page are run.
func (p page) run() int {
	n := 0
	for _, b := range p.blocks {
		if b.notRun == "" {
			n++
		}
	}
	return n
}

// notRun has a line for each block of the page that is not run, or for several with one
// reason.
func (p page) notRun() []string {
	var lines []string
	for i := 0; i < len(p.blocks); i++ {
		b, n := p.blocks[i], 1
		if b.notRun == "" {
			continue
		}
		for i+1 < len(p.blocks) && p.blocks[i+1].notRun == b.notRun {
			i, n = i+1, n+1
		}
		lines = append(lines, fmt.Sprintf("not run: %s:%d, %d of %d blocks: %s", p.name, b.line, n, len(p.blocks), b.notRun))
	}
	return lines
}

// goEnvironment is what go build has to know for a build that is done already to be one in
// a page's machine, which has another home.
func goEnvironment(t *testing.T) []string {
	t.Helper()
	var env []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOTOOLCHAIN", "CGO_ENABLED"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatalf("asking go for %s: %v", name, err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(out)))
	}
	return env
}

// A shell runs the blocks of a page.
type shell struct {
	t       *testing.T
	dir     string // with the blocks and what they print
	orders  *os.File
	answers chan string // closed when it has ended
}

// play runs the blocks of a page in a machine of its own.
func play(t *testing.T, p page, name string, environment []string) {
	s := open(t, name, environment)
	for i, b := range p.blocks {
		if b.notRun == "" && !s.run(p, i) {
			t.Logf("the ends of the logs:\n%s", s.logs())
			return
		}
	}
	if _, err := s.order("interrupt", 0); err != nil {
		t.Errorf("%s: at its end, interrupting what runs in terminals of its own: %v", p.name, err)
		return
	}
	if _, err := s.order("left", len(p.blocks)); err != nil {
		t.Errorf("%s: at its end: %v", p.name, err)
	} else if left := s.printed(len(p.blocks)); left != "" {
		t.Errorf("%s: at its end there still run: %s", p.name, left)
	}
}

// open starts a shell in a machine of its own. It ends with the test, and all that it has
// started with it.
func open(t *testing.T, name string, environment []string) *shell {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, dir: t.TempDir(), answers: make(chan string)}
	for _, dir := range []string{"home", "denied"} {
		must(t, os.Mkdir(filepath.Join(s.dir, dir), 0o755))
	}
	for _, program := range denied {
		text := fmt.Sprintf("#!/bin/sh\necho 'the page has not said that it needs %s' >&2\nexit 127\n", program)
		must(t, os.WriteFile(filepath.Join(s.dir, "denied", program), []byte(text), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(s.dir, "driver.sh"), []byte(driver), 0o644))
	// An answer that refuses is a failure, too, and the picture of a progress is no answer.
	must(t, os.WriteFile(filepath.Join(s.dir, "home", ".curlrc"), []byte("fail-with-body\nno-progress-meter\n"), 0o644))

	hear, orders, err := os.Pipe()
	must(t, err)
	answers, answer, err := os.Pipe()
	must(t, err)
	s.orders = orders
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append([]string{
		asMachine + "=" + path, "D=" + s.dir, "S=" + path, "HOME=" + filepath.Join(s.dir, "home"), "USER=" + os.Getenv("USER"),
		"PATH=" + filepath.Join(s.dir, "denied") + ":" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=dumb", "SHELL=" + path,
	}, environment...)
	cmd.ExtraFiles = []*os.File{hear, answer}
	var said strings.Builder
	cmd.Stderr, cmd.Stdout = &said, &said
	apart(cmd)
	must(t, cmd.Start())
	hear.Close()
	answer.Close()
	go func() {
		defer close(s.answers)
		for lines := bufio.NewScanner(answers); lines.Scan(); {
			s.answers <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		orders.Close()
		cancel()
		_ = cmd.Wait() // killed, as a rule
		for range s.answers {
		}
		answers.Close()
		if t.Failed() && said.Len() > 0 {
			t.Logf("the shell said:\n%s", said.String())
		}
	})
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// errEnded is what happens when a command of a block has failed.
var errEnded = errors.New("a command has failed")

// order has the shell do something with block i and returns the status.
func (s *shell) order(word string, i int) (string, error) {
	if _, err := fmt.Fprintln(s.orders, word, i); err != nil {
		return "", errEnded
	}
	select {
	case status, ok := <-s.answers:
		if !ok {
			return "", errEnded
		}
		return status, nil
	case <-time.After(patience):
		return "", fmt.Errorf("no end after %v", patience)
	}
}

// logs ends the shell, which leaves the ends of the logs that the page has written.
func (s *shell) logs() string {
	s.orders.Close()
	for range s.answers {
	}
	text, _ := os.ReadFile(filepath.Join(s.dir, "logs"))
	return string(text)
}

// printed is what block i has printed so far.
func (s *shell) printed(i int) string {
	text, _ := os.ReadFile(filepath.Join(s.dir, strconv.Itoa(i)+".out"))
	return string(text)
}

// run runs block i of a page and reports whether all was as the page says.
func (s *shell) run(p page, i int) bool {
	b := p.blocks[i]
	wrong := func(format string, args ...any) bool {
		s.t.Errorf("%s:%d: %s\n%s\nprinted\n%s", p.name, b.line, fmt.Sprintf(format, args...), b.commands, s.printed(i))
		return false
	}
	for _, program := range b.needs {
		if _, err := exec.LookPath(program); err != nil {
			testenv.Missing(s.t, fmt.Sprintf("%s, which %s needs from line %d on", program, p.name, b.line))
		}
		must(s.t, os.RemoveAll(filepath.Join(s.dir, "denied", program)))
	}
	must(s.t, os.WriteFile(filepath.Join(s.dir, strconv.Itoa(i)+".sh"), []byte(b.commands+"\n"), 0o644))
	word := "run"
	switch {
	case b.fails || b.repeat: // a failure does not end the shell
		word = "try"
	case b.terminal != "":
		word = "terminal"
	}
	deadline := time.Now().Add(patience)
	for {
		status, err := s.order(word, i)
		if err != nil {
			return wrong("%v", err)
		}
		if b.terminal != "" {
			return s.says(i, b.terminal) || wrong("it was to print %q within %v", b.terminal, patience)
		}
		right := b.fails == (status != "0")
		switch {
		case right && (b.prints == nil || agrees(*b.prints, s.printed(i))):
			return true
		case b.repeat && time.Now().Before(deadline):
		case right:
			return wrong("it was to print\n%s", *b.prints)
		default:
			return wrong("its last command ended with status %s", status)
		}
		time.Sleep(200 * time.Millisecond) // somebody who looks again
	}
}

// says waits until block i has printed text.
func (s *shell) says(i int, text string) bool {
	for deadline := time.Now().Add(patience); !strings.Contains(s.printed(i), text); {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(50 * time.Millisecond) // its output is a file, which nobody tells of
	}
	return true
}
