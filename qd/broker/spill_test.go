package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestSpill publishes far more than there is memory for, to channels of which
// one is as fast as the publisher, one comes later and one lags. Each must get
// everything in order.
func TestSpill(t *testing.T) {
	const messages, size = 30_000, 200
	for _, channels := range []int{1, 3} {
		for _, memory := range []int{0, 500, 10_000} {
			t.Run(fmt.Sprintf("%d channels, memory for %d", channels, memory), func(t *testing.T) {
				r := start(t, t.TempDir(), func(s *Settings) { s.MemoryMessages = memory })
				topic := r.topic("t")
				var wg sync.WaitGroup
				var lagging *client
				for i := range channels {
					c := subscribe(t, topic, fmt.Sprint("c", i), 2500)
					if i == channels-1 {
						lagging = c
						continue
					}
					wg.Go(func() {
						inOrder(t, c.consume(messages), 0)
						c.close()
					})
				}
				publish(t, topic, 0, messages, size)
				wg.Wait()
				if onDisk(topic, lagging.Channel()) == 0 {
					t.Error("nothing went to disk")
				}
				inOrder(t, lagging.consume(messages), 0)
				lagging.close()
				r.rest(topic)
				noFiles(t, r, "diskqueue")
			})
		}
	}
}

// files returns the names of the broker's disk queue files.
func files(t testing.TB, r *running) (names []string) {
	t.Helper()
	err := filepath.WalkDir(r.spill.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func noFiles(t testing.TB, r *running, with string) {
	t.Helper()
	for _, f := range files(t, r) {
		if strings.Contains(f, with) {
			t.Errorf("%s is left", f)
		}
	}
}

// TestBrokenDisk cannot write for a while: a file lies where the topic's folder
// should be. Publishers are told once too much waits, nothing is lost, and all
// is well again when the disk is.
func TestBrokenDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), func(s *Settings) { s.MemoryMessages = 100 })
		topic := r.topic("t")
		obstacle := topic.spillConfig().Dir
		if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var failed error
		n := 0
		for ; n < 10_000 && failed == nil; n++ {
			failed = topic.Publish([][]byte{body(n, 100_000)})
			synctest.Wait()
		}
		n-- // this one was refused
		if failed == nil || !strings.Contains(failed.Error(), "not a directory") {
			t.Fatalf("after %d messages publishing gives %v", n, failed)
		}
		if err := r.Health(); err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("health is %v", err)
		}
		// Consumers go on, and make room.
		c := subscribe(t, topic, "c", 2500)
		inOrder(t, c.consume(50), 0)
		if err := os.RemoveAll(obstacle); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * diskRetry)
		synctest.Wait()
		if err := r.Health(); err != nil {
			t.Errorf("health is %v after the disk was mended", err)
		}
		publish(t, topic, n, n+500, 1000)
		messages := c.consume(n + 500 - 50)
		if last := messages[len(messages)-1]; last.number != n+499 || len(messages) != n+450 {
			t.Errorf("%d messages come, the last is number %d", len(messages), last.number)
		}
		c.close()
	})
}

// TestUnsaved cannot write the metadata for a while.
func TestUnsaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), nil)
		obstacle := filepath.Join(r.DataPath, metaFile+".tmp")
		if err := os.MkdirAll(filepath.Join(obstacle, "in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
		topic := r.topic("t")
		time.Sleep(time.Second)
		synctest.Wait()
		if r.Health() == nil {
			t.Error("health is fine though nothing can be written down")
		}
		publish(t, topic, 0, 10, 10)
		if err := os.RemoveAll(obstacle); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * diskRetry)
		synctest.Wait()
		if err := r.Health(); err != nil {
			t.Errorf("health is %v after the disk was mended", err)
		}
	})
}

