package archive

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// FS is the part of a file system that an Archive needs. Errors match
// fs.ErrExist and fs.ErrNotExist where they mean that, and the system's error
// numbers where those decide what is done: ENOSPC and EDQUOT, and what Link
// says where there are no links.
type FS interface {
	// Exists reports whether there is anything called path. That there is
	// nothing is no error.
	Exists(path string) (bool, error)
	Mkdir(path string) error
	// List returns the names of what is in a directory, in no order. That the
	// directory is missing is no error.
	List(path string) (files, dirs []string, err error)
	// Open opens a file for appending and reading.
	Open(path string, mode Mode) (File, error)
	// Link gives a file a second name, which must not exist.
	Link(from, to string) error
	// Rename gives a file another name, which must not exist. It is for file
	// systems without links.
	Rename(from, to string) error
	// Same reports whether two names that exist are those of one file.
	Same(a, b string) (bool, error)
	Remove(path string) error
	// RemoveDir removes a directory that is empty.
	RemoveDir(path string) error
	// SyncDir returns once the entries of a directory are on the device.
	SyncDir(path string) error
	// Lock opens a small file, creates it if it is missing, and keeps it from
	// every other process (and every other Lock) until it is closed or the
	// process ends. It does not wait: ErrLocked says that somebody has it.
	Lock(path string) (LockFile, error)
}

// ErrLocked is the error of FS.Lock when somebody else has the file.
var ErrLocked = errors.New("locked by another process")

// Mode says which files Open opens.
type Mode int

// The modes of Open.
const (
	Continue Mode = iota // one that exists, or a new one
	Create               // a new one: that it exists is fs.ErrExist
	Existing             // one that exists
)

// File is an open file. Writes go to its end.
type File interface {
	io.Writer
	io.ReaderAt
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Truncate cuts the file off.
	Truncate(size int64) error
	// Lock tells the other processes that have the file open: alone makes it
	// this File's only, unless others have locked it, and does not wait. Else it
	// is shared, and waits for who has it alone. A second Lock takes the place of
	// the first, which is gone even if the second fails; Close ends both.
	Lock(alone bool) (ok bool, err error)
	// Sync returns once what was written is on the device.
	Sync() error
	// Named reports whether the file has a name still: what is written to one
	// that was removed is nowhere.
	Named() (bool, error)
	Close() error
}

// LockFile is a file that Lock has returned.
type LockFile interface {
	io.ReaderAt
	io.WriterAt
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
// #nosec G301 -- for its user and whoever he allows: the umask decides
func (OS) Mkdir(path string) error { return os.Mkdir(path, 0o770) }

// List implements FS.
func (OS) List(path string) (files, dirs []string, err error) {
	// Not os.ReadDir, which would sort a hundred thousand names for nothing.
	// #nosec G304 -- below a directory that the operator has named; topics' names have no slash
	d, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	entries, err := d.ReadDir(-1)
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, e.Name())
		} else if e.Type().IsRegular() {
			files = append(files, e.Name())
		}
	}
	return files, dirs, errors.Join(err, d.Close())
}

// Open implements FS.
func (OS) Open(path string, mode Mode) (File, error) {
	flag := os.O_RDWR | os.O_APPEND
	switch mode {
	case Continue:
		flag |= os.O_CREATE
	case Create:
		flag |= os.O_CREATE | os.O_EXCL
	}
	// #nosec G304 G302 -- below a directory that the operator has named; who may read it is for the umask to say, as with a shell's files
	f, err := os.OpenFile(path, flag, 0o666)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Link implements FS.
func (OS) Link(from, to string) error { return os.Link(from, to) }

// Rename implements FS. Between the look at the new name and the renaming
// somebody else could take it: file systems without links have nothing better
// that works on all of them.
func (OS) Rename(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.EEXIST}
	}
	return os.Rename(from, to)
}

// Same implements FS.
func (OS) Same(a, b string) (bool, error) {
	ia, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	ib, err := os.Stat(b)
	return err == nil && os.SameFile(ia, ib), err
}

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// RemoveDir implements FS.
func (OS) RemoveDir(path string) error { return os.Remove(path) }

// SyncDir implements FS.
func (OS) SyncDir(path string) error {
	// #nosec G304 -- below a directory that the operator has named; topics' names have no slash
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

// Lock implements FS.
func (OS) Lock(path string) (LockFile, error) {
	for {
		// #nosec G304 G302 -- below a directory that the operator has named; who may read it is for the umask to say, as with a shell's files
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		ok, err := flock(f, true)
		if err == nil && !ok {
			err = ErrLocked
		}
		if err != nil {
			_ = f.Close() // nothing was written
			return nil, err
		}
		// Who had it may have removed it before letting it go: then it is nobody's
		// name any more, and a lock on it keeps nobody out.
		mine, err := f.Stat()
		if err == nil {
			var there fs.FileInfo
			there, err = os.Stat(path)
			if err == nil && os.SameFile(mine, there) {
				return f, nil
			}
		}
		_ = f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Named() (bool, error) {
	info, err := f.Stat()
	if err != nil || !removed(info) {
		return err == nil, err
	}
	// A file system may count names wrongly.
	there, err := os.Stat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(info, there), err
}

func (f osFile) Lock(alone bool) (bool, error) { return flock(f.File, alone) }
