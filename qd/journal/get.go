package journal

import (
	"cmp"
	"errors"
	"io"
	"slices"
)

// ErrGone is the error of a message that is not in the log: never was, was
// damaged or is removed.
var ErrGone = errors.New("the message is not in the log")

// Message is one message of a log.
type Message struct {
	Position, ID   uint64
	Published, Due int64 // ns since the Unix epoch
	Kind           Kind
	Frame          []byte // the wire frame; valid until the function it was passed to returns
	Err            error  // nil, or ErrGone: then only Position is set
}

// Get calls f for each of the positions, in the order of the positions; i is the
// index in the argument, which may be in any order. It stops at the first error,
// of f or of the disk.
func (l *Log) Get(positions []uint64, f func(i int, m Message) error) error {
	if l.isClosed() {
		return l.errClosed("reading")
	}
	order := make([]int, len(positions))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(positions[a], positions[b]) })
	g := getter{r: l.newReader(64 << 10)}
	defer g.r.close()
	for _, i := range order {
		m, err := g.message(positions[i])
		if err != nil {
			return err
		}
		if err := f(i, m); err != nil {
			return err
		}
	}
	return nil
}

// getter reads single messages in ascending order.
type getter struct {
	r     *reader
	p     place // valid if p.verified: then r is on its record
	frame []byte
}

func (g *getter) message(pos uint64) (Message, error) {
	m, err := g.find(pos)
	if errors.Is(err, errDamaged) {
		g.r.corrupt(&g.p.header)
		g.p = place{}
		err = io.EOF
	}
	if err == io.EOF {
		return Message{Position: pos, Err: ErrGone}, nil
	}
	return m, err
}

// find returns the message at pos; io.EOF if there is none, errDamaged if the
// record at r is.
func (g *getter) find(pos uint64) (Message, error) {
	r, h := g.r, &g.p.header
	// #nosec G115 -- counts and indexes of messages of one record, which are held against MaxBody
	if !g.p.verified || pos >= h.End() || pos < h.Position+uint64(g.p.index) {
		if g.p.verified {
			r.skip(h)
		}
		g.p = place{}
		var err error
		if g.p.header, err = r.seek(pos); err != nil {
			return Message{}, err
		}
		if h.Position > pos {
			return Message{}, io.EOF
		}
		ok, err := r.verify(h)
		if err != nil {
			return Message{}, err
		}
		if !ok {
			return Message{}, errDamaged
		}
		g.p.verified = true
	}
	if err := r.advance(&g.p, pos); err != nil {
		return Message{}, err
	}
	n, err := r.frame(&g.p)
	if err != nil {
		return Message{}, err
	}
	g.frame, err = r.appendBody(g.frame[:0], h, g.p.off, g.p.off+n)
	return Message{
		// #nosec G115 -- counts and indexes of messages of one record, which are held against MaxBody
		Position: pos, ID: h.FirstID + uint64(g.p.index),
		Published: h.Published, Due: h.Due, Kind: h.Kind, Frame: g.frame,
	}, err
}

// Scan calls f for every record that ends behind from, in order, with its frames,
// which are valid until f returns. It stops at the first error, of f or of the
// disk. What is committed while it runs may or may not be seen.
func (l *Log) Scan(from uint64, f func(h Header, frames []byte) error) error {
	if l.isClosed() {
		return l.errClosed("reading")
	}
	r := l.newReader(recordsAhead)
	defer r.close()
	var frames []byte
	for {
		h, err := r.seek(from)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		from = h.End()
		ok, err := r.verify(&h)
		if err != nil {
			return err
		}
		if !ok {
			r.corrupt(&h)
			continue
		}
		if frames, err = r.appendBody(frames[:0], &h, 0, int64(h.Length)); err != nil {
			return err
		}
		r.skip(&h)
		if err := f(h, frames); err != nil {
			return err
		}
	}
}
