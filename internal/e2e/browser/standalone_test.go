package browser

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// looksAt is what standalone prints of where it can be looked at.
var looksAt = regexp.MustCompile(`Look: (http://\S+)`)

// newStandalone starts a whole Millrace, whose daemons have free ports.
func newStandalone(t *testing.T, flags ...string) *program {
	t.Helper()
	p := newProgram(t, "standalone", append([]string{"--tcp-address=127.0.0.1:0", "--lookupd-tcp-address=127.0.0.1:0", "--lookupd-http-address=127.0.0.1:0",
		"--data-path=" + t.TempDir()}, flags...)...)
	p.start()
	return p
}

// prints waits until a program has printed something.
func (p *program) prints(what *regexp.Regexp) string {
	p.t.Helper()
	var found []string
	wait(p.t, "printing "+what.String(), func() bool {
		found = what.FindStringSubmatch(p.tail(1 << 20))
		return found != nil
	})
	return found[1]
}

// TestQuickStart does what the README says to do first, on other ports: after three
// curls the dashboard that was printed shows the three messages.
func TestQuickStart(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^(curl -d 'hello world \d' 'http://127\.0\.0\.1:4151/.*)$`).FindAllStringSubmatch(string(readme), -1)
	if len(commands) != 3 {
		t.Fatalf("the README publishes %d messages: %v", len(commands), commands)
	}
	p := newStandalone(t, "--admin-http-address=127.0.0.1:0")
	b := open(t, strings.TrimSuffix(p.prints(looksAt), "/"))
	for _, c := range commands {
		command := strings.Replace(c[1], "127.0.0.1:4151", p.http, 1)
		if _, err := exec.LookPath("curl"); err == nil {
			if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "OK") {
				t.Fatalf("%s: %v: %s", command, err, out)
			}
			continue
		}
		parts := strings.Split(command, "'")
		r, err := http.Post(parts[3], "", strings.NewReader(parts[1]))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
	}
	b.visit("/")
	b.until("the three messages", `/3/.test([...document.querySelectorAll(".stat")].find(s => s.innerText.startsWith("Depth"))?.innerText)`)
	b.visit("/topics/test")
	b.shows("3 messages wait for the first one")
	p.end(syscall.SIGTERM)
	if status := p.cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("it ended with %d: %s", status, p.tail(10))
	}
	if strings.Contains(p.tail(100), "level=ERROR") {
		t.Errorf("it complains: %s", p.tail(20))
	}
}

// TestStandaloneWithoutAdmin has no dashboard if none is wanted, and goes on without if
// the port that it has by default is taken.
func TestStandaloneWithoutAdmin(t *testing.T) {
	t.Parallel()
	p := newStandalone(t, "--admin-http-address=")
	p.prints(regexp.MustCompile(`(Try): curl`))
	if said := p.tail(100); strings.Contains(said, "Look:") || strings.Contains(said, "admin") {
		t.Errorf("it has an admin: %s", said)
	}
	p.end(syscall.SIGTERM)

	taken, err := net.Listen("tcp", "127.0.0.1:4171")
	if err == nil { // else somebody else has it, which is as well
		t.Cleanup(func() { taken.Close() })
	}
	p = newStandalone(t)
	p.prints(regexp.MustCompile(`(Try): curl`))
	if said := p.tail(100); strings.Contains(said, "Look:") || p.lines("level=WARN") != 1 || p.lines("no admin: somebody else has its address") != 1 {
		t.Errorf("without the port it says %s", said)
	}
	want(t, "the daemon without the admin", newScript(t, "http://"+p.http).get("/ping").Body, "OK")

	// A port that was asked for is not given up.
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	if taken == nil {
		return
	}
	out, err := exec.Command(dir+"/standalone", "--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--lookupd-tcp-address=127.0.0.1:0",
		"--lookupd-http-address=127.0.0.1:0", "--data-path="+t.TempDir(), "--admin-http-address=127.0.0.1:4171").CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "4171") {
		t.Errorf("an address that was asked for and is taken: %v: %s", err, out)
	}
}
