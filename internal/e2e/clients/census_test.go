package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// census is what there is of the clients at a moment.
type census struct {
	goroutines int
	heap       uint64 // bytes in use after a collection
	processes  map[string]process
}

// process is what a process has open, and what it takes.
type process struct {
	threads  int // of Python's; Go keeps its own for ever
	files    []string
	resident int64 // bytes
	objects  int   // of Python's interpreter
}

// What may be there after a round that was not there after the first: a cache, a
// free list, an allocator's page. What leaks for every connection that breaks is
// more: there are some hundred in a round.
const (
	spareHeap     = 4 << 20 // bytes
	spareResident = 24 << 20
	spareObjects  = 3000
)

func (c *chaos) census() census {
	c.Helper()
	now := census{processes: map[string]process{"go": {files: files(c.T, "self")}}}
	for _, of := range c.clients {
		if a, ok := of.(*agent); ok {
			pid := a.pid()
			p := process{objects: a.objects(c.T), files: files(c.T, pid)}
			p.threads, p.resident = status(c.T, pid, "Threads:"), int64(status(c.T, pid, "VmRSS:"))<<10
			now.processes[a.String()] = p
		}
	}
	runtime.GC()
	runtime.GC() // what finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	now.goroutines, now.heap = runtime.NumGoroutine(), m.HeapAlloc
	return now
}

// files are what the process has open, sorted; a socket is as good as another.
func files(t *testing.T, pid string) (names []string) {
	t.Helper()
	links, err := filepath.Glob(filepath.Join("/proc", pid, "fd", "*"))
	must(t, err)
	for _, l := range links {
		if name, err := os.Readlink(l); err == nil { // the one of the listing is gone
			kind, _, _ := strings.Cut(name, ":[")
			names = append(names, kind)
		}
	}
	slices.Sort(names)
	return names
}

// status is a number of /proc/PID/status.
func status(t *testing.T, pid, name string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, err := strconv.Atoi(f[1])
			must(t, err)
			return n
		}
	}
	t.Fatalf("no %s in the status of %s", name, pid)
	return 0
}

// settle waits until all is as it was before the round. Memory is compared with
// what it was after the first one.
func (c *chaos) settle(before census) {
	c.Helper()
	var now census
	var differs string
	deadline := time.Now().Add(patience)
	for {
		now = c.census()
		if differs = now.differs(before); differs == "" || time.Now().After(deadline) {
			break
		}
		time.Sleep(100 * time.Millisecond) // by the real clock: sockets end in the kernel
	}
	if differs != "" {
		stacks := make([]byte, 1<<20)
		c.Errorf("%v after everything was closed: %s\n%s", patience, differs, stacks[:runtime.Stack(stacks, true)])
	}
	if c.round == 1 {
		c.first = now
	}
	for _, line := range now.grown(c.first) {
		c.Errorf("round %d: %s", c.round, line)
	}
	c.Logf("round %d: %d goroutines, heap %d KB; %s", c.round, now.goroutines, now.heap>>10, now.memory())
}

// differs says what of goroutines, threads and open files is not as it was.
func (now census) differs(before census) string {
	var all []string
	if now.goroutines > before.goroutines {
		all = append(all, fmt.Sprintf("%d goroutines, before %d", now.goroutines, before.goroutines))
	}
	for name, p := range now.processes {
		was := before.processes[name]
		if p.threads > was.threads {
			all = append(all, fmt.Sprintf("%s has %d threads, before %d", name, p.threads, was.threads))
		}
		if len(p.files) > len(was.files) {
			all = append(all, fmt.Sprintf("%s has open %v, before %v", name, p.files, was.files))
		}
	}
	return strings.Join(all, "; ")
}

// grown says what memory has grown by more than it may.
func (now census) grown(first census) (all []string) {
	if now.heap > first.heap+spareHeap {
		all = append(all, fmt.Sprintf("the heap has %d KB, after the first round %d", now.heap>>10, first.heap>>10))
	}
	for name, p := range now.processes {
		was := first.processes[name]
		if p.resident > was.resident+spareResident {
			all = append(all, fmt.Sprintf("%s has %d KB resident, after the first round %d", name, p.resident>>10, was.resident>>10))
		}
		if p.objects > was.objects+spareObjects {
			all = append(all, fmt.Sprintf("%s has %d objects, after the first round %d", name, p.objects, was.objects))
		}
	}
	return all
}

func (now census) memory() string {
	var all []string
	for name, p := range now.processes {
		if p.resident > 0 {
			all = append(all, fmt.Sprintf("%s: %d threads, %d files, %d KB resident, %d objects", name, p.threads, len(p.files), p.resident>>10, p.objects))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}
