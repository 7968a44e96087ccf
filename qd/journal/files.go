package journal

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"sync"

	"github.com/millrace-mq/millrace/qd/disk"
)

// maxIdle is how many files stay open that nobody is using.
const maxIdle = 3

// files are the open files of a log. A file is closed when nobody uses it and
// it is not one of the last used, or its segment is gone.
type files struct {
	fs disk.FS

	mu     sync.Mutex // guards below; never held across I/O
	open   []*handle  // least recently used first
	closed bool
}

// handle is an open segment.
type handle struct {
	file disk.File
	seg  *segment
	refs int  // guarded by files.mu
	gone bool // to be closed by the last user; not in files.open
}

// acquire opens the segment's file, or shares it; release gives it back.
func (f *files) acquire(seg *segment) (*handle, error) {
	if h, err := f.share(seg); h != nil || err != nil {
		return h, err
	}
	file, err := f.fs.Open(seg.path)
	if err != nil {
		return nil, fmt.Errorf("opening segment %s: %w", seg.path, err)
	}
	// Somebody may have opened it meanwhile: one descriptor is enough.
	if h, err := f.share(seg); h != nil || err != nil {
		return h, errors.Join(err, file.Close())
	}
	return f.adopt(seg, file), nil
}

// share returns the handle of an open segment, or nil.
func (f *files) share(seg *segment) (*handle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fmt.Errorf("opening segment %s: %w", seg.path, iofs.ErrClosed)
	}
	i := slices.IndexFunc(f.open, func(h *handle) bool { return h.seg == seg })
	if i < 0 {
		return nil, nil
	}
	h := f.open[i]
	h.refs++
	f.open = append(slices.Delete(f.open, i, i+1), h)
	return h, nil
}

// adopt takes over a file; the caller has a share of it.
func (f *files) adopt(seg *segment, file disk.File) *handle {
	h := &handle{file: file, seg: seg, refs: 1}
	f.mu.Lock()
	f.open = append(f.open, h)
	f.mu.Unlock()
	return h
}

// release gives back a share and closes what has been idle longest.
func (f *files) release(h *handle) {
	f.mu.Lock()
	h.refs--
	keep := maxIdle
	if f.closed {
		keep = 0
	}
	old := f.idleLocked(keep)
	if h.gone && h.refs == 0 {
		old = append(old, h)
	}
	f.mu.Unlock()
	_ = closeAll(old)
}

// idleLocked takes the idle handles except the keep last used out of the list.
func (f *files) idleLocked(keep int) []*handle {
	idle := 0
	for _, h := range f.open {
		if h.refs == 0 {
			idle++
		}
	}
	if idle <= keep {
		return nil
	}
	var old []*handle
	f.open = slices.DeleteFunc(f.open, func(h *handle) bool {
		if h.refs > 0 || idle <= keep {
			return false
		}
		idle--
		old = append(old, h)
		return true
	})
	return old
}

// forget closes the file of a segment that is gone, once nobody reads it.
func (f *files) forget(seg *segment) {
	f.mu.Lock()
	var old []*handle
	f.open = slices.DeleteFunc(f.open, func(h *handle) bool {
		if h.seg != seg {
			return false
		}
		h.gone = true
		if h.refs == 0 {
			old = append(old, h)
		}
		return true
	})
	f.mu.Unlock()
	_ = closeAll(old)
}

// rest closes what nobody uses.
func (f *files) rest() {
	f.mu.Lock()
	old := f.idleLocked(0)
	f.mu.Unlock()
	_ = closeAll(old)
}

// close closes what nobody uses, and the rest as soon as its users are done.
func (f *files) close() error {
	f.mu.Lock()
	f.closed = true
	old := f.idleLocked(0)
	f.mu.Unlock()
	return closeAll(old)
}

// closeAll closes files. Errors matter to nobody but Close: what was written is
// vouched for by Sync alone.
func closeAll(handles []*handle) error {
	var errs []error
	for _, h := range handles {
		if err := h.file.Close(); err != nil {
			errs = append(errs, fmt.Errorf("closing segment %s: %w", h.seg.path, err))
		}
	}
	return errors.Join(errs...)
}
