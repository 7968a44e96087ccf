package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	startTimeout = 15 * time.Second // until it accepts connections
	stopTimeout  = 15 * time.Second // from SIGINT to SIGKILL
	crashGrace   = 200 * time.Millisecond
)

// Launch is a broker to be started.
type Launch struct {
	Command []string // the program, and arguments that come before ours
	// MemQueueSize is given as --mem-queue-size; 0 leaves the broker's default.
	MemQueueSize int64
	// TLS makes a certificate, which is given as --tls-cert and --tls-key.
	TLS bool
	// Null starts it as bench's null broker, which has no data.
	Null bool
	// Lookupd says that it is a lookupd, which has no data either.
	Lookupd bool
}

// role is what it is called in errors.
func (l Launch) role() string {
	if l.Lookupd {
		return "lookupd"
	}
	return "the broker"
}

// Run starts the broker on free ports of the loopback with a data folder of
// its own, calls f while it runs, ends it, and removes what was made for it. If the
// broker ends by itself, so does the context of f.
func (l Launch) Run(ctx context.Context, f func(context.Context, Target) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := Target{Name: filepath.Base(l.Command[0]), Null: l.Null}
	if l.Null {
		t.Name = "null"
	}
	args, clean, err := l.arguments(&t)
	if err != nil {
		return fmt.Errorf("preparing to start %s: %w", t.Name, err)
	}
	defer clean()

	var said Tail
	// #nosec G204 -- whoever runs this has named the command
	cmd := exec.Command(l.Command[0], args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", l.role(), err)
	}
	t.PID = cmd.Process.Pid
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		status := cmd.Wait()
		cancel(fmt.Errorf("%s ended by itself (%v): %s", t.Name, cmd.ProcessState, said.Line(status)))
	}()
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt) // at SIGTERM, one of ours lets consumers finish first
		select {
		case <-gone:
		case <-time.After(stopTimeout):
			_ = cmd.Process.Kill()
			<-gone
			err = errors.Join(err, fmt.Errorf("%s did not end within %v of SIGINT and was killed", t.Name, stopTimeout))
		}
	}()
	if err = ready(ctx, t); err == nil {
		err = f(ctx, t)
	}
	if err == nil {
		return nil
	}
	// A broker that dies breaks its connections first; its last words say more
	// than they do.
	select {
	case <-gone:
		return context.Cause(ctx)
	case <-time.After(crashGrace):
		return err
	}
}

// arguments completes the command line and t, its addresses.
func (l Launch) arguments(t *Target) (args []string, clean func(), err error) {
	if t.TCP, err = freeAddress(); err != nil {
		return nil, nil, err
	}
	args = append(args, l.Command[1:]...)
	if t.HTTP, err = freeAddress(); err != nil {
		return nil, nil, err
	}
	args = append(args, "--tcp-address", t.TCP, "--http-address", t.HTTP)
	if l.Null || l.Lookupd {
		return args, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, nil, err
	}
	clean = func() { _ = os.RemoveAll(dir) }
	more, err := l.files(dir, t)
	if err != nil {
		clean()
		return nil, nil, err
	}
	return append(args, more...), clean, nil
}

// files makes in dir what the broker finds there, and returns the arguments that
// say so.
func (l Launch) files(dir string, t *Target) (args []string, err error) {
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	args = append(args, "--data-path", data)
	if l.MemQueueSize > 0 {
		args = append(args, "--mem-queue-size", fmt.Sprint(l.MemQueueSize))
	}
	if l.TLS {
		var cert, key string
		if cert, key, t.Roots, err = certify(dir); err != nil {
			return nil, err
		}
		args = append(args, "--tls-cert", cert, "--tls-key", key)
	}
	return args, nil
}

// freeAddress returns a loopback address that was free a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ready waits until every address accepts connections.
func ready(ctx context.Context, t Target) error {
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	for _, addr := range []string{t.TCP, t.HTTP} {
		for addr != "" {
			c, err := net.DialTimeout("tcp", addr, time.Second)
			if err == nil {
				_ = c.Close()
				break
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-timeout.C:
				return fmt.Errorf("%s does not listen on %s after %v", t.Name, addr, startTimeout)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}
