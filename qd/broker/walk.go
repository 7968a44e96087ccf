package broker

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"

	"github.com/millrace-mq/millrace/qd/journal"
	"github.com/millrace-mq/millrace/qd/queue"
)

// This file is going through all messages of a channel that are in a state, with
// their bodies, in memory that does not depend on how many or how large they are.

const (
	walkPage  = 4096     // messages that are found at a time
	walkBytes = 1 << 20  // of bodies that are in memory at a time, beyond the last of them
	walkChunk = 64 << 10 // that are read of the log at a time, or one larger message
)

// walk is on its way through a channel.
type walk struct {
	topic   *Topic
	channel string
	state   queue.LookState
	after   uint64 // an ID: it goes on above
	visit   func(Seen) error

	// If the topic has a log, what was never delivered is read from it.
	begun  bool
	pos    uint64 // of the next chunk
	to     uint64 // behind the last message that is the channel's
	chunk  journal.Chunk
	at     int    // index in the chunk of the next message
	frames []byte // of the chunk from there on
	unread []bool // which of the chunk's messages are the channel's
}

// walk calls visit with the messages of a channel that are in a state and have IDs
// above after, by ID, until it returns an error. It is no snapshot: what comes, goes or
// changes meanwhile may be visited or not, but nothing is twice. A message that cannot
// be read has no Body. At level memory what has spilled is left out.
func (t *Topic) walk(channel string, state queue.LookState, after uint64, visit func(Seen) error) error {
	w := walk{topic: t, channel: channel, state: state, after: after, visit: visit}
	for {
		found, err := w.look()
		if err == nil && len(found) == 0 {
			return t.unlessGone(w.unreadBelow(math.MaxUint64))
		}
		for err == nil && len(found) > 0 {
			var some []Seen
			some, err = t.load(found)
			found = found[len(some):]
			for i := 0; i < len(some) && err == nil; i++ {
				err = w.step(some[i])
			}
		}
		if err != nil {
			return t.unlessGone(err)
		}
	}
}

// look finds the next messages that are parked, in flight or at level memory never
// delivered, and how far those reach that are in the log.
func (w *walk) look() (found []queue.Seen, err error) {
	var from uint64
	err = ErrNoChannel
	w.topic.View(func(core *queue.Topic) {
		if c := core.Channel(w.channel); c != nil {
			found, from, w.to = c.LookWithin(w.state, w.after, walkPage, walkBytes)
			err = nil
		}
	})
	w.pos = max(w.pos, from)
	if err == nil && !w.begun && from < w.to && w.after > 0 {
		// Another walk has been here: what it has visited need not be read again.
		var pos uint64
		var ok bool
		if pos, ok, err = w.topic.logs.main.FindID(w.after); ok {
			w.pos = max(w.pos, pos+1)
		}
	}
	w.begun = true
	return found, err
}

// step visits a message that was found, after those in the log with lower IDs.
func (w *walk) step(s Seen) error {
	if err := w.unreadBelow(s.ID); err != nil {
		return err
	}
	w.after = s.ID
	return w.visit(s)
}

// unreadBelow visits what was never delivered and has an ID below limit.
func (w *walk) unreadBelow(limit uint64) error {
	for {
		for ; w.at < w.chunk.Count; w.at++ {
			// #nosec G115 -- counts of messages in memory, never negative, and positions of 64 bits
			id, pos := w.chunk.FirstID+uint64(w.at), w.chunk.Position+uint64(w.at)
			if id >= limit || pos >= w.to {
				return nil
			}
			size := 4 + binary.BigEndian.Uint32(w.frames)
			frame := w.frames[:size]
			w.frames = w.frames[size:]
			if id <= w.after || !w.unread[w.at] {
				continue
			}
			s := Seen{Seen: queue.Seen{ID: id, State: queue.Ready, Place: pos}}
			s.open(slices.Clone(frame))
			w.after = id
			if err := w.visit(s); err != nil {
				return err
			}
		}
		if w.pos >= w.to {
			return nil
		}
		if err := w.read(); err != nil {
			return err
		}
	}
}

// read reads the next chunk of the log.
func (w *walk) read() (err error) {
	w.chunk, err = w.topic.logs.main.Read(w.pos, walkChunk, w.chunk.Frames)
	w.at, w.frames = 0, w.chunk.Frames
	if errors.Is(err, io.EOF) {
		w.to = w.pos
		return nil
	}
	if err == nil {
		w.unread = w.topic.unread(w.channel, w.chunk.Position, w.chunk.Count)
		// #nosec G115 -- counts of messages in memory, never negative, and positions of 64 bits
		w.pos = w.chunk.Position + uint64(w.chunk.Count)
	}
	return err
}

// load reads the bodies of the first of found: of one at least, and no more than have
// walkBytes together, beyond the last.
func (t *Topic) load(found []queue.Seen) (seen []Seen, err error) {
	for size := 0; size < walkBytes && len(seen) < len(found) && err == nil; {
		from, rest := len(seen), found[len(seen):]
		if s := (Seen{Seen: rest[0]}); s.Frame != nil || t.logs == nil {
			if s.Frame != nil {
				s.open(s.Frame)
			}
			seen = append(seen, s)
		} else {
			seen, err = t.loadRun(seen, rest[:rising(rest)], walkBytes-size)
		}
		for _, s := range seen[from:] {
			size += len(s.Body)
		}
	}
	return seen, err
}

// rising is how many of found lie in one log, one behind the other: they are read
// in the order that they have here.
func rising(found []queue.Seen) int {
	n := 1
	for n < len(found) && found[n].Frame == nil && found[n].Place > found[n-1].Place &&
		found[n].Place&queue.Side == found[0].Place&queue.Side {
		n++
	}
	return n
}

// errEnough ends something that is done early.
var errEnough = errors.New("enough")

// loadRun appends what it reads of a run to seen, until that has so many bytes.
func (t *Topic) loadRun(seen []Seen, run []queue.Seen, bytes int) ([]Seen, error) {
	log := t.logs.main
	if run[0].Place&queue.Side != 0 {
		log = t.logs.side
	}
	positions := make([]uint64, len(run))
	for i, s := range run {
		positions[i] = s.Place &^ queue.Side
	}
	err := log.Get(positions, func(i int, m journal.Message) error {
		s := Seen{Seen: run[i]}
		if m.Err == nil && m.ID == s.ID {
			s.open(slices.Clone(m.Frame))
		}
		seen = append(seen, s)
		if bytes -= len(s.Body); bytes <= 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return seen, err
}
