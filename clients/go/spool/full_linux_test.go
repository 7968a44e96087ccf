package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestDiskFull: where there is no room for a byte, not even for new positions, what was put
// is read all the same, by the process that has put it and by the next.
func TestDiskFull(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("a small disk is for root alone: ", err)
	}
	t.Cleanup(func() { check(t, syscall.Unmount(disk, 0)) })
	dir := filepath.Join(disk, "spool")
	long := strings.Repeat("x", 3000)
	for _, crashed := range []bool{false, true} {
		s, err := Open(Config{Dir: dir})
		check(t, err)
		var put []string
		for err == nil {
			record := long[:3000-len(put)]
			if err = s.Put([]byte(record)); err == nil {
				put = append(put, record)
			}
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		others := filepath.Join(disk, "others")
		fillUp(t, others)
		if crashed {
			check(t, s.dir.Close()) // the lock goes with the process
			s, err = Open(Config{Dir: dir})
			check(t, err)
		}
		if got := drain(t, s); !slices.Equal(got, put) {
			t.Errorf("crashed %v: of %d records, %d came back, or others", crashed, len(put), len(got))
		}
		check(t, s.Close())
		check(t, os.Remove(others))
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("crashed %v: %v is left", crashed, left)
		}
	}
}

// fillUp writes a file until the disk has no room.
func fillUp(t *testing.T, path string) {
	f, err := os.Create(path)
	check(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 512))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	check(t, f.Close())
}

// TestNoFileToBeHad: a process that has no file left to open cannot read what is there, and
// loses nothing of it.
func TestNoFileToBeHad(t *testing.T) {
	s := openIn(t, Config{Dir: t.TempDir()}, 1<<20)
	putAll(t, s, numbered(0, 3))
	_, err := s.Peek()
	check(t, err)
	check(t, s.Drop())
	giveBack := takeFiles(t)
	if record, err := s.Peek(); err == nil {
		t.Errorf("%q was read", record)
	}
	giveBack()
	if got := drain(t, s); !slices.Equal(got, numbered(1, 3)) {
		t.Errorf("%q", got)
	}
}

// takeFiles leaves the process without a file to open, until the function returned is called.
func takeFiles(t *testing.T) (giveBack func()) {
	var was syscall.Rlimit
	check(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	check(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: min(was.Cur, 128), Max: was.Max}))
	var taken []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		check(t, err)
		taken = append(taken, f)
	}
	return func() {
		for _, f := range taken {
			check(t, f.Close())
		}
		check(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was))
	}
}
