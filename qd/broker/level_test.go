package broker

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

// gate holds up the first operation of a kind that comes once it is shut.
type gate struct {
	mu   sync.Mutex
	op   string // "" while it is open
	path string // a part of it
	open chan struct{}
	done []string // writes and syncs of the log's segments
}

func (g *gate) before(op, path string) error {
	g.mu.Lock()
	if strings.HasSuffix(path, ".log") && (op == "write" || op == "sync") {
		g.done = append(g.done, op+" "+filepath.Base(path))
	}
	hold := g.op == op && strings.Contains(path, g.path)
	if hold {
		g.op = ""
	}
	open := g.open
	g.mu.Unlock()
	if hold {
		<-open
	}
	return nil
}

// take returns what was done to the log's segments since the last call.
func (g *gate) take() (done []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	done, g.done = g.done, nil
	return done
}

// shut makes the next such operation wait until the function that is returned
// is called.
func (g *gate) shut(op, path string) (reopen func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.op, g.path, g.open = op, path, make(chan struct{})
	return sync.OnceFunc(func() { close(g.open) })
}

// gated calls f with a world whose disk has a gate, and with the topic "orders",
// to which one message was published.
func gated(t *testing.T, level Level, f func(w *world, g *gate, orders *Topic)) {
	t.Helper()
	path := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w, g := newWorld(t, path, level), new(gate)
		w.fs = hooked{w.disk, g.before}
		must(t, w.open())
		must(t, w.create("orders"))
		must(t, w.publish("orders", 1, 10))
		orders, err := w.topic("orders")
		must(t, err)
		w.sleep(time.Second) // what is written in the background has been
		f(w, g, orders)
		must(t, w.stop())
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// publishing is publishes under way, of one message each.
type publishing struct {
	first int
	errs  []error
	wg    sync.WaitGroup
}

// begin begins n publishes and returns when each has to wait for something.
func (w *world) begin(topic *Topic, n int) *publishing {
	p := &publishing{errs: make([]error, n)}
	p.first, _ = w.draw(topic.Name(), 0, n, 0)
	for i := range n {
		w.sent[p.first+i].publisher = p.first + i // in no order
		p.wg.Go(func() { p.errs[i] = topic.Publish([][]byte{body(p.first+i, 0)}) })
	}
	synctest.Wait()
	return p
}

// end returns when all have been answered.
func (w *world) end(p *publishing) {
	p.wg.Wait()
	for i, err := range p.errs {
		w.answered(p.first+i, 1, err)
	}
}

// numbers are those of the messages that a new channel is given.
func (w *world) numbers(topic *Topic) (numbers []int) {
	w.t.Helper()
	c := subscribe(w.t, topic, "look", 1000)
	for _, g := range c.drain(c.finish) {
		numbers = append(numbers, g.number)
	}
	c.close()
	must(w.t, topic.DeleteChannel("look"))
	return numbers
}

// TestGroupCommit: however many publishers wait for a write under way, they
// share the next one, and its sync.
func TestGroupCommit(t *testing.T) {
	for level, operation := range map[Level]string{Disk: "write", Fsync: "sync"} {
		t.Run(level.String(), func(t *testing.T) {
			gated(t, level, func(w *world, g *gate, orders *Topic) {
				g.take()
				reopen := g.shut("write", "/log/")
				one := w.begin(orders, 1)
				many := w.begin(orders, 40)
				reopen()
				w.end(one)
				w.end(many)
				if done := g.take(); strings.Count(strings.Join(done, " "), operation) != 2 {
					t.Errorf("2 commits: %q", done)
				}
				for i := range w.sent {
					if !w.sent[i].acked {
						t.Errorf("publish %d: %v", i, many.errs)
					}
				}
				if n := len(w.numbers(orders)); n != 42 {
					t.Errorf("%d messages", n)
				}
			})
		})
	}
}

// TestFailedSync: a sync that fails at level fsync fails the publishes that
// waited for it, and no others.
func TestFailedSync(t *testing.T) {
	for _, c := range []struct {
		name        string
		failing     int // operation, from the first write on
		one, others bool
	}{
		{"of the first commit", 1, false, true},
		{"of the second", 3, true, false},
		{"write of the second", 2, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := t.TempDir()
			var images []image
			gated(t, Fsync, func(w *world, g *gate, orders *Topic) {
				reopen := g.shut("write", "/log/")
				one := w.begin(orders, 1)
				others := w.begin(orders, 5)
				w.disk.FailAt(c.failing, syscall.EIO)
				reopen()
				w.end(one)
				w.end(others)
				must(t, w.publish("orders", 2, 10))
				want := 3
				for _, p := range []struct {
					*publishing
					ok bool
				}{{one, c.one}, {others, c.others}} {
					for _, err := range p.errs {
						if (err == nil) != p.ok || err != nil && !errors.Is(err, syscall.EIO) {
							t.Errorf("%v", err)
						}
					}
					if p.ok {
						want += len(p.errs)
					}
				}
				images = w.crashes("", c.failing, 10)
				if got := w.numbers(orders); len(got) != want {
					t.Errorf("messages %v, want %d", got, want)
				}
				for i := range images { // they are opened on another path
					must(t, images[i].disk.Rename(w.path, path))
				}
			})
			for _, i := range images {
				i.audit(t, path, Fsync)
			}
		})
	}
}

