// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative.

package queue

import (
	"cmp"
	"slices"
)

// This file takes a topic apart for a stop and puts it together again.

// TopicState is what of a topic is neither messages nor channels. A backlog's
// part on disk is given by its Disk; the rest of it is written by the stop, so
// that afterwards all of it is on disk.
type TopicState struct {
	Paused      bool  `json:"paused,omitempty"`
	PausedAfter int   `json:"paused_after,omitempty"` // messages of the backlog that are for the channels all the same
	Pause       Pause `json:"pause,omitzero"`         // why, while it is paused
	Cuts        []Cut `json:"cuts,omitempty"`
}

// Cut is some messages in a topic's backlog that are to be discarded, and
// how many that are not lie before them.
type Cut struct {
	After    int `json:"after"`
	Messages int `json:"messages"`
}

// ChannelState is the same of a channel.
type ChannelState struct {
	Paused bool  `json:"paused,omitempty"`
	Pause  Pause `json:"pause,omitzero"`
	Skip   int   `json:"skip,omitempty"` // messages of the topic's backlog that are not for it
}

// State returns what is to be kept of the topic.
func (t *Topic) State() TopicState {
	s := TopicState{Paused: t.paused, Pause: t.pause}
	if t.paused {
		s.PausedAfter = int(t.pausedAt - t.fanned)
	}
	for _, c := range t.cuts {
		s.Cuts = append(s.Cuts, Cut{After: int(c.at - t.fanned), Messages: c.n})
	}
	return s
}

// State returns what is to be kept of the channel.
func (c *Channel) State() ChannelState {
	return ChannelState{Paused: c.paused, Pause: c.pause, Skip: max(0, int(int64(c.cursor)-int64(c.topic.fanned)))}
}

// Frames are those of some messages with consecutive IDs.
type Frames struct {
	Bytes    []byte
	Messages int
}

// Rest is what a backlog holds, in the order of delivery: Before comes before
// what it has on disk, After behind it.
type Rest struct {
	Disk          Disk
	Before, After []Frames
}

// Rest returns what the topic's own backlog holds. No calls but those of this
// file may follow.
func (t *Topic) Rest() Rest {
	t.seal()
	return t.backlog.rest(nil)
}

// Rest returns what the channel's own backlog holds, without what was ever
// delivered or deferred. No calls but those of this file may follow.
func (c *Channel) Rest() Rest {
	c.topic.seal()
	return c.backlog.rest(c.current)
}

func (b *backlog) rest(current *chunk) Rest {
	r := Rest{Disk: b.disk}
	if current != nil && current.rest() > 0 {
		r.Before = append(r.Before, span{current.block, current.at + len(current.leases)}.frames())
	}
	for i := range b.head.len() {
		r.Before = append(r.Before, b.head.at(i).frames())
	}
	for i := range b.tail.len() {
		r.After = append(r.After, b.tail.at(i).frames())
	}
	return r
}

func (s span) frames() Frames { return Frames{s.block.span(s.from, s.block.Len()), s.messages()} }

// Saved returns the deferred publishes that no channel has yet.
func (t *Topic) Saved() []Saved {
	var out []Saved
	for _, p := range t.deferred {
		out = append(out, Saved{p.due, p.frame})
	}
	return out
}

// Saved returns the messages of the channel that are in flight, parked or dead,
// and of those that are not dead first what was in line, in the order of its IDs.
func (c *Channel) Saved() []Saved {
	var out []Saved
	for i := range c.window.chunks.len() {
		ch := c.window.chunks.at(i)
		if ch.block == nil {
			continue
		}
		for j, slot := range ch.leases {
			if slot != 0 {
				out = append(out, Saved{0, ch.frame(j)})
			}
		}
	}
	for _, p := range c.parking.byID {
		s := Saved{0, Redelivery{p.frame, p.attempts}.Append(nil)}
		if p.heapAt >= 0 {
			s.Due = p.due
		}
		out = append(out, s)
	}
	for _, p := range c.parking.dead {
		out = append(out, Saved{-p.due, Redelivery{p.frame, p.attempts}.Append(nil)})
	}
	slices.SortFunc(out, func(a, b Saved) int {
		return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(idOf(a.Frame), idOf(b.Frame)))
	})
	return out
}

// Restore puts a new topic's state back, its backlog being on disk. Channels
// follow with RestoreChannel, and then nothing else before the first publish.
func (t *Topic) Restore(s TopicState, disk Disk, saved []Saved) {
	t.backlog.disk = disk
	for _, c := range s.Cuts {
		t.cuts = append(t.cuts, cut{t.fanned + uint64(c.After), c.Messages})
	}
	t.end = t.fanned + uint64(disk.Messages-t.toBeCut())
	if t.paused = s.Paused; t.paused {
		t.pause = s.Pause
	}
	t.pausedAt = t.fanned + uint64(s.PausedAfter)
	for _, m := range saved {
		p := &parked{id: idOf(m.Frame), frame: m.Frame, due: m.Due}
		t.deferred = append(t.deferred, p)
		t.Store.Charge(p.cost())
	}
}

// RestoreChannel opens a channel with the backlog that it has on disk and its
// parked messages. Those that were in line go before everything else.
func (t *Topic) RestoreChannel(name string, s ChannelState, disk Disk, saved []Saved, now int64) *Channel {
	c := t.join(name)
	if s.Paused {
		c.Pause(s.Pause)
	}
	c.backlog.disk = disk
	c.cursor = t.fanned - uint64(disk.Messages)
	if disk.Messages == 0 {
		c.cursor = min(t.fanned+uint64(s.Skip), t.limit())
	}
	for _, m := range saved {
		p := &parked{id: idOf(m.Frame), frame: m.Frame, attempts: attemptsOf(m.Frame), heapAt: -1}
		if m.Due < 0 {
			p.due, p.dead = -m.Due, true
			c.inter(p)
			continue
		}
		c.park(p, m.Due, now)
		p.resumed = m.Due == 0
	}
	c.counts.Resumed = uint64(len(saved)) + t.limit() - c.cursor
	c.from = t.limit()
	return c
}
