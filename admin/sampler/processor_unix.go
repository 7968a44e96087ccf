//go:build unix

package sampler

import (
	"math"
	"syscall"
	"time"
)

// processorTime is what this process has used of processors; all there is, if the system
// does not say.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return math.MaxInt64
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
