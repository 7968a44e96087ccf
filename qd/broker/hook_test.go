package broker

import "github.com/millrace-mq/millrace/qd/disk"

// hooked is a file system that calls before with what is about to be done to
// it, outside all locks of the disk below.
type hooked struct {
	disk.FS
	before func(op, path string)
}

func (h hooked) Create(path string) (disk.File, error) {
	h.before("create", path)
	f, err := h.FS.Create(path)
	return hookedFile{f, path, h.before}, err
}

func (h hooked) Open(path string) (disk.File, error) {
	h.before("open", path)
	f, err := h.FS.Open(path)
	return hookedFile{f, path, h.before}, err
}

func (h hooked) Rename(from, to string) error {
	h.before("rename", from)
	return h.FS.Rename(from, to)
}

func (h hooked) Remove(path string) error {
	h.before("remove", path)
	return h.FS.Remove(path)
}

func (h hooked) SyncDir(dir string) error {
	h.before("sync", dir)
	return h.FS.SyncDir(dir)
}

// hookedFile is an open file of it.
type hookedFile struct {
	disk.File
	path   string
	before func(op, path string)
}

func (f hookedFile) WriteAt(off int64, buffers ...[]byte) error {
	f.before("write", f.path)
	return f.File.WriteAt(off, buffers...)
}

func (f hookedFile) Sync() error {
	f.before("sync", f.path)
	return f.File.Sync()
}
