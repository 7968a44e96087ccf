package disk

import (
	"io/fs"
	"os"
)

// OS is the operating system's file system. Files are made with mode 0600 and
// directories with 0700, and neither is inherited by programs that are started.
//
// On Linux buffers are written by pwritev, Sync is fdatasync, and Free is what
// a process without privileges may use. Elsewhere each buffer is a write of its
// own, and Free is math.MaxUint64: nothing is known.
var OS FS = osFS{}

type osFS struct{}

func (osFS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (osFS) Create(path string) (File, error) {
	return open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (osFS) Open(path string) (File, error) { return open(path, os.O_RDWR) }

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(path string) error { return os.Remove(path) }

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (osFS) SyncDir(dir string) error {
	// #nosec G304 -- on the data path; names of topics and channels have no slash
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (osFS) Space(dir string) (free, size uint64, err error) {
	if free, size, err = space(dir); err != nil {
		err = &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return free, size, err
}

// osFile is an open file. os.File guards ReadAt against a Close meanwhile;
// that the others do not overlap with Close is the promise of File's users.
type osFile struct {
	*os.File
	vector vector // WriteAt's, kept so that it need not be allocated each time
}

func open(path string, flag int) (File, error) {
	// #nosec G304 -- on the data path; names of topics and channels have no slash
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

func (f *osFile) WriteAt(off int64, buffers ...[]byte) error {
	if len(buffers) == 1 {
		_, err := f.File.WriteAt(buffers[0], off)
		return err
	}
	return f.writeAll(off, buffers)
}

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
