package journal_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/journal"
)

// TestModel compares logs under random histories, with faults, kills and power
// cuts, with what a slice would hold.
func TestModel(t *testing.T) {
	for seed := range 150 {
		rng := seeded(seed)
		w := newWorld(t, journal.Options{SegmentBytes: 300 + rng.Int64N(3000)})
		for step := range 60 {
			if rng.IntN(10) == 0 {
				w.disk.Tear(rng)
				w.disk.FailAt(rng.IntN(6), syscall.EIO)
			}
			w = act(w, rng, fmt.Sprintf("seed %d, step %d", seed, step))
		}
		w.disk.Heal()
		w.isExactly(fmt.Sprintf("seed %d, at last", seed))
	}
}

// act does one random thing.
func act(w *world, rng *rand.Rand, what string) *world {
	w.t.Helper()
	switch n := rng.IntN(40); {
	case n < 20:
		counts := make([]int, 1+rng.IntN(3))
		for i := range counts {
			counts[i] = 1 + rng.IntN(6)
		}
		_ = w.commit(rng.IntN(3) == 0, rng.IntN(200), counts...)
	case n < 24:
		_ = w.commitRecords(true, w.record(w.log.End()+rng.Uint64N(5), 1, 20))
	case n < 29:
		_ = w.sync()
	case n < 31:
		_ = w.removeBefore(w.log.Start() + rng.Uint64N(30))
	case n < 33:
		w.log.Rest()
	case n < 35:
		w.disk.Heal()
		w.isExactly(what)
	case n == 35:
		w.disk.Heal()
		w.must(w.reopen())
	case n == 36:
		return w.killed(w.disk.Kill(), what+", killed", false)
	default:
		mode := []disktest.Mode{disktest.None, disktest.All, disktest.Some, disktest.Some}[rng.IntN(4)]
		return w.killed(w.disk.Crash(mode, rng), what+", crash "+mode.String(), true)
	}
	return w
}

// killed goes on with what is left of the disk.
func (w *world) killed(d *disktest.Disk, what string, power bool) *world {
	w.t.Helper()
	c := w.on(d)
	if power {
		c.holds(c.durable, what)
	} else {
		c.holds(c.acked, what)
	}
	c.acked = c.readAll(1 << 20)
	if power {
		c.durable = c.readAll(1 << 20) // on the device, or it would not be there
	}
	return c
}
