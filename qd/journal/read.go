// #nosec G115 -- counts and indexes of messages of one record, which are held against MaxBody.

package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/millrace-mq/millrace/protocol"
)

// Chunk is messages with consecutive positions and IDs.
type Chunk struct {
	Position, FirstID uint64 // of the first message
	Count             int
	Kind              Kind
	Published, Due    int64  // of the first message's record; the frames have a publish time each
	Frames            []byte // wire frames, one behind the other
}

// Read returns messages from the first one at or behind pos on: whole ones, up
// to limit bytes, but at least one. Frames begins at dst[:0] and is in dst's
// memory if they fit there. If Chunk.Position > pos, what lies between is not
// there: never was, was damaged or is removed. io.EOF means that nothing at or
// behind pos is left. After another error, such as of the disk, nothing was
// passed over.
func (l *Log) Read(pos uint64, limit int, dst []byte) (Chunk, error) {
	if l.isClosed() {
		return Chunk{}, l.errClosed("reading")
	}
	r := l.newReader(min(max(limit+headersAhead, headersAhead), windowSize))
	defer r.close()
	p, err := l.resume(r, pos)
	for err == nil {
		var c Chunk
		c, err = r.chunk(&p, pos, limit, dst)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, errDamaged) {
			break
		}
		r.corrupt(&p.header)
		pos = max(pos, r.next)
		p = place{}
		p.header, err = r.seek(pos)
	}
	if err == io.EOF {
		return Chunk{}, io.EOF
	}
	return Chunk{}, err
}

// place is a message within the record at a reader's offset.
type place struct {
	header   Header
	index    int   // of the message in the record
	off      int64 // of its frame in the body
	verified bool  // the record's body
}

// chunk reads messages from pos or, if the record at p begins behind it, from
// there on, and leaves a hint for who goes on behind them. The error is
// errDamaged if the record at p is.
func (r *reader) chunk(p *place, pos uint64, limit int, dst []byte) (c Chunk, err error) {
	h := &p.header
	if !p.verified {
		ok, err := r.verify(h)
		if err != nil {
			return c, err
		}
		if !ok {
			return c, errDamaged
		}
		p.verified = true
	}
	if err := r.advance(p, max(pos, h.Position)); err != nil {
		return c, err
	}
	c = Chunk{
		Position: h.Position + uint64(p.index), FirstID: h.FirstID + uint64(p.index),
		Kind: h.Kind, Published: h.Published, Due: h.Due,
	}
	from, first := p.off, p.index
	if err := r.advanceBytes(p, int64(limit)); err != nil {
		return c, err
	}
	c.Count = p.index - first
	c.Frames = slices.Grow(dst[:0], int(p.off-from))
	c.Frames, err = r.appendBody(c.Frames, h, from, p.off)
	if err != nil {
		return c, err
	}
	for p.index == h.Count {
		r.skip(h)
		if !r.more(p, &c, limit) {
			*p = place{}
			break
		}
	}
	r.log.hints.put(hint{seg: r.seg, off: r.off, pos: c.Position + uint64(c.Count), place: *p})
	return c, nil
}

// more appends the next record to the chunk if it continues it and fits. Errors
// and damage are for who reads on from there.
func (r *reader) more(p *place, c *Chunk, limit int) bool {
	n := uint64(c.Count)
	if len(c.Frames)+recordHeaderSize > limit {
		return false
	}
	next, g, err := r.probe()
	if err != nil || g.end != 0 || next.Position != c.Position+n || next.FirstID != c.FirstID+n ||
		next.Kind != c.Kind || next.Due != c.Due || len(c.Frames)+next.Length > limit {
		return false
	}
	r.mark(next.Position)
	if ok, err := r.verify(&next); !ok || err != nil {
		return false
	}
	frames, err := r.appendBody(c.Frames, &next, 0, int64(next.Length))
	if err != nil {
		return false
	}
	c.Frames = frames
	c.Count += next.Count
	*p = place{header: next, index: next.Count}
	return true
}

func (r *reader) appendBody(dst []byte, h *Header, from, to int64) ([]byte, error) {
	err := r.body(h, from, to, func(b []byte) error {
		dst = append(dst, b...)
		return nil
	})
	return dst, err
}

// advance moves p on to the message at pos, which is in its record.
func (r *reader) advance(p *place, pos uint64) error {
	for want := int(pos - p.header.Position); p.index < want; {
		n, err := r.frame(p)
		if err != nil {
			return err
		}
		p.index, p.off = p.index+1, p.off+n
	}
	return nil
}

// advanceBytes moves p on by whole messages of its record that take at most
// limit bytes together, but by one at least.
func (r *reader) advanceBytes(p *place, limit int64) error {
	h := &p.header
	if int64(h.Length)-p.off <= limit {
		p.index, p.off = h.Count, int64(h.Length)
		return nil
	}
	for used := int64(0); p.index < h.Count; {
		n, err := r.frame(p)
		if err != nil {
			return err
		}
		if used += n; used > limit && used > n {
			return nil
		}
		p.index, p.off = p.index+1, p.off+n
	}
	return nil
}

// frame is the size of the frame at p; errDamaged if none is there although the
// record's CRC is right, which is how a writer of nonsense would be found out.
func (r *reader) frame(p *place) (int64, error) {
	off := r.off + recordHeaderSize + p.off
	if p.off+protocol.FrameHeaderSize > int64(p.header.Length) {
		return 0, errDamaged
	}
	b, err := r.bytes(off, protocol.FrameHeaderSize)
	if err != nil {
		return 0, err
	}
	if len(b) < protocol.FrameHeaderSize {
		return 0, fmt.Errorf("reading segment %s at offset %d: %w", r.seg.path, off, io.ErrUnexpectedEOF)
	}
	n, ok := frameSize(b)
	if !ok || p.off+n > int64(p.header.Length) {
		return 0, errDamaged
	}
	return n, nil
}

// hint says where the message at pos is, for a reader that goes on from there.
type hint struct {
	seg *segment
	pos uint64
	off int64 // of its record
	place
}

// hints are the places where the last reads ended, one for each sequential
// reader as long as there are not too many of them.
type hints struct {
	mu    sync.Mutex // guards below
	table []hint     // of mostHints; nil until the first read, since most logs are idle
	turn  int
}

const mostHints = 16

// take returns the hint for pos and forgets it: the reader will leave another.
func (t *hints) take(pos uint64) (hint, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.table {
		if h := t.table[i]; h.seg != nil && h.pos == pos {
			t.table[i] = hint{}
			return h, true
		}
	}
	return hint{}, false
}

func (t *hints) put(h hint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.table == nil {
		t.table = make([]hint, mostHints)
	}
	for i := range t.table {
		if old := &t.table[i]; old.seg == nil || old.pos == h.pos {
			*old = h
			return
		}
	}
	t.table[t.turn] = h
	t.turn = (t.turn + 1) % len(t.table)
}

// resume puts r on the record with pos, by a hint if there is one.
func (l *Log) resume(r *reader, pos uint64) (place, error) {
	if t, ok := l.hints.take(pos); ok {
		l.mu.RLock()
		good := l.holdsLocked(t.seg) && l.findLocked(pos) == t.seg
		l.mu.RUnlock()
		if good && r.enter(t.seg, mark{pos, t.off}) == nil {
			if t.verified {
				return t.place, nil
			}
			h, err := r.walk(pos)
			if err != io.EOF {
				return place{header: h}, err
			}
		}
	}
	h, err := r.seek(pos)
	return place{header: h}, err
}
