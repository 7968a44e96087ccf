package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	iofs "io/fs"
)

// Commit writes records behind the end of the log, all or none of them, and if
// sync is set returns when they are on the device. After an error End is as it
// was and the same positions are used by the next commit. Positions must rise
// and may leave gaps. With no records, Commit only makes up for a failed sync.
func (l *Log) Commit(records []Record, sync bool) error {
	if l.isClosed() {
		return l.errClosed("writing to")
	}
	total, err := l.check(records)
	if err != nil {
		return err
	}
	if err := l.rescue(); err != nil {
		return err
	}
	if len(records) == 0 {
		if sync {
			return l.Sync()
		}
		return nil
	}
	t, err := l.target(total, records[0].Position)
	if err != nil {
		return err
	}
	size := l.encode(&t, records)
	if sync {
		err = l.reserve(&t, size)
	}
	if err == nil {
		start := l.clock()
		err = t.file.file.WriteAt(t.off, l.buffers...)
		l.took(Write, start)
	}
	clear(l.buffers) // keep no caller's memory
	if err != nil {
		l.undo(&t)
		return fmt.Errorf("writing to segment %s: %w", t.seg.path, err)
	}
	if sync {
		if err := l.syncTarget(&t); err != nil {
			return err
		}
	}
	l.publish(&t, records, size, sync)
	return nil
}

// reserve makes the file longer than it need be for what a synced commit will
// write, up to the offset to. A sync of bytes within a file's length is the
// device's work alone; one of a file that has grown makes the file system write
// about it, too, which takes about twice as long. Zeroes at the end of the last
// segment are no finding.
func (l *Log) reserve(t *target, to int64) error {
	n := min(reserveBytes, l.options.SegmentBytes/8)
	if to <= t.seg.ahead || to+n > l.options.SegmentBytes {
		return nil
	}
	if err := t.file.file.WriteAt(to, zeroes[:n]); err != nil {
		return err
	}
	t.seg.ahead = to + n
	return nil
}

// reserveBytes is how much longer a file is made at a time, at most.
const reserveBytes = 1 << 20

var zeroes [reserveBytes]byte

// shorten takes off what was reserved in a segment that is not written to any
// more. If it cannot, there are zeroes behind the last record, which nobody
// reads.
func (l *Log) shorten() {
	if l.out == nil {
		return
	}
	s := l.out.seg
	l.mu.RLock()
	size, broken := s.size, s.broken != nil
	l.mu.RUnlock()
	if s.ahead > size && !broken {
		_ = l.out.file.Truncate(size)
	}
	s.ahead = 0
}

// target is where a commit goes.
type target struct {
	seg   *segment
	file  *handle
	off   int64
	fresh bool // seg has been made for this commit and is not yet part of the log
}

// check looks at records before anything is written, and adds up their sizes.
func (l *Log) check(records []Record) (total int64, err error) {
	l.mu.RLock()
	next := l.end
	l.mu.RUnlock()
	for i := range records {
		rec := &records[i]
		h := Header{Position: rec.Position, FirstID: rec.FirstID, Count: rec.Count, Length: rec.length()}
		if rec.Position < next || !h.sane() {
			return 0, fmt.Errorf("log %s at position %d: no such record can be written: position %d, ID %d, %d messages, %d bytes",
				l.dir, next, h.Position, h.FirstID, h.Count, h.Length)
		}
		next = h.End()
		total += h.size()
	}
	return total, nil
}

func (r *Record) length() int {
	n := 0
	for _, b := range r.Frames {
		n += len(b)
	}
	return n
}

// target finds the segment that n bytes go to, and begins one if need be.
func (l *Log) target(n int64, pos uint64) (target, error) {
	if err := l.sweep(); err != nil {
		return target{}, err
	}
	l.mu.RLock()
	s := l.lastLocked()
	first := pos
	if l.begun {
		// Not pos: whatever a failed commit has left behind end must be covered.
		first = l.end
	}
	room := s != nil && !s.sealed && (s.size+n <= l.options.SegmentBytes || s.size == segmentHeaderSize)
	var off int64
	if room {
		off = s.size
	}
	l.mu.RUnlock()
	if !room {
		return l.create(first)
	}
	if l.out == nil || l.out.seg != s {
		l.dropOut()
		file, err := l.files.acquire(s)
		if err != nil {
			return target{}, err
		}
		l.out = file
	}
	return target{seg: s, file: l.out, off: off}, nil
}

// sweep removes the file that a failed commit has left: its name would cover
// what is committed to the segment before.
func (l *Log) sweep() error {
	if l.stale == "" {
		return nil
	}
	if err := l.fs.Remove(l.stale); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return fmt.Errorf("removing what a failed commit has left: %w", err)
	}
	l.stale = ""
	l.mu.Lock()
	l.loose++
	l.mu.Unlock()
	return nil
}

