package queue

import "fmt"

// Audit returns an error if the books of the topic or of a channel do not
// balance. It is for tests, which call it at their end.
func (t *Topic) Audit() error {
	if b := t.open; b != nil && !b.stamped() {
		return fmt.Errorf("topic %s: the stamps of the open block are not those of its %d messages", t.Name, len(b.ends))
	}
	if t.log != nil {
		return t.auditLog()
	}
	if t.fanned > t.limit() || t.limit() > t.end || t.inMemory() != t.backlog.messages() {
		return fmt.Errorf("topic %s: fanned %d, limit %d, end %d, %d messages in memory, %d on disk, %d to be cut", t.Name,
			t.fanned, t.limit(), t.end, t.backlog.messages(), t.backlog.disk.Messages, t.toBeCut())
	}
	for _, c := range t.channels {
		if err := c.audit(); err != nil {
			return fmt.Errorf("topic %s, channel %s: %w", t.Name, c.name, err)
		}
	}
	return nil
}

// audit checks that what entered the channel is what left it and what is in
// it, each counted from its own structure.
func (c *Channel) audit() error {
	window, spans := 0, c.backlog.disk.Messages+c.backlog.messages()
	for i := range c.window.chunks.len() {
		ch := c.window.chunks.at(i)
		open := 0
		for _, slot := range ch.leases {
			if slot != 0 {
				open++
			}
		}
		if ch.block != nil {
			window += open
			spans += ch.rest()
		}
	}
	// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
	if own := max(0, int(int64(c.topic.fanned)-int64(c.cursor))); own != spans && c.topic.log == nil {
		return fmt.Errorf("holds %d undelivered messages of its own, its positions say %d", spans, own)
	}
	if n := c.DiskDepth(); n > c.Depth() {
		return fmt.Errorf("%d messages are to be delivered, %d of them from disk", c.Depth(), n)
	}
	if held := window + c.parking.flying; held != c.InFlight() {
		return fmt.Errorf("%d messages under leases, %d held by consumers", held, c.InFlight())
	}
	measured := uint64(0)
	for _, n := range c.latencies.Counts {
		measured += n
	}
	if measured != c.counts.Finished {
		return fmt.Errorf("%d messages are finished, and the latencies of %d known", c.counts.Finished, measured)
	}
	left := c.settled()
	// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
	here := uint64(c.Depth() + c.Deferred() + c.InFlight() + c.Dead())
	if in := c.entered() + c.counts.Resumed; in != left+here {
		return fmt.Errorf("%d messages came in; %d are out and %d here", in, left, here)
	}
	return nil
}
