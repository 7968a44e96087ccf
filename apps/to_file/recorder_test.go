package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/apps/to_file/archive"
	"github.com/millrace-mq/millrace/apps/to_file/archive/archivetest"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a recorder that runs on a disk in memory, and the reader that it hands
// messages to. They are numbered.
type rig struct {
	t    *testing.T
	disk *archivetest.Disk
	rec  *recorder
	logs logtest.Lines

	hangup chan struct{}
	ended  chan struct{}
	done   chan error

	mu     sync.Mutex // guards below
	fault  error      // of all that writes
	paused bool
	pauses int
	looked int // how often room was looked for

	written, refused []int
}

// Pause implements valve.
func (g *rig) Pause() { g.mu.Lock(); defer g.mu.Unlock(); g.paused = true; g.pauses++ }

// Resume implements valve.
func (g *rig) Resume() { g.mu.Lock(); defer g.mu.Unlock(); g.paused = false }

func (g *rig) isPaused() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.paused }

func (g *rig) set(fault error) { g.mu.Lock(); defer g.mu.Unlock(); g.fault = fault }

// fail fails what writes, if that is to be.
func (g *rig) fail(op, path string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if strings.Contains(path, roomFile) && op == "open" {
		g.looked++
	}
	if op == "write" || op == "sync" {
		return g.fault
	}
	return nil
}

const roomFile = ".room"

func newRig(t *testing.T, change func(*recorder)) *rig {
	t.Helper()
	g := &rig{t: t, disk: archivetest.NewDisk(), hangup: make(chan struct{}, 1), ended: make(chan struct{}), done: make(chan error, 1)}
	g.disk.Fail = g.fail
	config := archive.Config{OutputDir: "/out", WorkDir: "/work", FS: g.disk}
	var err error
	config.Name, err = archive.Pattern{Format: "<TOPIC><REV>", Topic: "t", Revision: true}.Name()
	if err != nil {
		t.Fatal(err)
	}
	files, err := archive.New(config)
	if err != nil {
		t.Fatal(err)
	}
	g.rec = (&recorder{
		topic: "t", lines: files, interval: time.Minute, skipEmpty: true, valve: g, turns: make(turns, 1), log: slog.New(slog.NewTextHandler(&g.logs, nil)),
		room: room{g.disk, []string{"/out", "/work"}, roomFile}.has,
	}).make()
	if change != nil {
		change(g.rec)
	}
	return g
}

func (g *rig) start() {
	if err := g.rec.lines.Prepare(); err != nil {
		g.t.Fatal(err)
	}
	g.run()
}

func (g *rig) run() {
	go func() { g.done <- g.rec.run(signals{g.hangup, g.ended}) }()
	synctest.Wait()
}

// send hands over a batch of messages first to last. What is answered as written must
// survive a crash at this moment.
func (g *rig) send(first, last int) error {
	var batch []*millrace.Message
	for n := first; n <= last; n++ {
		batch = append(batch, &millrace.Message{Body: fmt.Appendf(nil, "message %d", n)})
	}
	err := g.rec.record(batch)
	kept := ""
	for _, content := range g.disk.AfterCrash() {
		kept += content
	}
	for n := first; n <= last; n++ {
		if err != nil {
			g.refused = append(g.refused, n)
			continue
		}
		g.written = append(g.written, n)
		if !strings.Contains(kept, fmt.Sprintf("message %d\n", n)) {
			g.t.Errorf("message %d counts as written before it is safe", n)
		}
	}
	return err
}

// stop ends the recorder as a stream does, and returns its error.
func (g *rig) stop() error {
	close(g.ended)
	return <-g.done
}

