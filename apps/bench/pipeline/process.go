package pipeline

import (
	"context"

	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/broker"
)

// endTimeout is from SIGTERM to SIGKILL.
const endTimeout = 15 * time.Second

// process is a program that runs.
type process struct {
	name string
	cmd  *exec.Cmd
	said broker.Tail
	done chan struct{} // closed when it has ended
	err  error         // how; to be read once done is closed
}

// start starts a program with arguments, and stdin, which may be nil.
func start(words []string, stdin *os.File) (*process, error) {
	// #nosec G204 -- whoever runs this has named the command
	p := &process{name: filepath.Base(words[0]), cmd: exec.Command(words[0], words[1:]...), done: make(chan struct{})}
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	go func() {
		defer close(p.done)
		if err := p.cmd.Wait(); err != nil {
			p.err = fmt.Errorf("%s failed (%v): %s", p.name, p.cmd.ProcessState, p.said.Line(err))
		}
	}()
	return p, nil
}

// wait waits until the process has ended by itself, or ctx has.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end tells the process to end, and waits until it has. It says whether the
// process has failed.
func (p *process) end() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended
	select {
	case <-p.done:
		return p.err
	case <-time.After(endTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not end within %v of SIGTERM and was killed", p.name, endTimeout)
	}
}

// usage is what the process, which has ended, has used.
func (p *process) usage() broker.Usage {
	state := p.cmd.ProcessState
	return broker.Usage{CPU: state.UserTime() + state.SystemTime(), Peak: peak(state)}
}
