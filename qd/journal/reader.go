package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// windowSize is the most that is read at once, bytes.
const windowSize = 1 << 20

// Sizes of a pread when it is not known how much will be wanted: of records,
// or of headers alone whose bodies are far apart.
const (
	recordsAhead = 256 << 10
	headersAhead = 4 << 10
)

// windows are buffers of readers. Thousands of logs share a few.
var windows = sync.Pool{New: func() any { return new([]byte) }}

// reader goes through the records of a log, segment by segment. It sees what
// was committed when it entered a segment.
type reader struct {
	log   *Log
	ahead int // bytes per pread, at least

	seg    *segment // nil before the first
	file   *handle
	stop   int64  // end of what is to be seen of the file
	limit  uint64 // of the segment
	off    int64  // where the next record should begin
	next   uint64 // the lowest position it may have
	marked int64  // offset of the last mark made on the way

	window []byte // of the file, from base on
	base   int64
	pooled *[]byte
}

func (l *Log) newReader(ahead int) *reader {
	p := windows.Get().(*[]byte)
	return &reader{log: l, ahead: ahead, window: (*p)[:0], pooled: p}
}

// close gives back what r holds. r is at no segment then.
func (r *reader) close() {
	r.leave()
	if cap(r.window) <= 2*windowSize {
		*r.pooled = r.window[:0]
		windows.Put(r.pooled)
	}
}

func (r *reader) leave() {
	if r.file != nil {
		r.log.files.release(r.file)
	}
	r.file, r.seg = nil, nil
}

// enter goes to a place in a segment.
func (r *reader) enter(seg *segment, at mark) error {
	if r.seg != seg {
		r.leave()
		file, err := r.log.files.acquire(seg)
		if err != nil {
			return err
		}
		r.seg, r.file, r.window = seg, file, r.window[:0]
	}
	r.log.mu.RLock()
	r.stop, r.limit = seg.size, seg.limit
	r.log.mu.RUnlock()
	r.off, r.next, r.marked = at.off, at.pos, at.off
	return nil
}

// seek goes to the first record that ends behind pos and returns its header;
// io.EOF if there is none in the log.
func (r *reader) seek(pos uint64) (Header, error) {
	for {
		r.log.mu.RLock()
		seg := r.log.findLocked(pos)
		var at mark
		if seg != nil {
			at = seg.markBefore(pos)
		}
		r.log.mu.RUnlock()
		if seg == nil {
			return Header{}, io.EOF
		}
		if seg == r.seg && r.next <= pos && r.off > at.off {
			at = mark{r.next, r.off}
		}
		if err := r.enter(seg, at); err != nil {
			if r.log.holds(seg) {
				return Header{}, err
			}
			continue // it was removed since we looked
		}
		h, err := r.walk(pos)
		if err != io.EOF {
			return h, err
		}
		pos = max(pos, r.limit)
	}
}

// walk goes on to the first record of the segment that ends behind pos.
func (r *reader) walk(pos uint64) (Header, error) {
	for {
		h, err := r.header()
		if err != nil || h.End() > pos {
			return h, err
		}
		r.skip(&h)
	}
}

// header returns the header of the next record of the segment, and leaves r in
// front of it; io.EOF behind the last. Damages on the way are dealt with.
func (r *reader) header() (Header, error) {
	for {
		h, g, err := r.probe()
		if err != nil {
			return h, err
		}
		if g.end == 0 {
			r.mark(h.Position)
			return h, nil
		}
		r.log.found(r, g, Corrupt)
		r.off, r.next = g.end, g.to
	}
}

// probe looks at what is at r.off: a record, whose header it returns; or
// damage, whose end is not 0; or io.EOF, the end of the segment.
func (r *reader) probe() (h Header, g gap, err error) {
	if r.next >= r.limit {
		return h, g, io.EOF
	}
	if r.off >= r.stop {
		r.short()
		return h, g, io.EOF
	}
	h, err = r.parse(r.off)
	if errors.Is(err, errDamaged) || err == nil && h.Position < r.next {
		g, err = r.resync()
		return h, g, err
	}
	if err == nil && h.Position >= r.limit {
		r.short()
		return h, g, io.EOF
	}
	return h, g, err
}

// parse reads the header at off. The error is errDamaged if no whole record of
// this segment begins there.
func (r *reader) parse(off int64) (Header, error) {
	b, err := r.bytes(off, recordHeaderSize)
	if err != nil {
		return Header{}, err
	}
	h, err := parseHeader(b)
	if err != nil && !errors.Is(err, errDamaged) {
		return h, fmt.Errorf("reading segment %s at offset %d: %w", r.seg.path, off, err)
	}
	// A record across the limit is no one's: later segments begin where commits
	// end. A crash has brought back what a failed commit had written.
	across := h.Position < r.limit && h.End() > r.limit
	if err == nil && (h.salt != r.seg.salt || off+h.size() > r.stop || across) {
		return h, errDamaged
	}
	return h, err
}

