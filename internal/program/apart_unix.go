//go:build unix

package program

import (
	"os"
	"syscall"
)

// apart is a standard stream by another descriptor. A write to a pipe whose reader has gone
// ends a Go program if the descriptor is 1 or 2; by another one it is an error. So a daemon
// outlives whoever has read its log.
func apart(f *os.File) *os.File {
	conn, err := f.SyscallConn()
	if err != nil {
		return f
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	other := f
	_ = conn.Control(func(fd uintptr) {
		if fd, err := syscall.Dup(int(fd)); err == nil {
			syscall.CloseOnExec(fd)
			other = os.NewFile(uintptr(fd), f.Name())
		}
	})
	return other
}
