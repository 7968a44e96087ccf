package clients

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A newcomer pastes the first ten lines of a client's README and runs them: they
// publish something, and print it.
func TestNewcomers(t *testing.T) {
	n := newQD(t, "qd", nil)
	startAll(t, n)
	t.Run("go", func(t *testing.T) {
		dir := t.TempDir()
		program := firstProgram(t, "../../../clients/go/README.md", "go", n.tcp)
		must(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600))
		root, err := filepath.Abs("../../..")
		must(t, err)
		sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600))
		for _, args := range [][]string{
			{"mod", "init", "example.com/newcomer"},
			{"mod", "edit", "-replace=github.com/millrace-mq/millrace=" + root, "-require=github.com/millrace-mq/millrace@v0.0.0"},
			{"build", "-mod=mod", "-o", "newcomer", "."},
		} {
			cmd := exec.Command("go", args...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("go %s: %v\n%s", args[0], err, out)
			}
		}
		prints(t, exec.Command(filepath.Join(dir, "newcomer")), "hello")
	})
	t.Run("python", func(t *testing.T) {
		program := firstProgram(t, "../../../clients/python/README.md", "python", n.tcp)
		cmd := exec.Command(python(t), "-u", "-c", program)
		cmd.Env = append(os.Environ(), "PYTHONPATH=../../../clients/python", "PYTHONDONTWRITEBYTECODE=1")
		prints(t, cmd, "hello")
	})
}

// firstProgram is the first block of code of a file, which must end within the
// tenth line or right after, with the daemon's address as it is here.
func firstProgram(t *testing.T, file, language, address string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	before, after, ok := strings.Cut(string(text), "```"+language+"\n")
	program, _, closed := strings.Cut(after, "\n```\n")
	if lines := strings.Count(before, "\n") + 1 + strings.Count(program, "\n") + 1; !ok || !closed || lines > 10 {
		t.Fatalf("%s does not begin with a program that ends within ten lines: it has %d", file, lines)
	}
	return strings.ReplaceAll(program, "127.0.0.1:4150", address)
}

// prints runs a program until it has printed want.
func prints(t *testing.T, cmd *exec.Cmd, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	said := &seen{want: want, found: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = said, said
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-said.found:
	case <-ctx.Done():
	case err := <-ended:
		ended <- err
	}
	_ = cmd.Process.Kill() // it waits for more, or has ended
	<-ended
	if !bytes.Contains(said.text.Bytes(), []byte(want)) {
		t.Errorf("it printed %q, want %q in it", said.text.String(), want)
	}
}

// seen waits for a text to be printed.
type seen struct {
	want  string
	text  bytes.Buffer
	found chan struct{}
	done  bool
}

// Write is called by one goroutine, which has ended when text is read.
func (s *seen) Write(b []byte) (int, error) {
	n, err := s.text.Write(b)
	if !s.done && strings.Contains(s.text.String(), s.want) {
		s.done = true
		close(s.found)
	}
	return n, err
}
