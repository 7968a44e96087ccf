package journal

import (
	"cmp"
	"path/filepath"
	"slices"
)

// segment is one file. Its fields below the gap are guarded by Log.mu.
type segment struct {
	number, first uint64
	salt          uint32
	path          string
	ahead         int64 // length of the file, if more than what is written was reserved; the writer's

	// limit is the position behind its last message: the first position of a
	// later segment, or End.
	limit uint64
	// size is the offset behind its last committed record; of a sealed segment
	// whose end is not known, the file's size.
	size int64
	// safe is the place below which all is known to be on the device.
	safe mark
	// named: so is the file's name.
	named bool
	// sealed segments are not written to any more.
	sealed bool
	// broken is why a sync failed; what lies behind safe must be written anew.
	broken error
	oldest int64  // publish time of the first record; 0: not known
	lowID  uint64 // first ID of the first record, if known
	known  bool   // oldest and lowID
	marks  []mark // ascending, about one every markEvery bytes as far as the segment has been looked through
	gaps   []gap  // damages found, by offset
}

// mark is a place where a record begins or the last one ends.
type mark struct {
	pos uint64
	off int64
}

// gap is a stretch of a file that is no good.
type gap struct {
	off, end int64
	from, to uint64 // positions that are missing because of it, as far as it is known
}

const markEvery = 32 << 10

// begin is the place of the first record.
func (s *segment) begin() mark { return mark{s.first, segmentHeaderSize} }

// dirty tells whether the segment has records or a name that a sync is due for.
func (s *segment) dirty() bool { return s.safe.off < s.size || !s.named }

// unsafe tells whether records are committed that a sync has failed for.
func (s *segment) unsafe() bool {
	return s.broken != nil && s.safe.off < s.size && s.safe.pos < s.limit
}

// addMark remembers that a record begins at m, if none is remembered nearby.
func (s *segment) addMark(m mark) {
	i, found := slices.BinarySearchFunc(s.marks, m.off, func(m mark, off int64) int { return cmp.Compare(m.off, off) })
	before := s.begin().off
	if i > 0 {
		before = s.marks[i-1].off
	}
	if !found && m.off >= before+markEvery {
		s.marks = slices.Insert(s.marks, i, m)
	}
}

// markBefore is the last known place whose record begins at or before pos.
func (s *segment) markBefore(pos uint64) mark {
	i, found := slices.BinarySearchFunc(s.marks, pos, func(m mark, pos uint64) int { return cmp.Compare(m.pos, pos) })
	if found {
		return s.marks[i]
	}
	if i == 0 {
		return s.begin()
	}
	return s.marks[i-1]
}

// offsetNear is about where pos lies in the file, for first ≤ pos < limit.
func (s *segment) offsetNear(pos uint64) int64 {
	m := s.markBefore(pos)
	to := mark{s.limit, s.size}
	if i := slices.Index(s.marks, m); i+1 < len(s.marks) && (i >= 0 || m == s.begin()) {
		to = s.marks[i+1]
	}
	if to.pos <= m.pos {
		return m.off
	}
	part := float64(pos-m.pos) / float64(to.pos-m.pos)
	return m.off + int64(part*float64(to.off-m.off))
}

// addGap remembers a damage; false if it was known.
func (s *segment) addGap(g gap) bool {
	i, found := slices.BinarySearchFunc(s.gaps, g.off, func(g gap, off int64) int { return cmp.Compare(g.off, off) })
	if !found {
		s.gaps = slices.Insert(s.gaps, i, g)
	}
	return !found
}

// setLimits makes every segment end where a later one begins, and the last at
// end. Limits never fall from one segment to the next.
func setLimits(segments []*segment, end uint64) {
	limit := end
	for _, s := range slices.Backward(segments) {
		s.limit = limit
		limit = min(limit, s.first)
	}
}

// findLocked returns the segment that has pos, or if none has, the first behind it;
// nil if there is none. Log.mu is held.
func (l *Log) findLocked(pos uint64) *segment {
	i, _ := slices.BinarySearchFunc(l.segments, pos, func(s *segment, pos uint64) int {
		if s.limit > pos {
			return 1
		}
		return -1
	})
	for ; i < len(l.segments); i++ {
		if s := l.segments[i]; s.first < s.limit {
			return s
		}
	}
	return nil
}

// holdsLocked tells whether s is still part of the log.
func (l *Log) holdsLocked(s *segment) bool {
	i, _ := slices.BinarySearchFunc(l.segments, s.number, func(s *segment, n uint64) int { return cmp.Compare(s.number, n) })
	return i < len(l.segments) && slices.Contains(l.segments[i:min(i+2, len(l.segments))], s)
}

// lastLocked is the segment that is written to, or nil.
func (l *Log) lastLocked() *segment {
	if len(l.segments) == 0 {
		return nil
	}
	return l.segments[len(l.segments)-1]
}

// nextNumberLocked is that of the segment to be begun next.
func (l *Log) nextNumberLocked() uint64 {
	if s := l.lastLocked(); s != nil {
		return s.number + 1
	}
	return 1
}

// syncedBelowLocked is the number below which no segment is dirty, for the header of
// segment next.
func (l *Log) syncedBelowLocked(next uint64) uint64 {
	for _, s := range l.segments {
		if s.dirty() {
			return s.number
		}
	}
	return next
}

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }
