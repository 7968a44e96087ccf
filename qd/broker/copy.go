package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

// This file is publishing a channel's messages to another topic. What is moved is
// published first, and dropped when that is as safe as the other topic's level says:
// whatever fails or ends in between, a message may be in both places, and never in
// none.

// Copying says what is to be published again, and where.
type Copying struct {
	Channel string
	To      string // name of a topic, which is created if need be
	// Move drops what was published. It is for dead messages alone.
	Move bool
	// ID is the one message that is meant, in whatever state it is. All is those in
	// State instead, with IDs above After: at most Limit, and as many as can be done
	// in Within; more than one can be under way when that is over.
	ID     uint64
	All    bool
	State  queue.LookState
	After  uint64
	Limit  int
	Within time.Duration
	// Admit, if not nil, is asked about bodies before they are published. Its error ends
	// the copying before them. No lock is held.
	Admit func(bodies [][]byte) error
}

// Copied is how far a Copy has come, with an error or without.
type Copied struct {
	Count int // messages that were published and, if they are moved, dropped
	// Unreadable is how many were left as they are because they are damaged, or at
	// level memory because they have spilled.
	Unreadable int
	Last       uint64 // ID of the last message that was done or found unreadable; 0: none
	More       bool   // there are others behind Last
}

// ErrUnreadable is returned for a message whose body cannot be had.
var ErrUnreadable = errors.New("the message is damaged on disk, so its body cannot be read")

const (
	copyBatch = 1000    // messages that are published at a time
	copyBytes = 1 << 20 // or so many bytes of bodies, beyond the last of them
)

// Copy publishes messages of a channel to another topic, as new ones: with IDs,
// timestamps and attempts of their own, to be delivered at once. It ends early, with
// More, when ctx ends. Errors are those of Publish for the other topic, and
// ErrNoChannel, ErrNoMessage, queue.ErrNotDead, ErrUnreadable and ErrGone for this
// one; what Copied says was done is done even so.
func (t *Topic) Copy(ctx context.Context, c Copying) (done Copied, err error) {
	k := copier{Copying: c, ctx: ctx, from: t, until: t.broker.Now() + int64(c.Within)}
	if err := t.broker.Refusal(); err != nil {
		return done, err
	}
	if c.All {
		err = k.all()
	} else {
		err = k.one()
	}
	if c.Move && k.done.Count > 0 {
		// Whoever has moved messages does not want to find them again after a crash.
		err = errors.Join(err, t.writeNow())
	}
	if k.done.Count > 0 {
		t.broker.log.Info("messages published to another topic", "topic", t.name, "channel", c.Channel,
			"to", c.To, "moved", c.Move, "count", k.done.Count, "more", k.done.More, "error", err)
	}
	return k.done, err
}

type copier struct {
	Copying
	ctx   context.Context
	from  *Topic
	until int64 // in the broker's time
	done  Copied

	// What is to be published next.
	bodies [][]byte
	ids    []uint64
	size   int // bytes
	spoilt int // unreadable ones among or before them
	last   uint64
}

// one copies the message with the ID.
func (k *copier) one() error {
	s, err := k.find()
	if err != nil {
		return err
	}
	if s.Body == nil {
		return ErrUnreadable
	}
	k.put(s)
	return k.publish()
}

// find finds the one message.
func (k *copier) find() (Seen, error) {
	t := k.from
	there, dead := false, false
	t.View(func(core *queue.Topic) {
		if c := core.Channel(k.Channel); c != nil {
			found, ok := c.Find(k.ID)
			there, dead = true, ok && found.State == queue.DeadMessages
		}
	})
	switch {
	case !there:
		return Seen{}, ErrNoChannel
	case k.Move && !dead:
		return Seen{}, queue.ErrNotDead
	}
	s, _, err := t.Message(k.ID)
	if errors.Is(err, ErrNoMessage) && t.logs == nil {
		// What was never delivered is found by its place in line alone.
		page, err := t.Messages(k.Channel, queue.Ready, k.ID-1, 1)
		if err != nil || len(page) == 0 || page[0].ID != k.ID {
			return s, errors.Join(err, ErrNoMessage)
		}
		return page[0], nil
	}
	return s, err
}

