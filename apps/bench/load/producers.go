package load

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Stream says how producers publish.
type Stream struct {
	Topic     string
	Producers int // connections
	Batch     int // messages in a command; 1 is PUB, more is MPUB
	Size      int // bytes of a body, MinSize at least
	Window    int // commands that a producer keeps unanswered
	Layers    Layers
}

// Producers are connections that publish to one topic together.
type Producers struct {
	list     []*producer
	progress *Progress
}

// OpenProducers connects, without publishing yet.
func OpenProducers(ctx context.Context, addr string, s Stream, progress *Progress) (*Producers, error) {
	ps := &Producers{progress: progress}
	for i := range s.Producers {
		c, err := dial(ctx, addr, s.Layers)
		if err != nil {
			ps.Close()
			return nil, err
		}
		p := &producer{conn: c, frames: newFrames(c, 64<<10), ring: newRing(s.Topic, s.Batch, s.Size, s.Window), id: i}
		ps.list = append(ps.list, p)
	}
	return ps, nil
}

// Close ends producers that were not run.
func (ps *Producers) Close() {
	for _, p := range ps.list {
		_ = p.conn.Close()
	}
}

// Run publishes messages together, rounded up to whole commands of each
// producer, or fewer when limit passes first, and returns how many each
// producer published once all are answered.
func (ps *Producers) Run(ctx context.Context, messages int64, limit time.Duration) (published []int64, err error) {
	published = make([]int64, len(ps.list))
	until := time.Now().Add(limit)
	var parts []func(context.Context) error
	for i, p := range ps.list {
		share := int64(len(ps.list) * p.ring.batch)
		units := (messages + share - 1) / share
		parts = append(parts, func(ctx context.Context) error {
			answered, err := p.run(ctx, units, until, ps.progress)
			published[i] = answered * int64(p.ring.batch)
			return err
		})
	}
	err = Together(ctx, parts...)
	return published, err
}

type producer struct {
	conn   *conn
	frames *frames
	ring   *ring
	id     int
}

// run streams up to units commands, keeping the window full: it writes what
// the window has room for in one piece, then reads what answers there are.
func (p *producer) run(ctx context.Context, units int64, until time.Time, progress *Progress) (answered int64, err error) {
	defer p.conn.during(ctx)()
	doing := fmt.Sprintf("publishing, %d commands unanswered", p.ring.units)
	var sent int64
	for answered < units {
		if sent > 0 && time.Now().After(until) {
			units = sent
		}
		for sent < units && sent-answered < int64(p.ring.units) {
			at := int(sent % int64(p.ring.units))
			n := int(min(int64(p.ring.units)-(sent-answered), int64(p.ring.units-at), units-sent))
			// #nosec G115 -- numbers that the bench itself has drawn or counted, never negative
			run := p.ring.stamp(at, n, tag(p.id, uint64(sent)*uint64(p.ring.batch)))
			if _, err := p.conn.Write(run); err != nil {
				return answered, because(ctx, p.conn.lastWords(p.frames, err), doing)
			}
			sent += int64(n)
		}
		if answered == sent {
			break
		}
		n, err := p.answers()
		if err != nil {
			return answered, because(ctx, err, doing)
		}
		answered += n
		progress.Add(n)
	}
	return answered, nil
}

// answers reads once and counts the OKs.
func (p *producer) answers() (n int64, err error) {
	if err := p.frames.fill(); err != nil {
		return 0, err
	}
	for {
		t, data, ok := p.frames.next()
		switch {
		case !ok:
			return n, nil
		case t == protocol.FrameError:
			return n, refused(data)
		case t == protocol.FrameResponse && string(data) == protocol.OK:
			n++
		case t == protocol.FrameResponse && string(data) == protocol.Heartbeat:
			if _, err := p.conn.Write(protocol.AppendNop(nil)); err != nil {
				return n, err
			}
		default:
			return n, fmt.Errorf("the broker sent an unexpected %s %.40q", t, data)
		}
	}
}