// short says that the segment ends before its limit, if that is damage.
func (r *reader) short() {
	if r.next < r.limit && r.limit != unlimited && !r.log.options.Sparse {
		r.log.found(r, gap{off: r.stop, end: r.stop, from: r.next, to: r.limit}, Missing)
	}
}

// resync looks for the next whole record behind damage at r.off. That a header
// has the salt of the segment keeps out records that are part of a message.
func (r *reader) resync() (gap, error) {
	g := gap{off: r.off, from: r.next}
	var magic [4]byte
	binary.LittleEndian.PutUint32(magic[:], recordMagic)
	for off := r.off + 1; off+recordHeaderSize <= r.stop; {
		b, err := r.bytes(off, int(min(recordsAhead, r.stop-off)))
		if err != nil {
			return g, err
		}
		i := bytes.Index(b, magic[:])
		if i < 0 {
			// The magic may begin in the last three bytes.
			off += int64(max(len(b)-3, 1))
			continue
		}
		off += int64(i)
		h, err := r.parse(off)
		if err != nil && !errors.Is(err, errDamaged) {
			return g, err
		}
		if err == nil && h.Position >= r.next && h.Position < r.limit {
			g.end, g.to = off, h.Position
			return g, nil
		}
		off++
	}
	g.end, g.to = r.stop, r.limit
	return g, nil
}

// skip goes behind the record whose header header has returned.
func (r *reader) skip(h *Header) {
	r.off += h.size()
	r.next = h.End()
}

// mark remembers the place of a record that r has met.
func (r *reader) mark(pos uint64) {
	if r.off < r.marked+markEvery {
		return
	}
	r.marked = r.off
	r.log.mu.Lock()
	r.seg.addMark(mark{pos, r.off})
	r.log.mu.Unlock()
}

// verify tells whether the body of the record at r.off is what was written. A
// large one goes through the window piece by piece.
func (r *reader) verify(h *Header) (bool, error) {
	var sum uint32
	err := r.body(h, 0, int64(h.Length), func(b []byte) error {
		sum = crc32.Update(sum, castagnoli, b)
		return nil
	})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	return sum == h.bodyCRC, err
}

// body calls f for bytes from ≤ i < to of the body of the record at r.off, in
// pieces. The error is io.ErrUnexpectedEOF if the file has become shorter.
func (r *reader) body(h *Header, from, to int64, f func(b []byte) error) error {
	start := r.off + recordHeaderSize
	for off := start + from; off < start+to; {
		b, err := r.bytes(off, int(min(start+to-off, windowSize)))
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return fmt.Errorf("reading segment %s at offset %d: %w", r.seg.path, off, io.ErrUnexpectedEOF)
		}
		if err := f(b); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// corrupt deals with the record at r.off, whose body is damaged, and goes
// behind it.
func (r *reader) corrupt(h *Header) {
	r.log.found(r, r.whole(h), Corrupt)
	r.skip(h)
}

// whole is the stretch of the record at r.off.
func (r *reader) whole(h *Header) gap {
	return gap{off: r.off, end: r.off + h.size(), from: h.Position, to: h.End()}
}

// bytes returns n bytes of the file from off on, fewer only at r.stop, valid
// until the next call. If the file ends before r.stop, that becomes its end.
func (r *reader) bytes(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), r.stop-off))
	if n <= 0 {
		return nil, nil
	}
	if i := off - r.base; i >= 0 && i+int64(n) <= int64(len(r.window)) {
		return r.window[i : i+int64(n)], nil
	}
	if err := r.fill(off, n); err != nil {
		return nil, err
	}
	return r.window[:min(n, len(r.window))], nil
}

// fill makes the window begin at off and have n bytes or more.
func (r *reader) fill(off int64, n int) error {
	want := int(min(int64(max(n, r.ahead)), r.stop-off))
	kept := 0
	old := r.window
	if cap(r.window) < want {
		r.window = make([]byte, 0, want)
	}
	if i := off - r.base; i >= 0 && i < int64(len(old)) {
		kept = copy(r.window[:want], old[i:])
	}
	r.base = off
	m, err := r.file.file.ReadAt(r.window[kept:want], off+int64(kept))
	r.window = r.window[:kept+m]
	if kept+m == want {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		r.stop = off + int64(kept+m)
		return nil
	}
	r.window = r.window[:0]
	return fmt.Errorf("reading segment %s at offset %d: %w", r.seg.path, off, err)
}

// holds tells whether s is still part of the log.
func (l *Log) holds(s *segment) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.holdsLocked(s)
}
