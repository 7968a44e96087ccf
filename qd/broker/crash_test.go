package broker

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestPowerCut cuts the power after some histories that leave to one sync alone
// whether what was promised is kept.
func TestPowerCut(t *testing.T) {
	type steps = func(t *testing.T, w *world)
	for _, c := range []struct {
		name  string
		level Level
		steps steps
	}{
		{"finished and written behind", Fsync, func(t *testing.T, w *world) {
			for range 3 { // at first a snapshot is written, then what has changed
				must(t, w.consume("orders", "ship", 2, 0, 0, 0))
				must(t, w.settle())
			}
		}},
		{"finished and stopped", Disk, func(t *testing.T, w *world) {
			for range 2 {
				must(t, w.consume("orders", "ship", 2, 0, 0, 0))
				must(t, w.settle())
			}
			must(t, w.consume("orders", "ship", 2, 0, 0, 0))
			must(t, w.stop())
		}},
		{"synced after its time", Disk, func(t *testing.T, w *world) {
			w.sleep(time.Second)
			must(t, w.publish("orders", 1, 10))
			w.sleep(5*time.Second + 2*behindBy)
			w.synced()
		}},
		{"a sync has failed and nothing is published any more", Disk, func(t *testing.T, w *world) {
			must(t, w.publish("orders", 1, 10))
			w.sleep(time.Second)
			w.failSync(t, "/log/")
			must(t, w.publish("orders", 1, 10))
			w.sleep(15 * time.Second)
			must(t, w.live.Health())
			for i := range w.sent {
				w.sent[i].synced = true
			}
		}},
		{"a sync has failed before a stop", Disk, func(t *testing.T, w *world) {
			w.failSync(t, "/log/")
			must(t, w.publish("orders", 1, 10))
			must(t, w.stop())
		}},
		{"moved out of the way in the side log", Disk, func(t *testing.T, w *world) {
			for i := range 24 {
				delay := time.Second
				if i%8 == 0 {
					delay = time.Hour
				}
				must(t, w.later("orders", delay, 300))
			}
			must(t, w.settle())
			w.sleep(2 * time.Second)
			must(t, w.consume("orders", "ship", 100, 0, 0, 0))
			must(t, w.settle())
			w.synced()
			must(t, w.publish("orders", 1, 10))
			w.sleep(12 * time.Second)
			orders, err := w.topic("orders")
			must(t, err)
			if n := len(orders.logs.side.Segments()); n > 2 {
				t.Errorf("the side log has %d segments", n)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := t.TempDir()
			var images []image
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, path, c.level)
				must(t, w.open())
				must(t, w.create("orders"))
				must(t, w.createChannel("orders", "ship"))
				must(t, w.publish("orders", 7, 100))
				w.sleep(time.Second)
				c.steps(t, w)
				images = w.crashes("", 1, 5)
				must(t, w.stop())
			})
			for _, i := range images {
				i.audit(t, path, c.level)
			}
		})
	}
}

// failSync makes the next sync of a file fail whose path has the given part.
func (w *world) failSync(t *testing.T, part string) {
	t.Helper()
	must(t, w.stop())
	var armed atomic.Bool
	armed.Store(true)
	w.fs = hooked{w.disk, func(op, path string) error {
		if op == "sync" && strings.Contains(path, part+"0") && armed.CompareAndSwap(true, false) {
			w.disk.FailAt(0, syscall.EIO) // it must give up what it was to make durable
		}
		return nil
	}}
	must(t, w.open())
}

// TestDeletionTriedAgain: a deletion that failed can be tried again, and what is
// then said is true after a crash.
func TestDeletionTriedAgain(t *testing.T) {
	path := t.TempDir()
	var images []image
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, path, Fsync)
		var failing atomic.Value
		failing.Store("nothing")
		w.fs = hooked{w.disk, func(op, path string) error {
			if op == "rename" && strings.Contains(path, failing.Load().(string)) {
				return syscall.EIO
			}
			return nil
		}}
		must(t, w.open())
		for _, name := range []string{"orders", "temp"} {
			must(t, w.create(name))
			must(t, w.createChannel(name, "ship"))
			must(t, w.publish(name, 3, 10))
		}
		w.sleep(time.Second)
		failing.Store("orders.")
		for range 2 {
			mustFail(t, w.deleteChannel("orders", "ship"), syscall.EIO)
		}
		failing.Store("nothing")
		must(t, w.deleteChannel("orders", "ship"))
		mustFail(t, w.live.DeleteTopic("none"), ErrNoTopic)
		// A topic of the same name comes and goes before it is tried again.
		failing.Store("temp.")
		for range 2 {
			mustFail(t, w.deleteTopic("temp"), syscall.EIO)
		}
		failing.Store("nothing")
		w.book("temp").deleted = yes
		must(t, w.create("temp"))
		must(t, w.publish("temp", 2, 10))
		images = w.crashes("created again", 1, 1)
		must(t, w.deleteTopic("temp"))
		images = append(images, w.crashes("deleted again", 1, 1)...)
		must(t, w.stop())
	})
	for _, i := range images {
		i.audit(t, path, Fsync)
	}
}

