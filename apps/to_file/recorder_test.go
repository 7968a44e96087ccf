package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/apps/to_file/archive"
	"github.com/millrace-mq/millrace/apps/to_file/archive/archivetest"
)

// rig is a recorder that runs on a disk in memory. Messages are numbered, and
// their answers checked against the disk at the moment that they are given.
type rig struct {
	t    *testing.T
	disk *archivetest.Disk
	rec  *recorder

	hangup          chan struct{}
	stopping, ended chan struct{}
	done            chan error
	mu              sync.Mutex // guards below
	finished        []int
	requeued        []int
	isStarved       bool
}

type message struct {
	rig  *rig
	n    int
	body string
}

// Finish fails the test when the line would not survive a crash at this moment.
func (m message) Finish() {
	kept := ""
	for _, content := range m.rig.disk.AfterCrash() {
		kept += content
	}
	if !strings.Contains(kept, m.body+"\n") {
		m.rig.t.Errorf("%q was finished before it was safe", m.body)
	}
	m.rig.mu.Lock()
	defer m.rig.mu.Unlock()
	m.rig.finished = append(m.rig.finished, m.n)
}

func (m message) Requeue(time.Duration) {
	m.rig.mu.Lock()
	defer m.rig.mu.Unlock()
	m.rig.requeued = append(m.rig.requeued, m.n)
}

func newRig(t *testing.T, change func(*recorder)) *rig {
	t.Helper()
	g := &rig{
		t: t, disk: archivetest.NewDisk(), hangup: make(chan struct{}),
		stopping: make(chan struct{}), ended: make(chan struct{}), done: make(chan error, 1),
	}
	name, err := archive.Pattern{Format: "<TOPIC><REV>", Topic: "t", Revision: true}.Name()
	if err != nil {
		t.Fatal(err)
	}
	files, err := archive.New(archive.Config{Name: name, OutputDir: "/out", WorkDir: "/work", FS: g.disk})
	if err != nil {
		t.Fatal(err)
	}
	g.rec = &recorder{
		lines: files, interval: time.Minute, gap: 100 * time.Millisecond, enough: 50, skipEmpty: true,
		starved: func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.isStarved },
		wake:    make(chan struct{}, 1),
	}
	if change != nil {
		change(g.rec)
	}
	return g
}

func (g *rig) start() {
	go func() {
		err := g.rec.run(signals{g.hangup, g.stopping, g.ended})
		if err != nil {
			g.rec.requeueRest(g.ended)
		}
		g.done <- err
	}()
	synctest.Wait()
}

// send hands over messages first to last.
func (g *rig) send(first, last int) {
	for n := first; n <= last; n++ {
		m := message{g, n, fmt.Sprintf("message %d", n)}
		g.rec.add(record{archive.Record{Body: []byte(m.body)}, m})
	}
	synctest.Wait()
}

// stop ends the recorder as a stream does, and returns its error.
func (g *rig) stop() error {
	close(g.stopping)
	synctest.Wait()
	close(g.ended)
	return <-g.done
}

func (g *rig) wantFinished(last int) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Equal(g.finished, upTo(last)) {
		g.t.Errorf("finished %v, want 1 to %d", g.finished, last)
	}
}

func upTo(last int) (all []int) {
	for n := 1; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

// bubble runs a test under a fake clock.
func bubble(name string, t *testing.T, change func(*recorder), test func(t *testing.T, g *rig)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, change)
			test(t, g)
			if n := g.disk.OpenFiles(); n != 0 {
				t.Errorf("%d files are open", n)
			}
		})
	})
}

