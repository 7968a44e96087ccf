//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package archive

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// removed reports whether a file that is open has no name any more.
func removed(info os.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Nlink == 0
}

// flock locks f as File.Lock says.
func flock(f *os.File, alone bool) (bool, error) {
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX | syscall.LOCK_NB
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case errors.Is(err, syscall.ENOLCK) || errors.Is(err, errors.ErrUnsupported):
			// Some network file systems have no locks. There, only the names keep
			// processes apart, as they do with nsq_to_file.
			return true, nil
		}
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
}
