//go:build !linux

package load

import "time"

// pacer sleeps as exactly as the runtime's timers do.
type pacer struct{}

func newPacer() pacer { return pacer{} }

func (pacer) sleep(d time.Duration) { time.Sleep(d) }

func (pacer) done() {}
