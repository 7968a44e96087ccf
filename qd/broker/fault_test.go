package broker

import (
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

// history is what the sweeps do to a broker: topics and channels that come and
// go, messages of all kinds, segments that are begun and removed, and a stop and
// a start in the middle. A step that fails is tried again.
func history() (steps []func(w *world) error) {
	do := func(f ...func(w *world) error) { steps = append(steps, f...) }
	publish := func(name string, n, size int) {
		do(func(w *world) error { return w.publish(name, n, size) })
	}
	defers := func(name string, delay time.Duration) {
		do(func(w *world) error { return w.later(name, delay, 300) })
	}
	consume := func(name, channel string, n, every, hold int) {
		do(func(w *world) error { return w.consume(name, channel, n, every, 25*time.Second, hold) })
	}
	create := func(name, channel string) {
		if channel == "" {
			do(func(w *world) error { return w.create(name) })
		} else {
			do(func(w *world) error { return w.createChannel(name, channel) })
		}
	}
	pause := func(name, channel string, pause bool) {
		do(func(w *world) error { return w.pause(name, channel, pause) })
	}
	do((*world).open)
	create("orders", "")
	publish("orders", 4, 100)
	create("orders", "ship")
	publish("orders", 1, 5000) // larger than a segment
	publish("orders", 9, 300)
	defers("orders", 7*time.Second)
	consume("orders", "ship", 8, 4, 0)
	do((*world).settle)
	create("temp", "")
	publish("temp", 2, 100)
	create("temp", "all")
	create("orders", "bill")
	do(func(w *world) error { return w.together("orders", 3, 400) })
	for range 9 {
		defers("orders", 40*time.Second)
	}
	pause("orders", "", true)
	publish("orders", 3, 200)
	defers("orders", 50*time.Second)
	do(func(w *world) error { return w.deleteTopic("temp") })
	create("temp", "")
	publish("temp", 3, 200)
	consume("orders", "ship", 6, 0, 2)
	do((*world).sync)
	publish("orders", 2, 500)
	do((*world).stop, (*world).open)
	pause("orders", "", false)
	create("orders", "scrap")
	publish("orders", 5, 300)
	pause("orders", "bill", true)
	consume("orders", "scrap", 3, 3, 0)
	consume("orders", "ship", 100, 9, 3)
	pause("orders", "bill", false)
	do(func(w *world) error { return w.deleteChannel("orders", "scrap") })
	consume("orders", "bill", 100, 8, 0)
	do((*world).settle)
	publish("orders", 6, 300)
	do(func(w *world) error { time.Sleep(11 * time.Second); return w.settle() }) // the side log is looked through
	consume("orders", "ship", 2, 0, 0)
	return steps
}

// fault is what becomes of a disk.
type fault struct {
	level Level
	plan  func(d *disktest.Disk, n int)
	dies  bool
}

// crashes are what every kind of crash leaves now. A power cut is not asked of
// at level disk unless something was synced.
func (w *world) crashes(what string, seed, some int) (images []image) {
	images = append(images,
		w.image(w.disk.Kill(), what+", killed", false),
		w.image(w.disk.Crash(disktest.None, nil), what+", power cut, nothing left", true),
		w.image(w.disk.Crash(disktest.All, nil), what+", power cut, all left", true))
	for i := range some {
		images = append(images, w.image(w.disk.Crash(disktest.Some, seeded(10*seed+i)), fmt.Sprintf("%s, power cut, seed %d", what, 10*seed+i), true))
	}
	return images
}

// sweep lets operation n fail and looks at what crashes leave, right after it
// and at the end. It returns false when there was no operation n.
func sweep(t *testing.T, path string, n int, f fault) (met bool) {
	t.Helper()
	var images []image
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, path, f.level)
		w.disk.Tear(seeded(n))
		f.plan(w.disk, n)
		looked := false
		for i, step := range history() {
			err := step(w)
			if met = w.disk.Failed(); err != nil && !met {
				t.Fatalf("step %d: error without a fault: %v", i, err)
			}
			what := fmt.Sprintf("%s, fault %d, step %d (%v)", f.level, n, i, err)
			if met && !looked {
				looked = true
				images = append(images, w.crashes(what, n, 1)[n%4])
			}
			if err == nil {
				continue
			}
			if err := step(w); err != nil && !f.dies {
				t.Fatalf("%s: and again: %v", what, err)
			}
		}
		images = append(images, w.crashes(fmt.Sprintf("%s, fault %d, at the end", f.level, n), n, 2)...)
		if w.live != nil {
			w.live.audit()
		}
		_ = w.stop()
	})
	for _, i := range images {
		i.audit(t, path, f.level)
	}
	return met
}

// TestEveryFault lets the first operation on the disk fail, then the second, and
// so on; or all from there on: the disk dies. Everything goes on, and however it
// ends: what was acknowledged is there, what was deleted is not, nothing is
// invented, and the order is kept.
func TestEveryFault(t *testing.T) {
	// The race detector makes this many times slower: then one fault in nine must
	// do.
	step := 1
	if raceEnabled {
		step = 9
	}
	path := t.TempDir()
	for _, level := range []Level{Disk, Fsync} {
		for name, f := range map[string]fault{
			"write": {level: level, plan: func(d *disktest.Disk, n int) { d.FailAt(n, syscall.EIO) }},
			"read":  {level: level, plan: func(d *disktest.Disk, n int) { d.FailReadAt(n, syscall.EIO) }},
			"dies":  {level: level, plan: (*disktest.Disk).FailAlways, dies: true},
		} {
			t.Run(level.String()+"/"+name, func(t *testing.T) {
				n := 0
				for ; sweep(t, path, n, f); n += step {
				}
				t.Logf("%d operations", n)
			})
		}
	}
}