// TestDeletedWhilePublishing: who waits for a topic that is deleted is told so.
func TestDeletedWhilePublishing(t *testing.T) {
	for _, level := range []Level{Disk, Fsync} {
		t.Run(level.String(), func(t *testing.T) {
			gated(t, level, func(w *world, g *gate, orders *Topic) {
				reopen := g.shut("write", "/log/")
				one := w.begin(orders, 1)
				many := w.begin(orders, 3)
				var wg sync.WaitGroup
				var deleted error
				wg.Go(func() { deleted = w.live.DeleteTopic("orders") })
				synctest.Wait()
				late := w.begin(orders, 1)
				reopen()
				w.end(late)
				w.end(one)
				w.end(many)
				wg.Wait()
				must(t, deleted)
				w.book("orders").deleted = yes
				for _, err := range slices.Concat(one.errs, many.errs, late.errs) {
					mustFail(t, err, ErrGone)
				}
				for _, p := range w.disk.Crash(disktest.None, nil).Paths() {
					if strings.Contains(p, "orders") && !strings.Contains(p, deletedSuffix) {
						t.Errorf("%s is there", p)
					}
				}
			})
		})
	}
}

// TestDeletedWhileWritingBehind: a deletion is not acknowledged before it is
// certain, whatever else is going on.
func TestDeletedWhileWritingBehind(t *testing.T) {
	gated(t, Disk, func(w *world, g *gate, orders *Topic) {
		must(t, w.createChannel("orders", "ship"))
		reopen := g.shut("write", "/acks/")
		must(t, w.consume("orders", "ship", 1, 0, 0, 0))
		w.sleep(behindBy * 2) // it writes
		var wg sync.WaitGroup
		answered := false
		wg.Go(func() {
			must(t, w.live.DeleteTopic("orders"))
			answered = true
			for _, p := range w.disk.Kill().Paths() {
				if strings.Contains(p, "orders") && !strings.Contains(p, deletedSuffix) {
					t.Errorf("%s is there", p)
				}
			}
		})
		synctest.Wait()
		if answered {
			t.Error("answered while its files are being written")
		}
		reopen()
		wg.Wait()
		w.book("orders").deleted = yes
	})
}

// TestStopWhilePublishing: a stop lets those finish who are being served, and
// their messages are there afterwards.
func TestStopWhilePublishing(t *testing.T) {
	for _, level := range []Level{Disk, Fsync} {
		t.Run(level.String(), func(t *testing.T) {
			gated(t, level, func(w *world, g *gate, orders *Topic) {
				reopen := g.shut("write", "/log/")
				one, many := w.begin(orders, 1), w.begin(orders, 3)
				w.live.Refuse()
				mustFail(t, orders.Publish([][]byte{body(0, 0)}), ErrExiting)
				mustFail(t, orders.Defer(body(0, 0), 1), ErrExiting)
				reopen()
				w.end(one)
				w.end(many)
				must(t, w.stop())
				must(t, w.open())
				orders, err := w.topic("orders")
				must(t, err)
				if got := fmt.Sprint(len(w.numbers(orders)), one.errs, many.errs); got != "5 [<nil>] [<nil> <nil> <nil>]" {
					t.Error(got)
				}
			})
		})
	}
}
