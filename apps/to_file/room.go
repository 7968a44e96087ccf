package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/millrace-mq/millrace/apps/to_file/archive"
)

// How much room a disk must have, in bytes, to be used again after it was full:
// at least so much that it is not full again with the next line, and at most so
// much that looking for it is no burden.
const (
	leastRoom = 64 << 10
	mostRoom  = 4 << 20
)

// room finds out whether directories have room again. It writes, since no figure
// that a file system tells of itself knows of quotas, reserves and inodes.
type room struct {
	fs   archive.FS
	dirs []string
	name string // of the file that it writes and removes
}

// has returns nil if each directory takes so many bytes, and archive.ErrNoSpace if
// one has no room for them.
func (r room) has(bytes int) error {
	for _, dir := range r.dirs {
		if err := r.try(filepath.Join(dir, r.name), min(bytes, mostRoom)); err != nil {
			return fmt.Errorf("look for room in %s: %w", dir, err)
		}
	}
	return nil
}

func (r room) try(path string, bytes int) error {
	f, err := r.fs.Open(path, archive.Continue)
	if err != nil {
		return asNoSpace(err)
	}
	err = fill(f, bytes)
	err = errors.Join(err, f.Close())
	// Of two programs that look for room in one directory, one removes it.
	if gone := r.fs.Remove(path); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return asNoSpace(err)
}

// fill writes and syncs: some file systems find out only then that they are full.
func fill(f archive.File, bytes int) error {
	piece := make([]byte, leastRoom)
	for bytes > 0 {
		n, err := f.Write(piece[:min(bytes, len(piece))])
		if err != nil {
			return err
		}
		bytes -= n
	}
	return f.Sync()
}

func asNoSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", archive.ErrNoSpace, err)
	}
	return err
}

// turns bounds how many files are worked on at once. Each that waits for the disk takes a
// thread, and a process with thousands of topics must not have as many.
type turns chan struct{}

// atOnce is how many. A disk that syncs many at once takes little longer than for one.
const atOnce = 64

func (t turns) do(work func() error) error {
	t <- struct{}{}
	defer func() { <-t }()
	return work()
}
