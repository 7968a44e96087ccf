// Package disk is what a daemon asks of a file system: so little that tests can
// play it by a disk in memory that fails, tears writes, and forgets at a crash
// what was not synced.
//
// What is promised is what POSIX promises. A file's bytes survive a power cut
// once Sync of the file has returned; its name, once SyncDir of its directory
// has, for a directory's own name SyncDir of the parent. A process that is
// killed loses nothing that WriteAt had returned from.
package disk

import "io"

// FS is a file system. Paths are those of the operating system. Its methods
// may be called by several goroutines at once. Errors wrap fs.ErrNotExist and
// fs.ErrExist where that is the reason.
type FS interface {
	// MkdirAll creates a directory and what is missing above it.
	MkdirAll(dir string) error
	// Create makes a new, empty file, open for reading and writing. It is an
	// error (fs.ErrExist) if there is one.
	Create(path string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(path string) (File, error)
	// Rename gives a file or directory another name, in place of a file that
	// had it.
	Rename(from, to string) error
	// Remove deletes a file or an empty directory.
	Remove(path string) error
	// List returns the names in a directory, sorted.
	List(dir string) ([]string, error)
	// SyncDir makes the names in a directory survive a power cut.
	SyncDir(dir string) error
	// Space is how many bytes may still be written to the file system of dir, and
	// how many it has in all; 0 if that is not known.
	Space(dir string) (free, size uint64, err error)
}

// File is an open file. ReadAt may be called while anything else is; the other
// methods by one goroutine at a time, except that Sync may run beside WriteAt.
type File interface {
	io.ReaderAt
	// WriteAt writes the buffers one behind the other, from offset off on. After
	// an error any part of them may have been written.
	WriteAt(off int64, buffers ...[]byte) error
	// Sync returns when all that was written before the call is on the device.
	// After an error none of it may ever get there, even if a later Sync
	// succeeds, though reads see it, those of the next process too. Only what is
	// written again can be synced again.
	Sync() error
	// Truncate makes the file so many bytes long.
	Truncate(size int64) error
	// Size is the file's length in bytes.
	Size() (int64, error)
	Close() error
}
