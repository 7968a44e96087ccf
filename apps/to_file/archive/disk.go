package archive

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// FS is the part of a file system that an Archive needs. Errors match
// fs.ErrExist and fs.ErrNotExist where they mean that.
type FS interface {
	// Exists reports whether there is anything called path. That there is
	// nothing is no error.
	Exists(path string) (bool, error)
	Mkdir(path string) error
	// Open opens a file for appending and reading and creates it if it is
	// missing. With exclusive set, one that exists is fs.ErrExist.
	Open(path string, exclusive bool) (File, error)
	// Link gives a file a second name, which must not exist.
	Link(from, to string) error
	Remove(path string) error
	// SyncDir returns once the entries of a directory are on the device.
	SyncDir(path string) error
}

// File is an open file. Writes go to its end.
type File interface {
	io.Writer
	io.ReaderAt
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Sync returns once what was written is on the device.
	Sync() error
	Close() error
}

// OS is the operating system's file system. Directories are created with mode
// 0770 and files with 0666, less what the process's umask takes away.
type OS struct{}

// Exists implements FS.
func (OS) Exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Mkdir implements FS.
func (OS) Mkdir(path string) error { return os.Mkdir(path, 0o770) }

// Open implements FS.
func (OS) Open(path string, exclusive bool) (File, error) {
	flag := os.O_RDWR | os.O_CREATE | os.O_APPEND
	if exclusive {
		flag |= os.O_EXCL
	}
	f, err := os.OpenFile(path, flag, 0o666)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Link implements FS.
func (OS) Link(from, to string) error { return os.Link(from, to) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir implements FS.
func (OS) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		// Some network file systems have no such call: their directories are
		// the server's to keep.
		err = nil
	}
	return errors.Join(err, d.Close())
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
