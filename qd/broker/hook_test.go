package broker

import "github.com/millrace-mq/millrace/qd/disk"

// hooked is a file system that calls before with what is about to be done to
// it, outside all locks of the disk below. It is not done after an error.
type hooked struct {
	disk.FS
	before func(op, path string) error
}

func (h hooked) Create(path string) (disk.File, error) {
	if err := h.before("create", path); err != nil {
		return nil, err
	}
	f, err := h.FS.Create(path)
	if err != nil {
		return nil, err
	}
	return hookedFile{f, path, h.before}, nil
}

func (h hooked) Open(path string) (disk.File, error) {
	if err := h.before("open", path); err != nil {
		return nil, err
	}
	f, err := h.FS.Open(path)
	if err != nil {
		return nil, err
	}
	return hookedFile{f, path, h.before}, nil
}

func (h hooked) Rename(from, to string) error {
	if err := h.before("rename", from); err != nil {
		return err
	}
	return h.FS.Rename(from, to)
}

func (h hooked) Remove(path string) error {
	if err := h.before("remove", path); err != nil {
		return err
	}
	return h.FS.Remove(path)
}

func (h hooked) SyncDir(dir string) error {
	if err := h.before("sync", dir); err != nil {
		return err
	}
	return h.FS.SyncDir(dir)
}

// hookedFile is an open file of it.
type hookedFile struct {
	disk.File
	path   string
	before func(op, path string) error
}

func (f hookedFile) WriteAt(off int64, buffers ...[]byte) error {
	if err := f.before("write", f.path); err != nil {
		return err
	}
	return f.File.WriteAt(off, buffers...)
}

func (f hookedFile) Sync() error {
	if err := f.before("sync", f.path); err != nil {
		return err
	}
	return f.File.Sync()
}
