package journal

import (
	"io"
	"slices"
	"sort"
)

// FindID returns the position of the message with an ID, without looking at the
// message itself: it may turn out to be damaged. IDs must rise with positions,
// except in a sparse log, all of which is looked through.
func (l *Log) FindID(id uint64) (pos uint64, ok bool, err error) {
	if l.isClosed() {
		return 0, false, l.errClosed("searching")
	}
	r := l.newReader(headersAhead)
	defer r.close()
	from := l.Start()
	if !l.options.Sparse {
		from, err = r.before(func(h *Header) bool { return h.FirstID <= id })
		if err != nil {
			return 0, false, err
		}
	}
	for {
		h, err := r.seek(from)
		if err == io.EOF || err == nil && !l.options.Sparse && h.FirstID > id {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, err
		}
		// #nosec G115 -- counts and indexes of messages of one record, which are held against MaxBody
		if i := id - h.FirstID; id >= h.FirstID && i < uint64(h.Count) {
			return h.Position + i, true, nil
		}
		from = max(from, h.End())
		r.skip(&h)
	}
}

// FindTime returns the position of the first message that was published at or
// after t, ns since the Unix epoch; End if there is none. It goes by the publish
// times of records, which should rise with positions.
func (l *Log) FindTime(t int64) (pos uint64, err error) {
	if l.isClosed() {
		return 0, l.errClosed("searching")
	}
	r := l.newReader(headersAhead)
	defer r.close()
	from, err := r.before(func(h *Header) bool { return h.Published < t })
	for err == nil {
		var h Header
		if h, err = r.seek(from); err == nil {
			if h.Published >= t {
				return max(h.Position, l.Start()), nil
			}
			from = max(from, h.End())
			r.skip(&h)
		}
	}
	if err == io.EOF {
		return l.End(), nil
	}
	return 0, err
}

// before returns a position from which a search may start: that of a record for
// which is holds, near the last such, or the log's first. is holds for the
// records up to some place.
func (r *reader) before(is func(h *Header) bool) (uint64, error) {
	r.log.mu.RLock()
	segments := slices.Clone(r.log.segments)
	r.log.mu.RUnlock()
	segments = slices.DeleteFunc(segments, func(s *segment) bool {
		r.log.mu.RLock()
		defer r.log.mu.RUnlock()
		return s.first >= s.limit
	})
	var failed error
	i := sort.Search(len(segments), func(i int) bool {
		h, err := r.firstOf(segments[i])
		if err != nil && err != io.EOF {
			failed = err
		}
		// A segment without records decides nothing: as if behind the place.
		return err != nil || !is(&h)
	})
	if failed != nil || i == 0 {
		return r.log.Start(), failed
	}
	return r.markFor(segments[i-1], is), nil
}

// firstOf is the header of a segment's first record, as far as it matters to a
// search; io.EOF if it has none.
func (r *reader) firstOf(s *segment) (Header, error) {
	r.log.mu.RLock()
	h, known := Header{Published: s.oldest, FirstID: s.lowID}, s.known
	r.log.mu.RUnlock()
	if known {
		return h, nil
	}
	err := r.enter(s, s.begin())
	if err == nil {
		h, err = r.header()
	}
	if err == nil {
		r.log.mu.Lock()
		s.oldest, s.lowID, s.known = h.Published, h.FirstID, true
		r.log.mu.Unlock()
	}
	if err != nil && !r.log.holds(s) {
		return h, io.EOF // removed meanwhile
	}
	return h, err
}

// markFor is the position of the last remembered place in a segment for whose
// record is holds, or of the segment's begin.
func (r *reader) markFor(s *segment, is func(h *Header) bool) uint64 {
	r.log.mu.RLock()
	marks := slices.Clone(s.marks)
	r.log.mu.RUnlock()
	i := sort.Search(len(marks), func(i int) bool {
		if r.enter(s, marks[i]) != nil {
			return true
		}
		h, err := r.header()
		return err != nil || !is(&h)
	})
	if i == 0 {
		return s.first
	}
	return marks[i-1].pos
}
