package journal

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"

	"github.com/millrace-mq/millrace/qd/disk"
)

// rescue writes anew what a failed sync has left in doubt: every record that was
// committed and is not known to be on the device, from the first such on to the
// end of the log. The kernel may have dropped their pages, so that neither a
// later sync of the old file nor an append to it would be of use.
//
// The copy gets its name, which covers the old records, only when it is on the
// device as a whole. Otherwise a crash could leave an empty file in place of
// records that other syncs had vouched for.
func (l *Log) rescue() error {
	l.mu.RLock()
	var from *segment
	var at mark
	for _, s := range l.segments {
		if s.unsafe() {
			from, at = s, s.safe
			break
		}
	}
	l.mu.RUnlock()
	if from == nil {
		return nil
	}
	s, err := l.newSegment(at.pos)
	if err != nil {
		return err
	}
	file, err := l.writeCopy(s, from, at)
	if err != nil {
		return fmt.Errorf("writing anew what a failed sync left in doubt (%w): %w", from.broken, err)
	}
	l.dropOut()
	l.out = l.files.adopt(s, file)
	var marked []*segment
	l.mu.Lock()
	l.addLocked(s)
	s.limit = l.end
	s.safe = mark{l.end, s.size}
	for _, old := range l.segments {
		// What they hold before s was safe, and the rest is covered.
		if old.number >= from.number && old != s {
			if old.broken != nil {
				marked = append(marked, old)
			}
			old.safe, old.broken = mark{old.limit, old.size}, nil
		}
	}
	l.mu.Unlock()
	for _, old := range marked {
		// A mark that stays costs another copy at the next start, no more.
		_ = l.fs.Remove(old.path + unsafeSuffix)
	}
	return nil
}

// writeCopy makes the file of segment s with all records from the place at in
// segment from on, brings it to the device and gives it its name.
func (l *Log) writeCopy(s, from *segment, at mark) (disk.File, error) {
	temporary := s.path + copySuffix
	if err := l.fs.Remove(temporary); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, fmt.Errorf("removing %s: %w", temporary, err)
	}
	file, err := l.fs.Create(temporary)
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", temporary, err)
	}
	c := copier{seg: s, file: file}
	h := l.headerOf(s)
	c.buffer = make([]byte, segmentHeaderSize, recordsAhead)
	h.put(c.buffer)
	err = c.copyFrom(l, from, at)
	if err == nil {
		err = c.flush()
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = l.fs.Rename(temporary, s.path)
	}
	if err != nil {
		err = fmt.Errorf("copying to %s: %w", temporary, err)
		return nil, errors.Join(err, file.Close(), l.fs.Remove(temporary))
	}
	s.size = c.off
	return file, nil
}

// copier writes records to another segment.
type copier struct {
	seg    *segment
	file   disk.File
	buffer []byte
	off    int64 // of buffer in the file, and at last the size
}

func (c *copier) flush() error {
	if err := c.file.WriteAt(c.off, c.buffer); err != nil {
		return err
	}
	c.off += int64(len(c.buffer))
	c.buffer = c.buffer[:0]
	return nil
}

// copyFrom copies all records from a place on. Those that are damaged are
// reported and left out.
func (c *copier) copyFrom(l *Log, from *segment, at mark) error {
	r := l.newReader(recordsAhead)
	defer r.close()
	if err := r.enter(from, at); err != nil {
		return err
	}
	pos := at.pos
	h, err := r.walk(pos)
	for {
		if err == io.EOF {
			pos = max(pos, r.limit)
			if h, err = r.seek(pos); err == io.EOF {
				return nil
			}
		}
		if err != nil {
			return err
		}
		if err := c.record(r, h); err != nil {
			return err
		}
		pos = max(pos, h.End())
		h, err = r.header()
	}
}

// record copies the record at r, and goes behind it.
func (c *copier) record(r *reader, h Header) error {
	ok, err := r.verify(&h)
	if err != nil {
		return err
	}
	if !ok {
		r.corrupt(&h)
		return nil
	}
	if c.seg.addMark(mark{h.Position, c.off + int64(len(c.buffer))}); !c.seg.known {
		c.seg.oldest, c.seg.lowID, c.seg.known = h.Published, h.FirstID, true
	}
	var b [recordHeaderSize]byte
	copied := h
	copied.salt = c.seg.salt
	copied.put(b[:])
	c.buffer = append(c.buffer, b[:]...)
	err = r.body(&h, 0, int64(h.Length), func(b []byte) error {
		c.buffer = append(c.buffer, b...)
		if len(c.buffer) < recordsAhead {
			return nil
		}
		return c.flush()
	})
	r.skip(&h)
	return err
}
