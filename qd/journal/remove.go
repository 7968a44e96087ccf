package journal

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
)

// minRoll is how large the last segment must be for RemoveBefore to replace it.
const minRoll = 1 << 20

// RemoveBefore removes the segments that have no message at or behind pos,
// oldest first. The last one goes only if it has more than 1 MiB, because an
// empty one, whose name keeps End, must be begun in its place. Readers that are
// reading a removed segment finish.
func (l *Log) RemoveBefore(pos uint64) error {
	if l.isClosed() {
		return l.errClosed("removing from")
	}
	for {
		l.mu.RLock()
		var s *segment
		if len(l.segments) > 0 && l.segments[0].limit <= pos {
			s = l.segments[0]
		}
		last := len(l.segments) == 1
		large := s != nil && s.size > minRoll
		l.mu.RUnlock()
		if s == nil || last && !large {
			return nil
		}
		if err := l.remove(s); err != nil {
			return err
		}
	}
}

// RemoveSegment removes one segment of a sparse log; if it is the last, an empty
// one is begun in its place, whose name keeps End, unless it is empty itself. It
// is no error if the segment is not there.
func (l *Log) RemoveSegment(number uint64) error {
	if l.isClosed() {
		return l.errClosed("removing from")
	}
	l.mu.RLock()
	i := slices.IndexFunc(l.segments, func(s *segment) bool { return s.number == number })
	var s *segment
	if i >= 0 && (i+1 < len(l.segments) || l.segments[i].size > segmentHeaderSize) {
		s = l.segments[i]
	}
	l.mu.RUnlock()
	if s == nil {
		return nil
	}
	return l.remove(s)
}

// remove deletes a segment. Its name is off the device before the next one is
// removed: a hole in the row of numbers would look like damage.
func (l *Log) remove(s *segment) error {
	l.mu.RLock()
	last := s == l.lastLocked()
	l.mu.RUnlock()
	if last {
		if err := l.beginEmpty(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	i := slices.Index(l.segments, s)
	l.segments = slices.Delete(l.segments, i, i+1)
	l.mu.Unlock()
	if err := l.fs.Remove(s.path); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		l.mu.Lock()
		l.segments = slices.Insert(l.segments, i, s)
		l.mu.Unlock()
		return fmt.Errorf("removing segment %s: %w", s.path, err)
	}
	l.files.forget(s)
	if s.broken != nil {
		_ = l.fs.Remove(s.path + unsafeSuffix) // without its segment it says nothing
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("syncing the directory %s: %w", l.dir, err)
	}
	return nil
}

// beginEmpty begins a segment that holds nothing but End, and returns when it is
// on the device: without it the positions would begin anew after a crash.
func (l *Log) beginEmpty() error {
	t, err := l.create(l.End())
	if err != nil {
		return err
	}
	var b [segmentHeaderSize]byte
	h := l.headerOf(t.seg)
	h.put(b[:])
	if err := t.file.file.WriteAt(0, b[:]); err != nil {
		l.undo(&t)
		return fmt.Errorf("writing to segment %s: %w", t.seg.path, err)
	}
	if err := l.syncTarget(&t); err != nil {
		return err
	}
	l.publish(&t, nil, segmentHeaderSize, true)
	return nil
}