// TestIdleLeavesTheDiskAlone: neither a topic of which all is finished nor one
// whose oldest segment is held by what is parked keeps the disk busy.
func TestIdleLeavesTheDiskAlone(t *testing.T) {
	for name, requeueEvery := range map[string]int{"finished": 0, "parked": 2} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, path, Disk)
				must(t, w.open())
				must(t, w.create("orders"))
				must(t, w.createChannel("orders", "ship"))
				for range 20 {
					must(t, w.publish("orders", 1, 400))
				}
				must(t, w.consume("orders", "ship", 20, requeueEvery, time.Hour, 0))
				w.sleep(time.Minute)
				orders, err := w.topic("orders")
				must(t, err)
				operations := w.disk.Operations()
				w.sleep(time.Minute)
				orders.mu.Lock()
				soiled := orders.logs.soiled
				orders.mu.Unlock()
				if n := w.disk.Operations() - operations; n > 0 || soiled {
					t.Errorf("%d operations in a minute, soiled %t", n, soiled)
				}
				must(t, w.stop())
			})
		})
	}
}

// TestFullDisk: publishes are refused and nothing is lost, whether the disk is
// full or nearly so; consumers go on, and make room.
func TestFullDisk(t *testing.T) {
	for _, c := range []struct {
		name     string
		capacity int64
		floor    int64
	}{{"full", 20 << 10, 0}, {"floor", 40 << 10, 20 << 10}} {
		for _, level := range []Level{Disk, Fsync} {
			t.Run(c.name+"/"+level.String(), func(t *testing.T) {
				path := t.TempDir()
				var images []image
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, path, level)
					w.minFree = c.floor
					must(t, w.open())
					must(t, w.create("orders"))
					must(t, w.createChannel("orders", "ship"))
					must(t, w.publish("orders", 3, 300))
					must(t, w.settle())
					w.disk.SetCapacity(c.capacity)
					w.fill(t, c.floor)
					images = w.crashes("full", 1, 2)
					w.drain(t)
				})
				for _, i := range images {
					full := i.disk.Kill()
					synctest.Test(t, func(t *testing.T) { // it starts, or nobody could make room
						r, err := launch(t, path, full, (&world{level: level}).settings)
						must(t, err)
						_ = r.stop()
					})
					i.disk.SetCapacity(1 << 30)
					i.audit(t, path, level)
				}
			})
		}
	}
}

// fill publishes until that is refused, which must have the right reason.
func (w *world) fill(t *testing.T, floor int64) {
	t.Helper()
	err := error(nil)
	for range 1000 {
		if err = w.publish("orders", 1, 300); err != nil {
			break
		}
		w.sleep(spaceLook)
	}
	space, low := errors.AsType[*SpaceError](err)
	if low != (floor > 0) || low && (space.Path != w.path || space.Floor != floor) || !low && !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("refused with %v", err)
	}
	if err := w.later("orders", time.Second, 300); err == nil {
		t.Error("a deferred publish is not refused")
	}
	if w.live.Health() == nil {
		t.Error("the disk is full and health says nothing")
	}
}

// drain has a consumer make room, until publishes are accepted.
func (w *world) drain(t *testing.T) {
	t.Helper()
	must(t, w.consume("orders", "ship", 10, 0, 0, 0))
	for range 20 {
		must(t, w.consume("orders", "ship", 10, 0, 0, 0))
		w.sleep(time.Second)
	}
	for range 3 {
		must(t, w.publish("orders", 1, 300))
		w.sleep(spaceLook)
	}
	must(t, w.later("orders", time.Second, 300))
	w.sleep(2 * time.Second)
	if err := w.live.Health(); err != nil {
		t.Errorf("there is room, and health says %v", err)
	}
	must(t, w.stop())
}
