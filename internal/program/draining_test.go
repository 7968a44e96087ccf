package program

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// TestObey says what each of a series of signals does.
func TestObey(t *testing.T) {
	for _, c := range []struct {
		signals []os.Signal
		done    string // after each: T terminates, S stops, and a dot for the rest left to the system
	}{
		{[]os.Signal{syscall.SIGTERM, syscall.SIGTERM}, "T TS."},
		{[]os.Signal{syscall.SIGTERM, os.Interrupt}, "T TS."},
		{[]os.Signal{os.Interrupt}, "S."},
	} {
		synctest.Test(t, func(t *testing.T) {
			signals := make(chan os.Signal, 2)
			var done strings.Builder
			go func() {
				obey(signals, func() { done.WriteByte('T') }, func() { done.WriteByte('S') })
				done.WriteByte('.')
			}()
			var after []string
			for _, s := range c.signals {
				signals <- s
				synctest.Wait()
				after = append(after, done.String())
			}
			if got := strings.Join(after, " "); got != c.done {
				t.Errorf("%v: %q, want %q", c.signals, got, c.done)
			}
		})
	}
}
