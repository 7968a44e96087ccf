package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"time"
)

// Usage is what a process has used.
type Usage struct {
	CPU      time.Duration // user and system, since its start
	Resident int64         // bytes now (VmRSS)
	Peak     int64         // bytes at the most (VmHWM)
}

// ReadUsage reads the usage of the process pid from proc, the root of a proc
// file system. CPU is the sum over the threads that live, exact to the
// nanosecond, where the kernel keeps schedstat; else it comes in ticks.
func ReadUsage(proc fs.FS, pid int) (u Usage, err error) {
	dir := strconv.Itoa(pid)
	status, err := fs.ReadFile(proc, path.Join(dir, "status"))
	if err != nil {
		return u, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	if u.Resident, err = kilobytes(status, "VmRSS:"); err != nil {
		return u, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	if u.Peak, err = kilobytes(status, "VmHWM:"); err != nil {
		return u, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	if u.CPU, err = threadTime(proc, dir); errors.Is(err, fs.ErrNotExist) {
		u.CPU, err = tickTime(proc, dir)
	}
	if err != nil {
		return u, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
	}
	return u, nil
}

// kilobytes finds a line such as "VmRSS:	    1234 kB" and returns bytes.
func kilobytes(status []byte, name string) (int64, error) {
	for line := range bytes.Lines(status) {
		f := bytes.Fields(line)
		if len(f) == 3 && string(f[0]) == name {
			n, err := strconv.ParseInt(string(f[1]), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in its status", name)
}

// threadTime sums the first number of every thread's schedstat: nanoseconds
// spent on a CPU. Threads that ended are missing; Go's do not.
func threadTime(proc fs.FS, dir string) (time.Duration, error) {
	files, err := fs.Glob(proc, path.Join(dir, "task/*/schedstat"))
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, fs.ErrNotExist
	}
	var sum time.Duration
	for _, f := range files {
		b, err := fs.ReadFile(proc, f)
		if err != nil {
			continue // the thread ended meanwhile
		}
		first, _, _ := bytes.Cut(b, []byte{' '})
		n, err := strconv.ParseInt(string(first), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n)
	}
	return sum, nil
}

// tick is the unit of /proc/PID/stat on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// tickTime sums utime and stime, the 14th and 15th fields of stat. The 2nd is
// the name in parentheses and may contain anything.
func tickTime(proc fs.FS, dir string) (time.Duration, error) {
	b, err := fs.ReadFile(proc, path.Join(dir, "stat"))
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 13 {
		return 0, errors.New("stat is too short")
	}
	var sum time.Duration
	for _, field := range f[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