func upTo(last int) (all []int) {
	for n := 1; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

// bubble runs a test under a fake clock.
func bubble(t *testing.T, name string, change func(*recorder), test func(t *testing.T, g *rig)) {
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

func (g *rig) wantFile(path, content string) {
	g.t.Helper()
	if got, there := g.disk.Files()[path]; !there || got != content {
		g.t.Errorf("%s holds %q (it is there: %t), want %q", path, got, there, content)
	}
}

func TestRecorder(t *testing.T) {
	bubble(t, "a hangup ends the file, more than once", nil, func(t *testing.T, g *rig) {
		g.start()
		for rev, text := range []string{"message 1\nmessage 2\n", "message 3\nmessage 4\n"} {
			if err := g.send(2*rev+1, 2*rev+2); err != nil {
				t.Error(err)
			}
			g.hangup <- struct{}{}
			synctest.Wait()
			g.wantFile(fmt.Sprintf("/out/t-%06d", rev), text)
		}
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	})
	bubble(t, "the end finishes the file, and takes nothing more", nil, func(t *testing.T, g *rig) {
		g.start()
		if err := g.send(1, 2); err != nil {
			t.Error(err)
		}
		if err := g.stop(); err != nil {
			t.Error(err)
		}
		g.wantFile("/out/t-000000", "message 1\nmessage 2\n")
		if err := g.send(3, 3); err == nil {
			t.Error("a message was taken after the end")
		}
	})
	bubble(t, "a file that is removed takes nothing with it that comes later", nil, func(t *testing.T, g *rig) {
		g.start()
		if err := g.send(1, 2); err != nil {
			t.Error(err)
		}
		if err := g.disk.Remove("/work/t-000000"); err != nil {
			t.Fatal(err)
		}
		if err := g.send(3, 4); !errors.Is(err, archive.ErrRemoved) {
			t.Errorf("answered with %v", err)
		}
		if err := g.send(3, 4); err != nil {
			t.Error(err)
		}
		if err := g.stop(); err != nil {
			t.Error(err)
		}
		g.wantFile("/out/t-000001", "message 3\nmessage 4\n")
	})
	for _, skip := range []bool{false, true} {
		bubble(t, fmt.Sprintf("a tick with skip-empty-files %t", skip), func(r *recorder) { r.skipEmpty = skip }, func(t *testing.T, g *rig) {
			g.start()
			time.Sleep(time.Minute)
			synctest.Wait()
			if err := g.stop(); err != nil {
				t.Error(err)
			}
			if _, there := g.disk.Files()["/out/t-000000"]; there == skip {
				t.Errorf("an empty file is there: %t", there)
			}
		})
	}
}

// Whatever disk operation fails, no message counts as written that is not safe
// (which send checks), each is answered once, and nothing is left open.
func TestRecorderOnEveryFault(t *testing.T) {
	const messages = 12
	faults := 0
	for n, more := 0, true; more; n++ {
		bubble(t, fmt.Sprint("fault ", n), nil, func(t *testing.T, g *rig) {
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
			err := g.rec.lines.Prepare()
			if err == nil {
				g.run()
				for i := 1; i <= messages; i += 3 {
					_ = g.send(i, i+2)
				}
				err = g.stop()
				if all := slices.Sorted(slices.Values(slices.Concat(g.written, g.refused))); !slices.Equal(all, upTo(messages)) {
					t.Errorf("written %v, refused %v: each message must be answered once", g.written, g.refused)
				}
			}
			if more = left < 0; more {
				faults++
			}
			if more && err == nil || err != nil && !errors.Is(err, syscall.EIO) {
				t.Errorf("the fault was met: %t; error: %v", more, err)
			}
		})
	}
	if faults < 10 {
		t.Errorf("only %d disk operations", faults)
	}
}

func TestRecorderOnAFullDisk(t *testing.T) {
	bubble(t, "it waits, tries the disk now and then, and goes on", nil, func(t *testing.T, g *rig) {
		g.start()
		if err := g.send(1, 2); err != nil {
			t.Fatal(err)
		}
		g.set(syscall.ENOSPC)
		for n := 3; n <= 5; n++ { // 4 and 5 were on their way
			if err := g.send(n, n); !errors.Is(err, archive.ErrNoSpace) {
				t.Errorf("message %d was answered with %v", n, err)
			}
			if !g.isPaused() {
				t.Error("the reader is not paused")
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if least, most := int(time.Hour/longPause)-1, int(time.Hour/longPause)+10; g.looked < least || g.looked > most || !g.isPaused() {
			t.Errorf("in an hour room was looked for %d times, want %d to %d; paused: %t", g.looked, least, most, g.isPaused())
		}
		g.set(nil)
		time.Sleep(longPause)
		synctest.Wait()
		if g.isPaused() {
			t.Error("the disk has room, and the reader is paused")
		}
		for n := 3; n <= 5; n++ {
			if err := g.send(n, n); err != nil {
				t.Errorf("message %d was answered with %v", n, err)
			}
		}
		if err := g.stop(); err != nil {
			t.Error(err)
		}
		g.wantFile("/out/t-000000", "message 1\nmessage 2\nmessage 3\nmessage 4\nmessage 5\n")
		if n := len(g.disk.Files()); n != 1 {
			t.Errorf("%d files are left", n)
		}
		if g.pauses != 1 || strings.Count(g.logs.String(), "the disk is still full") != 5 || strings.Count(g.logs.String(), "the disk is full") != 1 || strings.Count(g.logs.String(), "the disk has room again") != 1 {
			t.Errorf("paused %d times; logged:\n%s", g.pauses, g.logs.String())
		}
	})
	bubble(t, "the end while it is full", nil, func(t *testing.T, g *rig) {
		g.start()
		if err := g.send(1, 2); err != nil {
			t.Fatal(err)
		}
		g.set(syscall.ENOSPC)
		_ = g.send(3, 3)
		if err := g.stop(); err != nil {
			t.Errorf("what could not be written was given back, and all the same: %v", err)
		}
	})
	bubble(t, "it breaks while it is full", nil, func(t *testing.T, g *rig) {
		g.start()
		g.set(syscall.ENOSPC)
		_ = g.send(1, 1)
		g.set(syscall.EIO)
		if err := <-g.done; !errors.Is(err, syscall.EIO) {
			t.Errorf("ended with %v", err)
		}
		if err := g.send(2, 2); err == nil {
			t.Error("a message was taken after the end")
		}
	})
}
