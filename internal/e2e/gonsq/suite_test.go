package gonsq

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Where NSQ's daemons listen when nothing else is said, and so where go-nsq's
// own tests look for them.
const (
	nsqdTCP, nsqdHTTP, nsqdHTTPS = "127.0.0.1:4150", "127.0.0.1:4151", "127.0.0.1:4152"
	lookupdTCP, lookupdHTTP      = "127.0.0.1:4160", "127.0.0.1:4161"
)

const (
	module = "github.com/nsqio/go-nsq"
	// suiteTests is how many tests v1.1.0 has: none may get lost on the way.
	suiteTests = 24
)

// upgrades are how often go-nsq must say that a connection goes on in another
// layer. Its tests pass as well with a daemon that grants none.
var upgrades = map[string]int{"upgrading to TLS": 5, "upgrading to Deflate": 2, "upgrading to Snappy": 2}

// go-nsq's own tests, as its test.sh runs them: with daemons on the default
// ports, TLS files from the module's test folder, and every flag by nsqd's name.
func TestGoNSQsOwnTests(t *testing.T) {
	portsFree(t, nsqdTCP, nsqdHTTP, nsqdHTTPS, lookupdTCP, lookupdHTTP)
	files := filepath.Join(moduleFolder(t), "test")
	start(t, lookupdHTTP, filepath.Join(programs, "lookupd"))
	start(t, nsqdHTTP, filepath.Join(programs, "qd"),
		"--data-path="+t.TempDir(), "--lookupd-tcp-address="+lookupdTCP,
		"--tls-cert="+filepath.Join(files, "server.pem"), "--tls-key="+filepath.Join(files, "server.key"),
		"--tls-root-ca-file="+filepath.Join(files, "ca.pem"))

	s := runSuite(t)
	if s.err != nil || s.failed > 0 {
		t.Fatalf("go-nsq's own tests: %d passed, %d failed: %v\n%s", s.passed, s.failed, s.err, s.output.String())
	}
	t.Logf("go-nsq's own tests: %d passed, %d skipped", s.passed, s.skipped)
	if s.passed != suiteTests || s.skipped != 0 {
		t.Errorf("%d tests passed, want %d", s.passed, suiteTests)
	}
	for what, want := range upgrades {
		if got := strings.Count(s.output.String(), what); got != want {
			t.Errorf("%s: %d times, want %d", what, got, want)
		}
	}
}

// portsFree skips the test if somebody listens on one of the addresses; where CI
// is true that is a failure.
func portsFree(t *testing.T, addresses ...string) {
	t.Helper()
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err == nil {
			err = l.Close()
		}
		if err == nil {
			continue
		}
		text := fmt.Sprintf("skipped: go-nsq's own tests need NSQ's default ports: %v", err)
		if os.Getenv("CI") == "true" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
}

// moduleFolder is where the sources of go-nsq are.
func moduleFolder(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("finding the sources of go-nsq: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// suite is how go-nsq's own tests ended.
type suite struct {
	passed, failed, skipped int
	output                  bytes.Buffer // all that was printed
	err                     error
}

// runSuite runs go-nsq's own tests. They run in the module's folder, which is
// read-only.
func runSuite(t *testing.T) *suite {
	t.Helper()
	cmd := exec.Command("go", "test", "-count=1", "-timeout=60s", "-json", module)
	cmd.WaitDelay = time.Second
	events, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.err = s.count(events)
	s.err = errors.Join(s.err, cmd.Wait())
	s.output.Write(complaints.Bytes())
	return s
}

// count reads what go test -json says, to its end.
func (s *suite) count(events io.Reader) error {
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Action, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return errors.Join(fmt.Errorf("reading the answer of go test: %w", err), drain(events))
		}
		s.output.WriteString(e.Output)
		if e.Test == "" {
			continue
		}
		switch e.Action {
		case "pass":
			s.passed++
		case "fail":
			s.failed++
		case "skip":
			s.skipped++
		}
	}
	return lines.Err()
}

// drain reads the rest, so that whoever writes it comes to an end.
func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
