// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative.

package queue

import (
	"slices"

	"github.com/millrace-mq/millrace/protocol"
)

// This file is what becomes of ephemeral topics and channels that have more
// than their share of memory: they have no disk, so the oldest messages go.

// sheds reports whether nobody is owed what the topic has no memory for: the
// topic is ephemeral, or all its channels are.
func (t *Topic) sheds() bool {
	return t.ephemeral || len(t.channels) > 0 && !t.paused &&
		!slices.ContainsFunc(t.channels, func(c *Channel) bool { return !protocol.Ephemeral(c.name) })
}

// shed drops the oldest blocks of the topic's backlog.
func (t *Topic) shed() {
	for t.sheds() && (t.inMemory() > t.MemoryMessages || t.inMemory() > 0 && t.Store.Tight()) {
		s, ok, _ := t.backlog.pop()
		if !ok {
			return
		}
		if t.cutOff(s) {
			continue
		}
		n := uint64(s.messages())
		t.dropped += n
		if len(t.channels) == 0 || t.paused && t.fanned == t.pausedAt {
			t.end -= n // no channel has heard of them
		} else {
			t.pass(n)
		}
		t.drop(s.block)
	}
}

// pass moves fanned on past n messages that the channels do not get.
func (t *Topic) pass(n uint64) {
	for _, c := range t.channels {
		// What the channel has of its own lies before them, so its positions
		// only move along.
		missed := n - min(n, max(t.fanned, c.cursor)-t.fanned)
		c.cursor += missed
		c.counts.Dropped += missed
	}
	t.fanned += n
}

// Replays reports whether the channel is ephemeral and was made, or moved, to read what the
// log has, and has not come so far yet. What it has to read counts as nobody's backlog.
func (c *Channel) Replays() bool {
	return c.topic.log != nil && c.cursor < c.replay && protocol.Ephemeral(c.name)
}

// shed drops the oldest blocks that the channel has not begun.
func (c *Channel) shed() {
	if !protocol.Ephemeral(c.name) && !c.topic.ephemeral {
		return
	}
	if t := c.topic; t.log != nil {
		if c.Replays() {
			return
		}
		if more := c.unread() - t.MemoryMessages; more > 0 {
			c.dropTo(t.log.behind(c.cursor, more))
		}
		return
	}
	for c.inMemory() > c.topic.MemoryMessages || c.inMemory() > 0 && c.topic.Store.Tight() {
		if c.backlog.head.len()+c.backlog.tail.len() <= 1 {
			return
		}
		s, _, _ := c.backlog.pop()
		c.counts.Dropped += uint64(s.messages())
		c.cursor += uint64(s.messages())
		c.topic.drop(s.block)
	}
}
