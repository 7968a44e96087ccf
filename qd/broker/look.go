package broker

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/journal"
	"github.com/millrace-mq/millrace/qd/queue"
)

// This file is looking at messages without touching them.

// Seen is a message as somebody sees it who only looks.
type Seen struct {
	queue.Seen
	Published int64  // ns since the Unix epoch; 0 if the message cannot be read
	Body      []byte // nil if it cannot be read, because it is on disk and damaged, or spilled
}

// Messages returns messages of a channel in a state whose IDs are above after,
// by ID, at most limit. Of a topic of level memory, those that have spilled are
// not seen.
func (t *Topic) Messages(channel string, state queue.LookState, after uint64, limit int) ([]Seen, error) {
	var found []queue.Seen
	var from, to uint64
	err := ErrNoChannel
	t.View(func(core *queue.Topic) {
		if c := core.Channel(channel); c != nil {
			found, from, to = c.Look(state, after, limit)
			err = nil
		}
	})
	if err != nil {
		return nil, err
	}
	seen, err := t.read(found)
	if err != nil || from >= to {
		return seen, t.unlessGone(err)
	}
	unread, err := t.readOn(channel, from, to, after, limit)
	seen = append(seen, unread...)
	slices.SortStableFunc(seen, func(x, y Seen) int { return cmp.Compare(x.ID, y.ID) })
	return seen[:min(len(seen), limit)], t.unlessGone(err)
}

// unlessGone is err, the result of reading the topic's logs, or ErrGone if it
// was that somebody has deleted the topic meanwhile.
func (t *Topic) unlessGone(err error) error {
	if err == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return ErrGone
	}
	return err
}

// read reads the bodies of messages that were seen, as far as they are not in
// memory.
func (t *Topic) read(found []queue.Seen) ([]Seen, error) {
	seen := make([]Seen, len(found))
	var places []uint64
	var index []int
	for i, s := range found {
		seen[i].Seen = s
		if s.Frame != nil {
			seen[i].open(s.Frame)
		} else if t.logs != nil {
			places, index = append(places, s.Place), append(index, i)
		}
	}
	if len(places) == 0 {
		return seen, nil
	}
	return seen, t.bodies(places, func(i int, m journal.Message) {
		if m.Err == nil {
			seen[index[i]].open(slices.Clone(m.Frame))
		}
	})
}

// open takes a frame apart.
func (s *Seen) open(frame []byte) {
	if m, err := protocol.ParseMessage(frame[protocol.FrameHeaderSize:]); err == nil {
		s.Published, s.Body, s.Frame = m.Timestamp, m.Body, nil
	}
}

// readOn reads messages from the log that were never delivered to a channel.
func (t *Topic) readOn(channel string, from, to, after uint64, limit int) (seen []Seen, err error) {
	const step = 64 << 10
	if pos, ok, err := t.logs.main.FindID(after); err != nil {
		return nil, err
	} else if ok {
		from = max(from, pos)
	}
	var buffer []byte
	for from < to && len(seen) < limit {
		chunk, err := t.logs.main.Read(from, step, buffer)
		if errors.Is(err, io.EOF) {
			return seen, nil
		}
		if err != nil {
			return seen, err
		}
		frames := chunk.Frames
		unread := t.unread(channel, chunk.Position, chunk.Count)
		// #nosec G115 -- counts of messages in memory, never negative, and positions of 64 bits
		for i := uint64(0); i < uint64(chunk.Count) && len(seen) < limit; i++ {
			size := 4 + binary.BigEndian.Uint32(frames)
			if id, pos := chunk.FirstID+i, chunk.Position+i; id > after && pos < to && unread[i] {
				s := Seen{Seen: queue.Seen{ID: id, State: queue.Ready, Place: pos}}
				s.open(slices.Clone(frames[:size]))
				seen = append(seen, s)
			}
			frames = frames[size:]
		}
		// #nosec G115 -- counts of messages in memory, never negative, and positions of 64 bits
		from, buffer = chunk.Position+uint64(chunk.Count), chunk.Frames
	}
	return seen, nil
}

// unread says of n positions of the log from pos on whether what lies there is
// still to be delivered to a channel: the log keeps what was emptied, too.
func (t *Topic) unread(channel string, pos uint64, n int) []bool {
	unread := make([]bool, n)
	t.View(func(core *queue.Topic) {
		if c := core.Channel(channel); c != nil {
			for i := range unread {
				unread[i] = c.Unread(pos + uint64(i))
			}
		}
	})
	return unread
}

// began is the position at which a channel began, as far as is known. Under mu.
func (t *Topic) began(c *queue.Channel) uint64 {
	if h := t.logs.held[c]; h != nil {
		return h.from
	}
	return 0
}

// Standing is what has become of a message in a channel.
type Standing struct {
	Channel string
	State   string // ready, in flight, deferred, dead, finished, or "not here": it never was the channel's
	Seen    queue.Seen
}

// Message finds one message of a topic with a log, or one that is parked or in
// flight in a channel of any topic, and says where it stands in each channel.
func (t *Topic) Message(id uint64) (m Seen, standing []Standing, err error) {
	pos, kept := uint64(0), false
	if t.logs != nil {
		if pos, kept, err = t.logs.main.FindID(id); err != nil {
			return m, nil, t.unlessGone(err)
		}
	}
	var found *queue.Seen
	t.View(func(core *queue.Topic) {
		for _, c := range core.Channels() {
			s, ok := c.Find(id)
			switch {
			case ok:
				found = &s
				standing = append(standing, Standing{c.Name(), s.State.String(), s})
			case kept && c.Unread(pos):
				standing = append(standing, Standing{Channel: c.Name(), State: queue.Ready.String()})
			case kept && pos < c.Cursor() && pos >= t.began(c):
				standing = append(standing, Standing{Channel: c.Name(), State: "finished"})
			default:
				standing = append(standing, Standing{Channel: c.Name(), State: "not here"})
			}
		}
	})
	if found == nil && !kept {
		return m, nil, ErrNoMessage
	}
	if found == nil {
		found = &queue.Seen{ID: id, Place: pos}
	}
	seen, err := t.read([]queue.Seen{*found})
	return seen[0], standing, t.unlessGone(err)
}
