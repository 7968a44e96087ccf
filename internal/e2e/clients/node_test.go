package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// patience is how long anything may take that has no promise of its own. It is
// long because the machine may be busy; nothing waits it out unless it fails.
const patience = 60 * time.Second

// node is a qd or a lookupd, whether it runs or not.
type node struct {
	name, program string
	tcp, http     string
	args          []string

	mu     sync.Mutex // guards what follows
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd was waited for
	said   bytes.Buffer  // of all its processes, one after the other
}

// newLookupd returns a lookupd that does not run yet.
func newLookupd(t *testing.T, name string, flags ...string) *node {
	return newNode(t, name, "lookupd", flags)
}

// newQD returns a qd that does not run yet, and registers with the lookupds.
func newQD(t *testing.T, name string, lookupds []*node, flags ...string) *node {
	args := append([]string{"--broadcast-address=127.0.0.1", "--data-path=" + t.TempDir()}, flags...)
	for _, l := range lookupds {
		args = append(args, "--lookupd-tcp-address="+l.tcp)
	}
	return newNode(t, name, "qd", args)
}

func newNode(t *testing.T, name, program string, flags []string) *node {
	n := &node{name: name, program: program, tcp: address(t), http: address(t)}
	n.args = append([]string{"--tcp-address=" + n.tcp, "--http-address=" + n.http}, flags...)
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			n.mu.Lock()
			defer n.mu.Unlock()
			t.Logf("%s (%s) said\n%s", n.name, n.tcp, tail(n.said.String(), 15))
		}
	})
	return n
}

// start starts the process and returns at once.
func (n *node) start() error {
	dir, err := programs()
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(dir, n.program), n.args...)
	cmd.Stdout, cmd.Stderr = n, n
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", n.name, err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // it is killed
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd, n.exited = cmd, exited
	return nil
}

// pid is the process that was started last, as in /proc.
func (n *node) pid() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strconv.Itoa(n.cmd.Process.Pid)
}

// Write takes what the process says.
func (n *node) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.said.Write(b)
}

// kill kills the process and waits until it is gone.
func (n *node) kill() {
	n.mu.Lock()
	cmd, exited := n.cmd, n.exited
	n.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGKILL) // it may have ended
		<-exited
	}
}

// answers reports whether the node's HTTP face does. It fails when the process
// has ended.
func (n *node) answers() (bool, error) {
	n.mu.Lock()
	exited := n.exited
	n.mu.Unlock()
	select {
	case <-exited:
		return false, fmt.Errorf("%s ended with status %v", n.name, n.cmd.ProcessState)
	default:
		return n.ask(http.MethodGet, "/ping", nil) == nil, nil
	}
}

// startAll starts nodes and waits until each answers.
func startAll(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
	}
	awaitAll(t, nodes...)
}

// awaitAll waits until each answers.
func awaitAll(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, n.name+" to answer", func() bool {
			ok, err := n.answers()
			if err != nil {
				t.Fatal(err)
			}
			return ok
		})
	}
}

// web gives up on a daemon that accepts and says nothing, and leaves no
// connection open that could be taken for a client's.
var web = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// ask sends a request and reads the answer, as JSON if into is not nil.
func (n *node) ask(method, path string, into any) error {
	req, err := http.NewRequest(method, "http://"+n.http+path, nil)
	if err != nil {
		return err
	}
	resp, err := web.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: %s %s", method, path, resp.Status, text)
	case into != nil:
		return json.Unmarshal(text, into)
	}
	return nil
}

// createTopic makes a topic with channels, so that each has all that is published.
func (n *node) createTopic(t *testing.T, topic string, channels ...string) {
	t.Helper()
	err := n.ask(http.MethodPost, "/topic/create?topic="+topic, nil)
	for _, c := range channels {
		err = errors.Join(err, n.ask(http.MethodPost, "/channel/create?topic="+topic+"&channel="+c, nil))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// left is how many messages of the topic's channels are not finished. ok is false
// while the node does not say.
func (n *node) left(topic string) (messages int, ok bool) {
	var answer struct {
		Topics []struct {
			Channels []struct {
				Depth    int `json:"depth"`
				InFlight int `json:"in_flight_count"`
				Deferred int `json:"deferred_count"`
			} `json:"channels"`
		} `json:"topics"`
	}
	if n.ask(http.MethodGet, "/stats?format=json&topic="+topic, &answer) != nil {
		return 0, false
	}
	for _, of := range answer.Topics {
		for _, c := range of.Channels {
			messages += c.Depth + c.InFlight + c.Deferred
		}
	}
	return messages, len(answer.Topics) > 0
}

// address returns a loopback address that nobody listens on, another one each time.
func address(t *testing.T) string {
	t.Helper()
	a, err := testenv.Address()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// addresses are those of nodes for clients, or of their HTTP faces.
func addresses(nodes []*node) (tcp, http []string) {
	for _, n := range nodes {
		tcp, http = append(tcp, n.tcp), append(http, n.http)
	}
	return tcp, http
}

// eventually waits until done. Another process's state can only be asked for, so
// this asks again and again; what names what is waited for.
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

// tail is the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