// TestNoIDsWithoutReserve creates topics while the numbers that their IDs come
// from cannot be written down. When too many would be lost by a crash, no more
// can be created.
func TestNoIDsWithoutReserve(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	if err := os.MkdirAll(filepath.Join(r.DataPath, metaFile+".tmp", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	for i := 0; i < 2*reserve && err == nil; i++ {
		_, err = r.Topic(t.Context(), fmt.Sprint("t", i))
	}
	if err == nil {
		t.Error("topics were created without end")
	}
	for _, topic := range r.Topics() {
		publish(t, topic, 0, 1, 1)
		if err := topic.Defer(body(1, 1), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if drawn, reserved := r.drawn.Load(), r.reserved.Load(); drawn > reserved {
		t.Errorf("%d numbers are drawn, %d are written down", drawn, reserved)
	}
	// In one step: the saver would put a file in the place of a folder half removed.
	if err := os.Rename(filepath.Join(r.DataPath, metaFile+".tmp"), filepath.Join(t.TempDir(), "away")); err != nil {
		t.Fatal(err)
	}
	r.topic("another")
}

// TestStopWhileWaiting stops a broker whose publishers wait for the disk.
func TestStopWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), func(s *Settings) { s.MemoryMessages = 0 })
		topic := r.topic("t")
		r.workers.Add(1)
		topic.mu.Lock()
		topic.working = true // the disk hangs
		topic.mu.Unlock()
		errs := make(chan error)
		go func() {
			for n := 0; ; n++ {
				if err := topic.Publish([][]byte{body(n, 300_000)}); err != nil {
					errs <- err
					return
				}
			}
		}()
		synctest.Wait()
		r.end() // as Run does, without Refuse
		mustFail(t, <-errs, ErrExiting)
		topic.mu.Lock()
		topic.working = false
		topic.mu.Unlock()
		r.workers.Done()
	})
}

// TestEphemeralLag publishes to a channel that nobody reads and that keeps
// nothing on disk. Publishers must not wait for it.
func TestEphemeralLag(t *testing.T) {
	for _, names := range [][2]string{{"t", "c#ephemeral"}, {"t#ephemeral", "c"}, {"t#ephemeral", "c#ephemeral"}} {
		t.Run(strings.Join(names[:], " "), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, t.TempDir(), func(s *Settings) { s.MemoryMessages = 1000 })
				topic := r.topic(names[0])
				c := subscribe(t, topic, names[1], 1)
				other := subscribe(t, topic, "other#ephemeral", 2500)
				for n := range 5000 {
					publish(t, topic, n, n+1, 10_000)
					other.consume(1)
				}
				noFiles(t, r, "")
				if used := r.memory.used.Load(); used > 30<<20 {
					t.Errorf("%d MB are in use for 1000 messages of 10 kB", used>>20)
				}
				messages := c.consume(900)
				if last := messages[len(messages)-1].number; last > 4999 {
					t.Errorf("the last message is number %d", last)
				}
				c.close()
				other.close()
			})
		})
	}
}

// TestDeleteWhileBusy deletes topics while their disk workers are busy, and
// after a restart, when nobody has touched what is on disk. No file may stay.
func TestDeleteWhileBusy(t *testing.T) {
	dir := t.TempDir()
	memoryless := func(s *Settings) { s.MemoryMessages = 0 }
	r := start(t, dir, memoryless)
	for i := range 50 {
		topic := r.topic("t")
		if err := topic.CreateChannel("c"); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := 0; ; n++ {
				if err := topic.Publish([][]byte{body(n, 100_000)}); err != nil {
					mustFail(t, err, ErrGone)
					return
				}
			}
		})
		for range i % 7 {
			topic.mu.Lock()
			progress := topic.progress
			topic.mu.Unlock()
			<-progress
		}
		if err := r.DeleteTopic("t"); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	noFiles(t, r, "")

	r = start(t, dir, memoryless)
	publish(t, r.topic("t"), 0, 1000, 10_000)
	if err := r.topic("t").CreateChannel("c"); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if len(files(t, r)) == 0 {
		t.Fatal("nothing is on disk")
	}
	r = start(t, dir, memoryless)
	if err := r.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	noFiles(t, r, "")
}

// TestRestingDisk checks that a topic with messages on disk that nobody
// publishes to or reads keeps no file open.
func TestRestingDisk(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("open files are counted in /proc")
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), func(s *Settings) { s.MemoryMessages = 0 })
		topic := r.topic("t")
		c := subscribe(t, topic, "c", 100)
		next := 0
		for round := range 3 {
			publish(t, topic, 1000*round, 1000*round+1000, 1000)
			r.rest(topic)
			if openFiles(t, r.spill.Dir) == 0 {
				t.Fatal("no file is open after a publish")
			}
			time.Sleep(idleAfter * 3 / 4)
			some := c.consume(100) // the topic reads a little
			inOrder(t, some, next)
			next += len(some)
			time.Sleep(3 * idleAfter)
			synctest.Wait()
			if n := openFiles(t, r.spill.Dir); n > 0 {
				t.Errorf("%d files are open", n)
			}
		}
		inOrder(t, c.consume(3000-next), next)
		c.close()
	})
}

// openFiles counts the open files below dir, where that can be done.
func openFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if path, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(path, dir) {
			n++
		}
	}
	return n
}
