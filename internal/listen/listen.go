// Package listen opens the addresses that a daemon is reached at: any number
// for the same purpose, of the network and of socket files.
//
// A socket file that a dead process has left is replaced; one that somebody
// answers at is not. Connections through a socket file have its path as their
// remote address, for their own says nothing.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// DefaultMode lets a socket file's owner and group connect.
const DefaultMode fs.FileMode = 0o660

// Listeners are open listeners for one purpose, in the order of the list.
type Listeners []net.Listener

// Open listens at all addresses of a list, or at none if one of them cannot
// be. Socket files get the permissions mode, and are removed by Close.
func Open(list string, mode fs.FileMode) (Listeners, error) {
	var all Listeners
	for _, address := range Split(list) {
		l, err := open(address, mode)
		if err != nil {
			return nil, errors.Join(err, all.Close())
		}
		all = append(all, l)
	}
	return all, nil
}

func open(address string, mode fs.FileMode) (net.Listener, error) {
	if Network(address) == "tcp" {
		return net.Listen("tcp", address)
	}
	l, err := net.Listen("unix", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		if !dead(address) {
			if at, statErr := os.Lstat(address); statErr == nil && at.Mode().Type() != fs.ModeSocket {
				return nil, fmt.Errorf("listening at %s: there is something else, which is no socket: move it away", address)
			}
			return nil, err
		}
		if err := os.Remove(address); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("removing a socket file that nobody answers at: %w", err)
		}
		l, err = net.Listen("unix", address)
	}
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(address, "@") { // Linux: a name that is no file
		// Until now the umask has applied, which lets nobody in who may not.
		if err := os.Chmod(address, mode); err != nil {
			return nil, errors.Join(fmt.Errorf("setting a socket file's permissions: %w", err), l.Close())
		}
	}
	return &unixListener{l.(*net.UnixListener)}, nil
}

// dead reports whether the file at path is a socket that has no process any
// more. Two daemons that start at once may both find it so; that it is still the
// same file keeps the second, in all but the same microseconds, from removing
// the first one's.
func dead(path string) bool {
	before, err := os.Lstat(path)
	if err != nil || before.Mode().Type() != fs.ModeSocket {
		return false
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return false
	}
	after, gone := os.Lstat(path)
	return errors.Is(err, syscall.ECONNREFUSED) && gone == nil && os.SameFile(before, after)
}

// Close closes all of them.
func (ls Listeners) Close() error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Addr is the first address; nil if there is none.
func (ls Listeners) Addr() net.Addr {
	if len(ls) == 0 {
		return nil
	}
	return ls[0].Addr()
}

// Port is the first one that is of the network, or -1.
func (ls Listeners) Port() int {
	for _, l := range ls {
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			return a.Port
		}
	}
	return -1
}

// String lists the addresses, for logs.
func (ls Listeners) String() string {
	var all []string
	for _, l := range ls {
		all = append(all, l.Addr().String())
	}
	return strings.Join(all, ",")
}

// Reachable are the addresses that other machines may reach: all but loopback and
// socket files.
func (ls Listeners) Reachable() (all []net.Addr) {
	for _, l := range ls {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
			all = append(all, tcp)
		}
	}
	return all
}

// Dial connects to an address, of the network or a socket file.
func Dial(ctx context.Context, _, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, Network(address), address)
}

// unixListener says of connections where they came in, since a client's own end
// has no name.
type unixListener struct{ *net.UnixListener }

func (l *unixListener) Accept() (net.Conn, error) {
	c, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return &unixConn{c, l.Addr()}, nil
}

type unixConn struct {
	*net.UnixConn
	remote net.Addr
}

func (c *unixConn) RemoteAddr() net.Addr { return c.remote }
