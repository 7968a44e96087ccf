package journal_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/journal"
)

// steps are what the sweeps do to a log. Errors are for the steps to note: the
// world goes on.
func steps(sync bool) []func(w *world) error {
	var s []func(w *world) error
	do := func(f func(w *world) error) { s = append(s, f) }
	commit := func(counts ...int) {
		do(func(w *world) error { return w.commit(sync, 60, counts...) })
	}
	commit(1)
	commit(2, 1)
	do((*world).sync)
	commit(3)
	commit(1, 1, 1) // fills the first segment
	commit(4)
	do(func(w *world) error { return w.commit(true, 400, 1) })
	commit(2)
	do(func(w *world) error { w.log.Rest(); return nil })
	commit(6)
	commit(9) // larger than a segment
	commit(1)
	commit(1)
	do((*world).sync)
	do(func(w *world) error { return w.removeBefore(8) })
	commit(3)
	do((*world).reopen)
	commit(2, 2)
	do((*world).sync)
	commit(5)
	return s
}

// TestEveryFault fails the first operation on the disk, then the second, and so
// on, and after each further step of the history cuts the power or kills the
// process: what was acknowledged must be there, and nothing else than what was
// published.
func TestEveryFault(t *testing.T) {
	for _, sync := range []bool{false, true} {
		for _, reads := range []bool{false, true} {
			for _, torn := range []bool{false, true} {
				if torn && reads {
					continue // nothing is written badly
				}
				t.Run(fmt.Sprintf("sync=%t,reads=%t,torn=%t", sync, reads, torn), func(t *testing.T) {
					t.Parallel()
					for n := 0; sweep(t, n, sync, reads, torn); n++ {
					}
				})
			}
		}
	}
}

// sweep fails operation n; false when there was none to fail.
func sweep(t *testing.T, n int, sync, reads, torn bool) bool {
	w := newWorld(t, journal.Options{SegmentBytes: 1200})
	if torn {
		w.disk.Tear(seeded(n))
	}
	if reads {
		w.disk.FailReadAt(n, syscall.EIO)
	} else {
		w.disk.FailAt(n, syscall.EIO)
	}
	since := 0
	history := steps(sync)
	for i, step := range history {
		err := step(w)
		what := fmt.Sprintf("fault at %d, after step %d (%v)", n, i, err)
		if err != nil && !w.disk.Failed() {
			t.Fatalf("%s: error without a fault", what)
		}
		if w.log == nil {
			w.open()
		}
		// A step may get over a fault, as with a read ahead.
		if !w.disk.Failed() {
			continue
		}
		w.isExactly(what)
		// What a fault leaves shows in the steps that follow it at once.
		if since++; since <= 2 || i == len(history)-1 {
			w.crashes(what, n+i)
		}
	}
	return since > 0
}

// crashes looks at what each kind of crash leaves at this moment, and goes on
// from there.
func (w *world) crashes(what string, seed int) {
	w.t.Helper()
	w.after(w.disk.Kill(), what+", killed", w.acked)
	w.after(w.disk.Crash(disktest.None, seeded(seed)), what+", crash None", w.durable)
	w.after(w.disk.Crash(disktest.All, seeded(seed)), what+", crash All", w.durable)
	for i := range 2 {
		w.after(w.disk.Crash(disktest.Some, seeded(100*seed+i)), fmt.Sprintf("%s, crash Some %d", what, i), w.durable)
	}
}

// after checks what a crash has left, works on it and crashes again.
func (w *world) after(d *disktest.Disk, what string, must map[uint64]string) {
	w.t.Helper()
	c := w.on(d)
	c.holds(must, what)
	c.acked = c.readAll(1000)
	c.durable = maps.Clone(w.durable)
	if err := c.commit(true, 50, 2); err != nil {
		w.t.Fatalf("%s: commit: %v", what, err)
	}
	c.isExactly(what + ", one more")
	c.on(c.disk.Crash(disktest.None, nil)).holds(c.durable, what+", one more, crash None")
	if w.dead {
		return
	}
	if err := c.sync(); err != nil {
		w.t.Fatalf("%s: sync: %v", what, err)
	}
	c.on(c.disk.Crash(disktest.None, nil)).holds(c.durable, what+", synced, crash None")
}

// TestDeadDisk lets the disk die at every operation; the process is killed then.
func TestDeadDisk(t *testing.T) {
	for _, sync := range []bool{false, true} {
		for n := 0; ; n++ {
			w := newWorld(t, journal.Options{SegmentBytes: 1200})
			w.disk.Tear(seeded(n))
			w.disk.FailAlways(n)
			// A sync fails, and so does noting it down for the next process.
			w.dead = true
			for _, step := range steps(sync) {
				old := w.log
				if step(w); w.log == nil {
					w.log = old
				}
			}
			died := w.disk.Failed()
			w.crashes(fmt.Sprintf("died at %d", n), n)
			if !died {
				break
			}
		}
	}
}

// TestCrashes cuts the power after every step of a history without faults.
func TestCrashes(t *testing.T) {
	for _, sync := range []bool{false, true} {
		w := newWorld(t, journal.Options{SegmentBytes: 1200})
		for i, step := range steps(sync) {
			w.must(step(w))
			w.isExactly("no fault")
			w.crashes(fmt.Sprintf("sync=%t, step %d", sync, i), i)
		}
		if len(w.findings) > 0 {
			t.Errorf("findings without damage: %v", w.findings)
		}
	}
}

// TestTook: whoever watches the disk is told of each write and sync of records
// once, those that fail too.
func TestTook(t *testing.T) {
	for _, c := range []struct {
		sync    bool
		failing string // operation
		want    []journal.Operation
	}{
		{false, "", []journal.Operation{journal.Write, journal.Sync}},
		{true, "", []journal.Operation{journal.Write, journal.CommitSync}},
		{true, "write", []journal.Operation{journal.Write}},
		{true, "sync", []journal.Operation{journal.Write, journal.CommitSync}},
		{false, "sync", []journal.Operation{journal.Write, journal.Sync}},
	} {
		var told []journal.Operation
		w := newWorld(t, journal.Options{Took: func(o journal.Operation, _ time.Duration) { told = append(told, o) }})
		w.must(w.commit(true, 60, 1))
		told = nil
		switch {
		case c.failing == "write":
			w.disk.FailAt(0, syscall.EIO)
		case c.failing == "sync":
			w.disk.FailAt(1, syscall.EIO)
		}
		err := errors.Join(w.commit(c.sync, 60, 1), w.log.Sync())
		if (err != nil) != (c.failing != "") || !slices.Equal(told, c.want) {
			t.Errorf("sync %t, failing %q: %v; told of %v, not %v", c.sync, c.failing, err, told, c.want)
		}
	}
}
