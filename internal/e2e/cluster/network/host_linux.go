package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrMissing is why there is no network: this process may not make namespaces,
// or there are no TUN devices.
var ErrMissing = errors.New("it needs root and /dev/net/tun")

// Host is a machine: a network namespace with an address. Its goroutine lives in
// it, on a thread that nobody else runs on.
type Host struct {
	name      string
	index     int
	address   netip.Addr
	device    *os.File // the far end of its device
	namespace int      // a descriptor, for threads that want to come in

	calls chan func()
	leave sync.Once
	gone  chan struct{} // closed when its goroutine has ended
}

func newHost(index int, name string, address netip.Addr) (*Host, error) {
	h := &Host{name: name, index: index, address: address, calls: make(chan func()), gone: make(chan struct{})}
	settled := make(chan error)
	go apart(func() { h.live(settled) })
	if err := <-settled; err != nil {
		<-h.gone
		return nil, err
	}
	return h, nil
}

// apart runs f on a thread of its own, which ends with it: it is of use to nobody
// else. It is not the main thread, for Go never ends that one: it would stay in the
// namespace, and what it has started would not be killed by its end.
func apart(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() { // not on this thread, which is locked
		defer close(done)
		apart(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

// live is the host's goroutine, to be run apart: it moves into a new namespace and
// runs there what it is given.
func (h *Host) live(settled chan<- error) {
	defer close(h.gone)
	err := h.settle()
	settled <- err
	if err != nil {
		return
	}
	for call := range h.calls {
		call()
	}
}

// settle makes the namespace and what is in it.
func (h *Host) settle() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("%w: making a network namespace: %w", ErrMissing, err)
	}
	h.namespace, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening the namespace: %w", err)
	}
	h.device, err = openDevice(h.address)
	if err != nil {
		_ = unix.Close(h.namespace)
	}
	return err
}

// takeAway ends the host's goroutine and closes what it has. Processes that still
// run on the host keep its namespace, and are alone in it.
func (h *Host) takeAway() {
	h.leave.Do(func() { close(h.calls) })
	<-h.gone
	_ = h.device.Close()
	_ = unix.Close(h.namespace)
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Address returns the host's IPv4 address.
func (h *Host) Address() string { return h.address.String() }

// Do runs f on the host: sockets that f makes, and processes that it starts, are
// there. f must not be long, for there is one at a time, and nothing may be asked
// of the host once the network has ended.
func (h *Host) Do(f func() error) error {
	done := make(chan error, 1)
	h.calls <- func() { done <- f() }
	return <-done
}

// Start starts a process on the host, as cmd.Start does. It is killed when the
// network ends or this process does.
func (h *Host) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	// The signal is sent when the thread ends that has forked, which is the host's.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return h.Do(cmd.Start)
}

// DialContext connects from the host. The address is an IP address and a port.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go apart(func() { // ends when ctx does, at the latest
		// A socket belongs to the namespace of the thread that makes it.
		if err := unix.Setns(h.namespace, unix.CLONE_NEWNET); err != nil {
			done <- result{err: fmt.Errorf("entering the namespace of %s: %w", h.name, err)}
			return
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		done <- result{conn, err}
	})
	r := <-done
	return r.conn, r.err
}
