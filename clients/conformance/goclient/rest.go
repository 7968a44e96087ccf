package goclient

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// level is what this process holds.
type level struct{ goroutines, sockets int }

func measure() level { return level{runtime.NumGoroutine(), sockets()} }

// sockets counts open ones, where the system shows them.
func sockets() (n int) {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	for _, f := range files {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// restTime is how long a goroutine may take to end after what it did was seen.
const restTime = 5 * time.Second

// back waits until nothing more is held than at idle.
func (idle level) back() error {
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		now := measure()
		if now.goroutines <= idle.goroutines && now.sockets <= idle.sockets {
			return nil
		}
		if time.Since(began) > restTime {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			return fmt.Errorf("%d goroutines and %d sockets are left over\n%s",
				now.goroutines-idle.goroutines, now.sockets-idle.sockets, stacks)
		}
	}
}
