package broker

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/queue"
)

// This file is what operators ask of a topic with a log.

// Place names a position in a topic's log: "earliest", "latest", a message ID of
// 16 hex digits, or a time, in nanoseconds or milliseconds since the Unix epoch
// or as RFC 3339 has it.
type Place struct {
	name string
	id   uint64
	time time.Time
}

// ErrBadPlace is returned for text that names no place.
var ErrBadPlace = errors.New("must be earliest, latest, a message ID of 16 hex digits, or a time (RFC 3339, or milliseconds or nanoseconds since 1970)")

// String is the place as ParsePlace reads it.
func (p Place) String() string {
	switch p.name {
	case "id":
		id := protocol.FormatID(p.id)
		return id.String()
	case "time":
		return p.time.UTC().Format(time.RFC3339Nano)
	}
	return p.name
}

// ParsePlace reads what Place describes.
func ParsePlace(text string) (Place, error) {
	if text == protocol.PlaceEarliest || text == protocol.PlaceLatest {
		return Place{name: text}, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return Place{name: "time", time: at}, nil
	}
	// An ID is longer than milliseconds and shorter than nanoseconds.
	if id, ok := protocol.ParseID([]byte(text)); ok {
		return Place{name: "id", id: id}, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		if len(text) <= 14 {
			return Place{name: "time", time: time.UnixMilli(n)}, nil
		}
		return Place{name: "time", time: time.Unix(0, n)}, nil
	}
	return Place{}, ErrBadPlace
}

// ErrNoMessage is returned for a message that a topic does not have.
var ErrNoMessage = errors.New("no such message")

// position finds the place in the topic's log.
func (t *Topic) position(p Place) (uint64, error) {
	if t.logs == nil {
		return 0, ErrNeedsLog
	}
	log := t.logs.main
	switch p.name {
	case protocol.PlaceEarliest:
		return log.Start(), nil
	case protocol.PlaceLatest:
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.core.End(), nil
	case "id":
		pos, ok, err := log.FindID(p.id)
		if err == nil && !ok {
			err = ErrNoMessage
		}
		return pos, t.unlessGone(err)
	}
	pos, err := log.FindTime(p.time.UnixNano())
	if err != nil {
		err = fmt.Errorf("topic %s: looking for a time in its log: %w", t.name, err)
	}
	return pos, t.unlessGone(err)
}

// Seek moves a channel: what lies at or behind the place will be delivered
// (again), what lies before it will not. What is in flight or was requeued is
// forgotten; deferred publishes and dead messages stay.
func (t *Topic) Seek(channel string, to Place) error {
	pos, err := t.position(to)
	if err != nil {
		return err
	}
	now := t.broker.Now()
	err = t.changeChannel(channel, func(c *queue.Channel) { c.Seek(pos, now) })
	if err == nil {
		err = t.writeNow()
	}
	if err != nil {
		return err
	}
	t.broker.log.Info("channel moved", "topic", t.name, "channel", channel, "position", pos)
	return nil
}

// CreateChannelAt creates a channel that begins at a place of the log.
func (t *Topic) CreateChannelAt(name string, at Place) error {
	pos, err := t.position(at)
	if err != nil {
		return err
	}
	if err := t.lock(); err != nil {
		return err
	}
	created := t.core.Channel(name) == nil
	if created {
		t.addChannel(name, &pos)
	}
	t.unlock()
	if created {
		t.broker.log.Info("channel created", "topic", t.name, "channel", name, "position", pos)
		t.broker.notify()
	}
	return t.save()
}

// SetPolicy replaces the topic's policy, with the refusals of ChangePolicy.
func (t *Topic) SetPolicy(p Policy) error {
	return t.ChangePolicy(func(now *Policy) { *now = p })
}

