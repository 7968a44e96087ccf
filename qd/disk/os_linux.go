// #nosec G115 -- lengths of buffers in memory and of files, as system calls take them.

package disk

import (
	"io"
	"io/fs"
	"syscall"
	"unsafe"
)

// maxVector is how many buffers pwritev takes at once (IOV_MAX).
const maxVector = 1024

type vector []syscall.Iovec

// writeAll writes the buffers with as few calls of pwritev as there can be.
func (f *osFile) writeAll(off int64, buffers [][]byte) error {
	v := f.vector[:0]
	for _, b := range buffers {
		if len(b) > 0 {
			// #nosec G103 G115 -- pwritev takes addresses and words; the buffers are kept alive until it returns
			iov := syscall.Iovec{Base: unsafe.SliceData(b)}
			iov.SetLen(len(b))
			v = append(v, iov)
		}
	}
	f.vector = v
	err := f.pwritev(off, v)
	clear(v) // so that the buffers can be collected
	if err != nil {
		return &fs.PathError{Op: "pwritev", Path: f.Name(), Err: err}
	}
	return nil
}

// pwritev writes all of v, which it changes.
func (f *osFile) pwritev(off int64, v vector) error {
	fd, err := f.descriptor()
	if err != nil {
		return err
	}
	for len(v) > 0 {
		// The offset is two words, low and high. Where a word holds all of it the
		// kernel shifts the high one out.
		// #nosec G103 G115 -- pwritev takes addresses and words; the buffers are kept alive until it returns
		n, _, errno := syscall.Syscall6(syscall.SYS_PWRITEV, fd, uintptr(unsafe.Pointer(&v[0])),
			uintptr(min(len(v), maxVector)), uintptr(off), uintptr(uint64(off)>>32), 0)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno != 0:
			return errno
		case n == 0:
			return io.ErrShortWrite
		}
		off += int64(n)
		v = v.behind(int(n))
	}
	return nil
}

// behind is what is left of v after its first n bytes, n > 0, were written.
func (v vector) behind(n int) vector {
	for n > 0 && n >= int(v[0].Len) {
		n -= int(v[0].Len)
		v = v[1:]
	}
	if n > 0 {
		// #nosec G103 G115 -- pwritev takes addresses and words; the buffers are kept alive until it returns
		v[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(v[0].Base), n))
		v[0].SetLen(int(v[0].Len) - n)
	}
	return v
}

// Sync leaves out what is not needed to read the data again, such as the time
// of the last change; a new length is not left out.
func (f *osFile) Sync() error {
	fd, err := f.descriptor()
	if err == nil {
		for err = syscall.EINTR; err == syscall.EINTR; {
			err = syscall.Fdatasync(int(fd))
		}
	}
	if err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

func (f *osFile) descriptor() (uintptr, error) {
	if fd := f.Fd(); fd != ^uintptr(0) {
		return fd, nil
	}
	return 0, fs.ErrClosed
}

func space(dir string) (free, size uint64, err error) {
	var s syscall.Statfs_t
	for {
		err := syscall.Statfs(dir, &s)
		if err == nil {
			return s.Bavail * uint64(s.Frsize), s.Blocks * uint64(s.Frsize), nil
		}
		if err != syscall.EINTR {
			return 0, 0, err
		}
	}
}
