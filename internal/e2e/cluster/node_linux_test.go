package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/cluster/network"
)

// Ports, which are NSQ's: each host has all of them to itself.
const (
	qdTCP      = "4150"
	qdHTTP     = "4151"
	lookupTCP  = "4160"
	lookupHTTP = "4161"
)

// node is a daemon on a host of its own, whether it runs or not.
type node struct {
	host    *network.Host
	program string // its file
	web     string // the address of its HTTP face
	args    []string
	dir     string // its working folder, and data path
	client  *http.Client
	said    printed
	faulty  sync.Mutex // held from a fault's beginning to its end

	mu     sync.Mutex // guards what follows
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd was waited for
}

func newNode(host *network.Host, program, port, dir string, args ...string) *node {
	return &node{
		host: host, program: program, web: host.Address() + ":" + port, dir: dir, args: args,
		// It is asked on its own host, which no fault of the network has to do with.
		client: &http.Client{Timeout: askTimeout, Transport: &http.Transport{DialContext: host.DialContext, DisableKeepAlives: true}},
	}
}

// askTimeout is how long a process that runs may take to answer.
const askTimeout = 15 * time.Second

func (n *node) name() string { return n.host.Name() }

// start starts the process and returns at once.
func (n *node) start() error {
	cmd := exec.Command(n.program, n.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.dir, &n.said, &n.said
	if err := n.host.Start(cmd); err != nil {
		return fmt.Errorf("starting %s: %w", n.name(), err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // the status is read from ProcessState
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd, n.exited = cmd, exited
	return nil
}

// running returns the process that was started last.
func (n *node) running() (cmd *exec.Cmd, exited <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd, n.exited
}

func (n *node) signal(sig os.Signal) error {
	cmd, _ := n.running()
	if err := cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("sending %v to %s: %w", sig, n.name(), err)
	}
	return nil
}

// kill kills the process and waits until it is gone.
func (n *node) kill() error {
	_, exited := n.running()
	if err := n.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-exited
	return nil
}

// stop stops the process in an orderly way.
func (n *node) stop() error {
	if err := n.signal(syscall.SIGTERM); err != nil {
		return err
	}
	return n.ended()
}

// ended waits until the process has ended by itself, as it was told to.
func (n *node) ended() error {
	cmd, exited := n.running()
	select {
	case <-exited:
	case <-time.After(patience):
		_ = n.signal(syscall.SIGQUIT) // shows the goroutines
		<-exited
		return fmt.Errorf("%s did not stop within %v", n.name(), patience)
	}
	if status := cmd.ProcessState.ExitCode(); status != 0 {
		return fmt.Errorf("%s stopped with status %d", n.name(), status)
	}
	return nil
}

// ask sends a request and reads the answer, as JSON if into is not nil.
func (n *node) ask(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.web+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking %s: %w", n.name(), err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("asking %s for %s: %w", n.name(), path, err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("asking %s for %s: %s %.200s", n.name(), path, resp.Status, answer)
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("asking %s for %s: %w", n.name(), path, err)
	}
	return nil
}

// printed keeps the end of what a process has said.
type printed struct {
	mu  sync.Mutex
	end []byte
}

const maxPrinted = 16 << 10

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = append(p.end, b...)
	if len(p.end) > 2*maxPrinted {
		p.end = append(p.end[:0], p.end[len(p.end)-maxPrinted:]...)
	}
	return len(b), nil
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.end[max(0, len(p.end)-maxPrinted):])
}
