package pipeline

import (
	"os"
	"syscall"
)

// peak is the most memory that a process had resident, in bytes.
func peak(state *os.ProcessState) int64 {
	if u, ok := state.SysUsage().(*syscall.Rusage); ok {
		return u.Maxrss << 10 // in KiB
	}
	return 0
}