// all copies those in a state.
func (k *copier) all() error {
	err := k.from.walk(k.Channel, k.State, k.After, k.visit)
	if err == nil || errors.Is(err, errEnough) {
		err = k.publish()
	}
	if err != nil {
		k.done.More = true // nobody has looked, but what failed was not the last
		return err
	}
	if !k.done.More && k.State == queue.Ready && k.from.logs == nil {
		k.from.View(func(core *queue.Topic) {
			if c := core.Channel(k.Channel); c != nil {
				k.done.Unreadable += c.DiskDepth()
			}
		})
	}
	return nil
}

// visit takes a message, and publishes what has been taken once it is enough.
func (k *copier) visit(s Seen) (err error) {
	late := k.from.broker.Now() >= k.until || k.ctx.Err() != nil
	if k.done.Count+len(k.ids) >= k.Limit || late && k.last != 0 {
		k.done.More = true
		return errEnough
	}
	if s.Body == nil {
		if s, err = k.again(s); err != nil || s.ID == 0 {
			return err
		}
	}
	k.put(s)
	if len(k.bodies) >= copyBatch || k.size >= copyBytes {
		return k.publish()
	}
	return nil
}

// again looks once more for a message that could not be read: it may have been moved
// out of the log's way since it was found, or be finished. What is not in the state
// any more has no ID.
func (k *copier) again(s Seen) (Seen, error) {
	var found queue.Seen
	ok := false
	k.from.View(func(core *queue.Topic) {
		if c := core.Channel(k.Channel); c != nil {
			found, ok = c.Find(s.ID)
		}
	})
	if !ok || found.State != k.State {
		return Seen{}, nil
	}
	seen, err := k.from.load([]queue.Seen{found})
	if err != nil {
		return Seen{}, err
	}
	return seen[0], nil
}

// put puts a message among those that are to be published.
func (k *copier) put(s Seen) {
	k.last = s.ID
	if s.Body == nil {
		k.spoilt++
		return
	}
	k.bodies, k.ids = append(k.bodies, s.Body), append(k.ids, s.ID)
	k.size += len(s.Body)
}

// publish publishes what has been taken and, if it is moved, drops it here.
func (k *copier) publish() error {
	if len(k.bodies) > 0 && k.Admit != nil {
		if err := k.Admit(k.bodies); err != nil {
			return err
		}
	}
	if len(k.bodies) > 0 {
		if err := k.from.broker.publishTo(k.ctx, k.To, k.bodies); err != nil {
			return err
		}
	}
	k.done.Count += len(k.ids)
	k.done.Unreadable += k.spoilt
	k.done.Last = k.last
	var err error
	if k.Move {
		err = k.from.dropDead(k.Channel, k.ids)
	}
	clear(k.bodies)
	k.bodies, k.ids, k.size, k.spoilt = k.bodies[:0], k.ids[:0], 0, 0
	return err
}

// publishTo publishes to a topic, which is created if need be, and again if somebody
// deletes it meanwhile.
func (b *Broker) publishTo(ctx context.Context, name string, bodies [][]byte) error {
	for {
		t, err := b.TopicToPublish(ctx, name, false)
		if err == nil {
			err = t.Publish(bodies)
		}
		if !errors.Is(err, ErrGone) {
			return err
		}
	}
}

// dropDead drops dead messages of a channel. One that somebody has revived or dropped
// meanwhile is left alone. It is written down behind, or by writeNow.
func (t *Topic) dropDead(channel string, ids []uint64) error {
	if err := t.lock(); err != nil {
		return err
	}
	defer t.unlock()
	c := t.core.Channel(channel)
	if c == nil {
		return ErrNoChannel
	}
	for _, id := range ids {
		if err := c.Delete(id); err != nil && !errors.Is(err, queue.ErrNotDead) {
			return fmt.Errorf("topic %s, channel %s: dropping what was moved: %w", t.name, channel, err)
		}
	}
	return nil
}