// create makes the file of the next segment. It becomes part of the log when
// something has been written to it.
func (l *Log) create(first uint64) (target, error) {
	s, err := l.newSegment(first)
	if err != nil {
		return target{}, err
	}
	file, err := l.fs.Create(s.path)
	if err != nil {
		return target{}, fmt.Errorf("creating segment %s: %w", s.path, err)
	}
	return target{seg: s, file: l.files.adopt(s, file), fresh: true}, nil
}

// newSegment prepares the next segment, and makes its directory if need be.
func (l *Log) newSegment(first uint64) (*segment, error) {
	if err := l.sweep(); err != nil {
		return nil, err
	}
	if !l.exists {
		if err := l.fs.MkdirAll(l.dir); err != nil {
			return nil, fmt.Errorf("making the log %s: %w", l.dir, err)
		}
		l.exists = true
		l.mu.Lock()
		l.unlinked = true
		l.mu.Unlock()
	}
	l.mu.RLock()
	number := l.nextNumberLocked()
	l.mu.RUnlock()
	return &segment{
		number: number, first: first, salt: newSalt(),
		path: l.path(segmentName(number, first)),
	}, nil
}

// newSalt draws a salt that nobody who publishes can guess: what looks like a record
// inside a message must not be taken for one.
func newSalt() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint32(b[:])
}

// headerOf is the header of a segment about to be written.
func (l *Log) headerOf(s *segment) segmentHeader {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return segmentHeader{number: s.number, first: s.first, synced: l.syncedBelowLocked(s.number), salt: s.salt}
}

// encode lays out in l.buffers what a commit writes, and returns the offset
// behind it.
func (l *Log) encode(t *target, records []Record) int64 {
	need := segmentHeaderSize + len(records)*recordHeaderSize
	if cap(l.arena) < need {
		l.arena = make([]byte, need)
	}
	arena, end := l.arena[:need], t.off
	l.buffers = l.buffers[:0]
	if t.fresh {
		h := l.headerOf(t.seg)
		h.put(arena)
		l.buffers = append(l.buffers, arena[:segmentHeaderSize])
		end = segmentHeaderSize
	}
	arena = arena[segmentHeaderSize:]
	for i := range records {
		rec := &records[i]
		h := Header{
			Kind: rec.Kind, Length: rec.length(), Count: rec.Count, Position: rec.Position, FirstID: rec.FirstID,
			Published: rec.Published, Due: rec.Due, salt: t.seg.salt,
		}
		l.buffers = append(l.buffers, arena[:recordHeaderSize])
		for _, b := range rec.Frames {
			h.bodyCRC = crc32.Update(h.bodyCRC, castagnoli, b)
			l.buffers = append(l.buffers, b)
		}
		h.put(arena)
		arena = arena[recordHeaderSize:]
		end += h.size()
	}
	return end
}

// undo takes back a write that failed or whose sync failed.
func (l *Log) undo(t *target) {
	if t.fresh {
		l.files.forget(t.seg)
		l.files.release(t.file)
		l.stale = t.seg.path
		_ = l.sweep() // or by the next commit
		return
	}
	l.syncing.Lock()
	err := t.file.file.Truncate(t.off)
	l.syncing.Unlock()
	t.seg.ahead = 0
	if err != nil {
		// What is left there is covered by the next segment.
		l.mu.Lock()
		t.seg.sealed = true
		l.mu.Unlock()
	}
}

// publish makes a commit part of the log.
func (l *Log) publish(t *target, records []Record, size int64, synced bool) {
	if t.fresh {
		l.shorten()
		l.dropOut()
		l.out = t.file
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := t.seg
	if t.fresh {
		l.addLocked(s)
		s.safe = s.begin()
	}
	off := t.off
	if t.fresh {
		off = segmentHeaderSize
	}
	if !s.known && off == segmentHeaderSize && len(records) > 0 {
		s.oldest, s.lowID, s.known = records[0].Published, records[0].FirstID, true
	}
	for i := range records {
		s.addMark(mark{records[i].Position, off})
		off += recordHeaderSize + int64(records[i].length())
		// #nosec G115 -- counts and indexes of messages of one record, which are held against MaxBody
		l.end = records[i].Position + uint64(records[i].Count)
	}
	l.records += uint64(len(records))
	l.written += size - t.off
	s.size, s.limit = size, l.end
	if synced {
		s.safe = mark{l.end, size}
	}
}

// addLocked makes s the last segment. What earlier ones say about positions at
// or behind its first is covered.
func (l *Log) addLocked(s *segment) {
	for _, old := range l.segments {
		old.limit = min(old.limit, s.first)
	}
	if old := l.lastLocked(); old != nil {
		old.sealed = true
	}
	l.segments = append(l.segments, s)
	l.begun = true
}
