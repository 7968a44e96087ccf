package broker

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/queue"
)

// machine is a disk in memory and the daemons that one after the other use it.
type machine struct {
	t    *testing.T
	path string
	disk *disktest.Disk
	set  func(*Settings)
	*running
}

// boot starts a broker of a level on a new disk in memory.
func boot(t *testing.T, level Level, change func(*Settings)) *machine {
	t.Helper()
	m := &machine{t: t, path: t.TempDir(), disk: disktest.New()}
	m.set = func(s *Settings) {
		s.Durability, s.FS = level, m.disk
		s.SegmentBytes = 64 << 10
		if change != nil {
			change(s)
		}
	}
	format(t, m.disk, m.path)
	m.running = start(t, m.path, m.set)
	return m
}

// format makes a directory that survives everything.
func format(t *testing.T, d *disktest.Disk, path string) {
	t.Helper()
	if err := d.MkdirAll(path); err != nil {
		t.Fatal(err)
	}
	for path != filepath.Dir(path) {
		path = filepath.Dir(path)
		if err := d.SyncDir(path); err != nil {
			t.Fatal(err)
		}
	}
}

// restart replaces the daemon by one that finds disk.
func (m *machine) restart(disk *disktest.Disk) {
	m.t.Helper()
	m.audit()
	_ = m.stop() // orderly, but what it writes the next one does not see
	m.disk = disk
	m.running = start(m.t, m.path, m.set)
}

// kill is kill -9 and a restart.
func (m *machine) kill() { m.t.Helper(); m.restart(m.disk.Kill()) }

// reboot is an orderly stop and a start.
func (m *machine) reboot() {
	m.t.Helper()
	m.audit()
	if err := m.stop(); err != nil {
		m.t.Fatal(err)
	}
	m.restart(m.disk)
}

func TestKilled(t *testing.T) {
	for _, level := range []Level{Disk, Fsync} {
		t.Run(level.String(), func(t *testing.T) {
			m := boot(t, level, nil)
			publish(t, m.topic("orders"), 0, 1000, 200)
			m.kill()
			c := subscribe(t, m.topic("orders"), "ship", 100)
			inOrder(t, c.consume(1000), 0)
			publish(t, m.topic("orders"), 1000, 1500, 200)
			inOrder(t, c.receive(50), 1000)
			c.close()
			m.kill()
			last := make(map[int]bool)
			c = subscribe(t, m.topic("orders"), "ship", 2500)
			for len(last) < 500 {
				for _, g := range c.consume(1) {
					if g.number >= 1000 { // what was finished a moment before may come again
						last[g.number] = true
					}
				}
			}
		})
	}
}

func TestInFlightAtKill(t *testing.T) {
	m := boot(t, Disk, nil)
	orders := m.topic("orders")
	publish(t, orders, 0, 1000, 200)
	c := subscribe(t, orders, "ship", 100)
	held := c.receive(100)
	c.finish(held[:30])
	m.quiet()
	m.kill()
	c = subscribe(t, m.topic("orders"), "ship", 2000)
	again := c.consume(970)
	for i, g := range again {
		want, attempts := 30+i, uint16(1)
		if i < 70 {
			attempts = 2
		}
		if g.number != want || g.attempts != attempts {
			t.Fatalf("delivery %d is message %d, attempts %d; it should be %d, %d", i, g.number, g.attempts, want, attempts)
		}
	}
}

func TestDeferredAtKill(t *testing.T) {
	m := boot(t, Disk, nil)
	orders := m.topic("orders")
	if err := orders.CreateChannel("ship"); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := orders.Defer(body(i, 100), 1500*time.Millisecond+time.Duration(50-i)*20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	m.kill()
	if got := figures(m.topic("orders"), "ship"); got != "depth 0, in flight 0, deferred 50" {
		t.Fatal(got)
	}
	c := subscribe(t, m.topic("orders"), "ship", 100)
	for i, g := range c.consume(50) {
		if g.number != 49-i || g.attempts != 1 {
			t.Fatalf("delivery %d is message %d, attempts %d", i, g.number, g.attempts)
		}
	}
}

func TestRequeuedAtKill(t *testing.T) {
	m := boot(t, Disk, nil)
	orders := m.topic("orders")
	publish(t, orders, 0, 10, 10)
	c := subscribe(t, orders, "ship", 100)
	for _, g := range c.receive(10) {
		if err := c.Requeue(g.id, time.Duration(g.number+1)*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	m.quiet()
	m.kill()
	m.topic("orders").View(func(core *queue.Topic) {
		if c := core.Channel("ship"); c.Deferred() != 10 {
			t.Errorf("%d deferred", c.Deferred())
		}
	})
	c = subscribe(t, m.topic("orders"), "ship", 100)
	if g := c.consume(1)[0]; g.number != 0 || g.attempts != 2 {
		t.Errorf("message %d, attempts %d", g.number, g.attempts)
	}
}

// quiet waits until what is written behind has been.
func (m *machine) quiet() {
	m.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		busy := ""
		for _, t := range m.Topics() {
			t.mu.Lock()
			if l := t.logs; l != nil && (l.soiled || l.tending) {
				busy = fmt.Sprintf("topic %s", t.name)
			}
			t.mu.Unlock()
		}
		if busy == "" {
			return
		}
		select {
		case <-deadline:
			m.t.Fatalf("%s is still written behind", busy)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestSegmentsGo(t *testing.T) {
	m := boot(t, Disk, nil)
	orders := m.topic("orders")
	c := subscribe(t, orders, "ship", 2500)
	publish(t, orders, 0, 1, 100)
	stuck := c.receive(1)[0]
	if err := c.Requeue(stuck.id, time.Hour); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 5000; i += 500 {
		publish(t, orders, i, i+500, 200)
		inOrder(t, c.consume(500), i)
	}
	m.quiet()
	if n := len(orders.logs.main.Segments()); n > 2 {
		t.Errorf("%d segments are left although only one message is not finished", n)
	}
	m.kill()
	if got := figures(m.topic("orders"), "ship"); got != "depth 0, in flight 0, deferred 1" {
		t.Error(got)
	}
}

// TestSyncedInTime cuts the power a while after the last publish at level disk.
func TestSyncedInTime(t *testing.T) {
	m := boot(t, Disk, func(s *Settings) { s.SyncTimeout = 100 * time.Millisecond })
	orders := m.topic("orders")
	if err := orders.CreateChannel("ship"); err != nil {
		t.Fatal(err)
	}
	publish(t, orders, 0, 1000, 200)
	if err := orders.Defer(body(1000, 10), time.Hour); err != nil {
		t.Fatal(err)
	}
	c := subscribe(t, orders, "ship", 100)
	finished := c.consume(400)
	inOrder(t, finished, 0)
	c.close()
	deadline := time.After(30 * time.Second)
	for unsynced := true; unsynced; {
		select {
		case <-deadline:
			t.Fatal("the logs are not synced")
		case <-time.After(10 * time.Millisecond):
		}
		orders.mu.Lock()
		if unsynced = orders.logs.unsynced || orders.logs.soiled || orders.logs.tending; !unsynced {
			unsynced = orders.logs.upkeep.loose
		}
		orders.mu.Unlock()
	}
	m.restart(m.disk.Crash(disktest.None, rand.New(rand.NewPCG(1, 1))))
	want := fmt.Sprintf("depth %d, in flight 0, deferred 1", 1000-len(finished))
	if got := figures(m.topic("orders"), "ship"); got != want {
		t.Fatalf("%s, not %s", got, want)
	}
}
