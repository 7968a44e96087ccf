package journal

import (
	"fmt"
	"path/filepath"
)

// syncTarget brings a commit to the device, with its segment's name.
func (l *Log) syncTarget(t *target) error {
	l.syncing.Lock()
	if err := l.brokenBy(t.seg); err != nil {
		// A Sync beside the write has failed: another that succeeds means nothing.
		l.syncing.Unlock()
		return err
	}
	start := l.clock()
	err := t.file.file.Sync()
	l.took(CommitSync, start)
	written := err == nil
	if written {
		err = l.syncNames(t.fresh || !l.isNamed(t.seg))
	} else if err = fmt.Errorf("syncing segment %s: %w", t.seg.path, err); !t.fresh {
		l.fail(t.seg, err) // before another sync of it can succeed
	}
	l.syncing.Unlock()
	if err == nil {
		l.mu.Lock()
		t.seg.named = true
		l.mu.Unlock()
	} else if t.fresh || written {
		l.undo(t)
	}
	return err
}

func (l *Log) isNamed(s *segment) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return s.named
}

// brokenBy is why a sync of s has failed, or nil.
func (l *Log) brokenBy(s *segment) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return s.broken
}

// fail notes that a sync of s has failed. A mark beside the file says so to the
// next process, if this one is killed: it would read the records from the
// kernel's memory, and its syncs would succeed without writing them.
func (l *Log) fail(s *segment, err error) {
	l.mu.Lock()
	s.broken, s.sealed = err, true
	l.mu.Unlock()
	if mark, err := l.fs.Create(s.path + unsafeSuffix); err == nil {
		_ = mark.Close() // as good as it gets: the disk is failing
	}
}

// Sync returns when everything committed before the call is on the device. After
// an error, what was committed since the last successful sync may not survive a
// power cut, and Sync fails until the next Commit has written it anew.
func (l *Log) Sync() error {
	if l.isClosed() {
		return l.errClosed("syncing")
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	dirty, names, err := l.unsynced()
	if err != nil {
		return err
	}
	for _, d := range dirty {
		if err := l.syncSegment(d); err != nil {
			return err
		}
	}
	if err := l.syncNames(len(names) > 0); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range names {
		s.named = true
	}
	return nil
}

// unsyncedPart is what of a segment is to be synced: all before the mark.
type unsyncedPart struct {
	seg *segment
	to  mark
}

// unsynced lists what is to be synced. It is an error if a sync has failed and
// what was lost has not been written anew.
func (l *Log) unsynced() (dirty []unsyncedPart, names []*segment, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.segments {
		if s.unsafe() {
			return nil, nil, fmt.Errorf("not yet written anew: %w", s.broken)
		}
		if s.safe.off < s.size && s.broken == nil {
			dirty = append(dirty, unsyncedPart{s, mark{s.limit, s.size}})
		}
		if !s.named {
			names = append(names, s)
		}
	}
	return dirty, names, nil
}

func (l *Log) syncSegment(d unsyncedPart) error {
	file, err := l.files.acquire(d.seg)
	if err != nil {
		if !l.holds(d.seg) {
			return nil // removed meanwhile
		}
		return err
	}
	defer l.files.release(file)
	start := l.clock()
	err = file.file.Sync()
	l.took(Sync, start)
	if err != nil {
		err = fmt.Errorf("syncing segment %s: %w", d.seg.path, err)
		l.fail(d.seg, err)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.to.off > d.seg.safe.off {
		d.seg.safe = d.to
	}
	return nil
}

// syncNames brings the names of the log to the device: those in its directory if
// asked for or if one must be off it, and its own if that is not known to be
// there. l.syncing is held.
func (l *Log) syncNames(inside bool) error {
	l.mu.RLock()
	loose, unlinked := l.loose, l.unlinked
	l.mu.RUnlock()
	if inside || loose > 0 {
		if err := l.fs.SyncDir(l.dir); err != nil {
			return fmt.Errorf("syncing the directory %s: %w", l.dir, err)
		}
	}
	if unlinked {
		parent := filepath.Dir(l.dir)
		if err := l.fs.SyncDir(parent); err != nil {
			return fmt.Errorf("syncing the directory %s: %w", parent, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loose -= loose // not 0: a commit may have failed meanwhile
	l.unlinked = l.unlinked && !unlinked
	return nil
}
