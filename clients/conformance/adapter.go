package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/millrace-mq/millrace/clients/conformance/goclient"
)

// Adapter is a way to start a process that drives a client.
type Adapter struct {
	Name string
	Args []string // the program and its arguments
	Env  []string // beyond the environment

	mu   sync.Mutex
	idle []*process // between two scenarios
}

// process is a running adapter. It plays one scenario at a time.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	ended chan struct{} // closed when its output has ended, and it was waited for

	mu   sync.Mutex // guards below
	hear func(goclient.Event)
	said bytes.Buffer // what it wrote to standard error
	why  error        // it has ended
}

// take returns a process for one scenario, whose events go to hear.
func (a *Adapter) take(hear func(goclient.Event)) (*process, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.idle); n > 0 {
		p := a.idle[n-1]
		a.idle = a.idle[:n-1]
		p.listen(hear)
		return p, nil
	}
	return a.start(hear)
}

// giveBack keeps a process that has nothing left of its last scenario.
func (a *Adapter) giveBack(p *process) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle = append(a.idle, p)
}

// Close ends the processes that are idle. It reports those that have failed.
func (a *Adapter) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, p := range a.idle {
		_ = p.in.Close()
		<-p.ended
		if p.why != nil {
			errs = append(errs, fmt.Errorf("%s: %w\n%s", a.Name, p.why, p.stderr()))
		}
	}
	a.idle = nil
	return errors.Join(errs...)
}

func (a *Adapter) start(hear func(goclient.Event)) (*process, error) {
	// #nosec G204 -- whoever runs this has named the command
	cmd := exec.Command(a.Args[0], a.Args[1:]...)
	cmd.Env = append(os.Environ(), a.Env...)
	p := &process{cmd: cmd, hear: hear, ended: make(chan struct{})}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	cmd.Stderr = (*stderr)(p)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the adapter %s: %w", a.Name, err)
	}
	go p.run(out)
	return p, nil
}

// run passes events on until the process ends. It is waited for by kill and
// Close.
func (p *process) run(out io.Reader) {
	defer close(p.ended)
	lines := bufio.NewReader(out)
	var err error
	for {
		var line []byte
		if line, err = lines.ReadBytes('\n'); err != nil {
			break
		}
		var e goclient.Event
		if err = json.Unmarshal(line, &e); err != nil {
			err = fmt.Errorf("the adapter said %.200q: %w", line, err)
			break
		}
		p.mu.Lock()
		hear := p.hear
		p.mu.Unlock()
		hear(e)
	}
	_, _ = io.Copy(io.Discard, out)
	if errWait := p.cmd.Wait(); err == io.EOF {
		err = errWait
	}
	p.mu.Lock()
	p.why = err
	hear := p.hear
	p.mu.Unlock()
	hear(goclient.Event{Result: "error", Text: "the adapter has ended"})
}

func (p *process) listen(hear func(goclient.Event)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hear = hear
	p.said.Reset()
}

// ask sends a request. A process that has ended is noticed by its silence.
func (p *process) ask(r goclient.Request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = p.in.Write(append(line, '\n'))
	return err
}

// kill ends a process that is of no more use.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stderr collects what the process says there.
type stderr process

func (s *stderr) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(b)
}

func (p *process) stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}
