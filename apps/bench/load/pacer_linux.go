package load

import (
	"runtime"
	"syscall"
	"time"
)

// Pacer sleeps to within some microseconds. The runtime's timers wait in
// epoll, which rounds up to whole milliseconds when nothing else is to do:
// far too coarse for messages 200 microseconds apart.
type Pacer struct{}

// NewPacer ties the calling goroutine to its thread, whose timer slack it
// lowers, until Done.
func NewPacer() Pacer {
	runtime.LockOSThread()
	const prSetTimerSlack = 29
	// If it is refused the sleeps are up to 50 microseconds longer.
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0)
	return Pacer{}
}

func (Pacer) Sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	t := syscall.NsecToTimespec(int64(d))
	for syscall.Nanosleep(&t, &t) == syscall.EINTR { // t is then what is left
	}
}

// Done gives the thread back, slack and all: a thread that ended would take
// its CPU time out of what is measured.
func (Pacer) Done() { runtime.UnlockOSThread() }