func TestRecorderSyncs(t *testing.T) {
	bubble("the first message after a pause at once", t, nil, func(t *testing.T, g *rig) {
		g.start()
		time.Sleep(time.Second)
		g.send(1, 1)
		g.wantFinished(1)
		g.send(2, 3)
		time.Sleep(99 * time.Millisecond)
		synctest.Wait()
		g.wantFinished(1)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		g.wantFinished(3)
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	})
	slow := func(r *recorder) { r.gap = time.Hour }
	bubble("when enough messages wait", t, slow, func(t *testing.T, g *rig) {
		g.start()
		g.send(1, 1)
		g.send(2, 50)
		g.wantFinished(1)
		g.send(51, 51)
		g.wantFinished(51)
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	})
	bubble("when a daemon is starved", t, slow, func(t *testing.T, g *rig) {
		g.start()
		g.send(1, 1)
		g.isStarved = true
		g.send(2, 4)
		g.wantFinished(4)
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	})
	bubble("on the tick", t, slow, func(t *testing.T, g *rig) {
		g.start()
		g.send(1, 1)
		g.send(2, 4)
		time.Sleep(time.Minute)
		synctest.Wait()
		g.wantFinished(4)
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	})
	bubble("on hangup, which ends the file", t, slow, func(t *testing.T, g *rig) {
		g.start()
		g.send(1, 1)
		g.send(2, 3)
		g.hangup <- struct{}{}
		synctest.Wait()
		g.wantFinished(3)
		if got := g.disk.Files()["/out/t-000000"]; got != "message 1\nmessage 2\nmessage 3\n" {
			t.Errorf("the file that was ended holds %q", got)
		}
		g.send(4, 4)
		if err := g.stop(); err != nil {
			t.Error(err)
		}
		g.wantFinished(4)
		if got := g.disk.Files()["/out/t-000001"]; got != "message 4\n" {
			t.Errorf("the next file holds %q", got)
		}
	})
	bubble("at the end, without delay", t, slow, func(t *testing.T, g *rig) {
		g.start()
		g.send(1, 1)
		g.send(2, 3)
		close(g.stopping)
		synctest.Wait()
		g.wantFinished(3)
		g.send(4, 4) // was on its way
		g.wantFinished(4)
		close(g.ended)
		if err := <-g.done; err != nil {
			t.Error(err)
		}
	})
}

func TestRecorderTick(t *testing.T) {
	for _, skip := range []bool{false, true} {
		bubble(fmt.Sprintf("skip empty files %t", skip), t, func(r *recorder) { r.skipEmpty = skip }, func(t *testing.T, g *rig) {
			g.start()
			time.Sleep(time.Minute)
			synctest.Wait()
			if err := g.stop(); err != nil {
				t.Error(err)
			}
			if n := len(g.disk.Files()); (n == 0) != skip {
				t.Errorf("%d files", n)
			}
		})
	}
}

// Whatever disk operation fails, no message is finished that is not safe (which
// Finish checks), every other one is requeued, and nothing is left open.
func TestRecorderOnEveryFault(t *testing.T) {
	const messages = 30
	faults := 0
	for n, more := 0, true; more; n++ {
		bubble(fmt.Sprint("fault ", n), t, func(r *recorder) { r.enough = 4 }, func(t *testing.T, g *rig) {
			left := n
			g.disk.Fail = func(op, _ string) error {
				if op == "rmdir" {
					return nil // of directories that do no harm
				}
				if left--; left == -1 {
					return syscall.EIO
				}
				return nil
			}
			g.start()
			for i := 1; i <= messages; i += 3 {
				g.send(i, i+2)
			}
			err := g.stop()
			if more = left < 0; more {
				faults++
			}
			if more != errors.Is(err, syscall.EIO) {
				t.Errorf("the fault was met: %t; error: %v", more, err)
			}
			all := slices.Concat(g.finished, g.requeued)
			slices.Sort(all)
			if !slices.Equal(all, upTo(messages)) {
				t.Errorf("finished %v, requeued %v: each message must be answered once", g.finished, g.requeued)
			}
		})
	}
	if faults < 10 {
		t.Errorf("only %d disk operations", faults)
	}
}
