package disktest

import (
	"cmp"
	"io/fs"
	"math"
	"math/rand/v2"
	"syscall"
)

// never is the number of an operation that does not come.
const never = math.MaxInt

// faults is what is to fail. Operations that change the disk (Create, WriteAt,
// Sync, Truncate, Rename, Remove, MkdirAll, SyncDir) and those that read it
// (Open, ReadAt, Size, List, Space) are counted apart.
type faults struct {
	writes, reads     int // so far
	failWrite         int // number of the write that fails
	failRead          int
	dead              int // number of the first write that fails with all after it
	writeErr, readErr error
	met               bool
}

func newFaults() faults { return faults{failWrite: never, failRead: never, dead: never} }

func (f *faults) write(op, path string) error {
	n := f.writes
	f.writes++
	switch {
	case n >= f.dead:
		return f.fail(op, path, syscall.EIO)
	case n == f.failWrite:
		return f.fail(op, path, f.writeErr)
	}
	return nil
}

func (f *faults) read(op, path string) error {
	n := f.reads
	f.reads++
	switch {
	case f.writes > f.dead:
		return f.fail(op, path, syscall.EIO)
	case n == f.failRead:
		return f.fail(op, path, f.readErr)
	}
	return nil
}

func (f *faults) fail(op, path string, err error) error {
	f.met = true
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// FailAt makes the n-th from now of the operations that change the disk fail
// with err, wrapped in an *fs.PathError; nil stands for EIO. The next one is
// number 0. An operation that fails has changed nothing, except a WriteAt after
// Tear, and a Sync, which gives up what it was to make durable. Only the last
// FailAt counts.
func (d *Disk) FailAt(n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults.failWrite, d.faults.writeErr = d.faults.writes+n, cmp.Or(err, error(syscall.EIO))
	d.faults.met = false
}

// FailReadAt is FailAt for the operations that read.
func (d *Disk) FailReadAt(n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults.failRead, d.faults.readErr = d.faults.reads+n, cmp.Or(err, error(syscall.EIO))
	d.faults.met = false
}

// FailAlways makes the n-th from now of the operations that change the disk,
// and every operation after it, reads too, fail with EIO: the disk has died.
func (d *Disk) FailAlways(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults.dead, d.faults.met = d.faults.writes+n, false
}

// Heal takes back what FailAt, FailReadAt and FailAlways have planned.
func (d *Disk) Heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults.failWrite, d.faults.failRead, d.faults.dead = never, never, never
}

// Operations is how many operations that change the disk there were so far.
func (d *Disk) Operations() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults.writes
}

// Reads is how many operations that read there were so far.
func (d *Disk) Reads() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults.reads
}

// Failed reports whether an operation has failed as planned since the last
// plan was made.
func (d *Disk) Failed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults.met
}

// Tear makes each WriteAt that fails as planned write a random part of its
// bytes first, from the beginning on: none, all, or anything between. The disk
// owns rng from now on. With nil nothing is written.
func (d *Disk) Tear(rng *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tear = rng
}

// SetCapacity makes the disk so many bytes large; files that take more already
// stay. A WriteAt without room for all of its bytes writes those from the
// beginning on that there is room for and returns ENOSPC. Only the bytes of
// files take room, those of removed files while they are open too.
func (d *Disk) SetCapacity(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = bytes
}
