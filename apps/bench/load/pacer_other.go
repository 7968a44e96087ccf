//go:build !linux

package load

import "time"

// Pacer sleeps as exactly as the runtime's timers do.
type Pacer struct{}

func NewPacer() Pacer { return Pacer{} }

func (Pacer) Sleep(d time.Duration) { time.Sleep(d) }

func (Pacer) Done() {}