// ChangePolicy changes the topic's policy, of which change gets a copy under the
// topic's lock: of two changes at the same time, neither undoes the other. A
// change of the level to or from memory is refused (ErrLevel), and at level
// memory so is what needs a log (ErrNeedsLog).
func (t *Topic) ChangePolicy(change func(p *Policy)) error {
	if err := t.lock(); err != nil {
		return err
	}
	was, old := t.level(), t.policy
	p := old
	change(&p)
	want := t.broker.levelOf(p)
	// A topic that is there keeps its kind if the daemon's level has changed, and
	// its other settings can be changed all the same.
	if !p.sameDurability(old) && (want == Memory) != (was == Memory) {
		t.unlock()
		return ErrLevel
	}
	if t.logs == nil && p.needsLog() {
		t.unlock()
		return ErrNeedsLog
	}
	t.policy = p
	if t.logs != nil {
		t.logs.change++
		t.soil(t.broker.Now())
	}
	t.unlock()
	signal(t.broker.changed)
	if want == Fsync && was == Disk {
		// What was acknowledged so far shall survive as much as what comes; and a
		// commit that is under way has not heard of the change.
		if err := t.alone(func() error {
			return errors.Join(t.wrap("log", t.logs.main.Commit(nil, true)), t.wrap("side log", t.logs.side.Commit(nil, true)))
		}); err != nil {
			t.mu.Lock()
			t.policy.Durability = old.Durability
			t.logs.change++ // it may have been written down meanwhile
			t.soil(t.broker.Now())
			t.mu.Unlock()
			return t.unlessGone(err)
		}
	}
	return t.save()
}

// ErrLevel is returned for a change of level that would need the messages to be
// stored another way.
var ErrLevel = errors.New("the level of a topic cannot be changed from or to memory: create it anew")

// Revive puts dead messages of a channel in line again: the one with the ID, or
// all. It returns how many.
func (t *Topic) Revive(channel string, id uint64, all bool) (n int, err error) {
	now := t.broker.Now()
	return t.bury(channel, id, all, func(c *queue.Channel, id uint64) error { return c.Revive(id, now) })
}

// DeleteDead drops dead messages of a channel: the one with the ID, or all. It
// returns how many.
func (t *Topic) DeleteDead(channel string, id uint64, all bool) (n int, err error) {
	return t.bury(channel, id, all, (*queue.Channel).Delete)
}

// bury does something with dead messages of a channel, and returns to how many.
// If the topic has a log, what was done is in the channel's file when it returns.
func (t *Topic) bury(channel string, id uint64, all bool, do func(c *queue.Channel, id uint64) error) (n int, err error) {
	changed := t.changeChannel(channel, func(c *queue.Channel) {
		ids := []uint64{id}
		if all {
			ids = c.DeadIDs()
		}
		for _, id := range ids {
			if err = do(c, id); err != nil {
				return
			}
			n++
		}
	})
	if changed != nil {
		return n, changed
	}
	// Whoever has decided on a message does not want to do it twice.
	return n, errors.Join(err, t.writeNow())
}

// writeNow writes down how far the channels have come, rather than behind.
func (t *Topic) writeNow() error {
	if t.logs == nil {
		return nil
	}
	return t.inPlaceOfTend(func() error { return t.writeBehind(t.Level() == Fsync) })
}

// inPlaceOfTend does something that only tend may, when it does not run. It does
// nothing for a topic that is gone.
func (t *Topic) inPlaceOfTend(do func() error) error {
	for {
		t.mu.Lock()
		busy, progress := t.logs.tending, t.progress
		if !busy && !t.gone {
			t.logs.tending = true
		}
		gone := t.gone
		t.mu.Unlock()
		if gone {
			return nil
		}
		if !busy {
			break
		}
		<-progress
	}
	err := do()
	t.mu.Lock()
	t.logs.tending = false
	t.announce()
	if t.logs.soiled {
		t.tendBy(t.broker.Now() + int64(behindBy))
	} else if t.logs.tendAt != 0 {
		t.ask(t.logs.tendAt) // the keeper may have come meanwhile, for nothing
	}
	t.settle()
	return err
}

// LogStats is what a topic has on disk at the levels disk and fsync.
type LogStats struct {
	Segments      int
	Bytes         int64
	Oldest        int64  // when the oldest message that is kept was published, ns; 0 if not known
	Records       uint64 // committed since it was opened
	Written       int64  // bytes of them
	Damaged, Lost uint64
}

// LogStats returns what the topic has on disk; ok is false at level memory.
func (t *Topic) LogStats() (s LogStats, ok bool) {
	if t.logs == nil {
		return s, false
	}
	main, side := t.logs.main.Stats(), t.logs.side.Stats()
	s = LogStats{
		Segments: main.Segments + side.Segments, Bytes: main.Bytes + side.Bytes,
		Records: main.Records + side.Records, Written: main.Written + side.Written,
		Damaged: main.Damaged + side.Damaged, Lost: main.Lost + side.Lost,
	}
	if segments := t.logs.main.Segments(); len(segments) > 0 {
		s.Oldest = segments[0].Oldest
	}
	return s, true
}
