package broker

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/millrace-mq/millrace/qd/queue"
)

// This file finds a message whose topic is not known.

// extents are the numbers of the extents of IDs that a topic is known to have drawn:
// all since the start, and of those before it the ones that were met while it was
// read. There are a few.
type extents []uint64

func (e *extents) add(number uint64) {
	if !slices.Contains(*e, number) {
		*e = append(*e, number)
	}
}

// met notes that an ID that was read is the topic's. Only while it is resumed.
func (t *Topic) met(id uint64) {
	number := id / queue.IDExtent
	t.broker.inUse(number)
	t.extents.add(number)
}

// FindMessage is Topic.Message for who does not know the topic. An ID's extent is
// one topic's alone, and most of the time it is known whose. If it is not, because it
// was drawn before the daemon was started, the topics are looked through that are
// older than it, which takes some reads of each one's log; that ends with ctx.
func (b *Broker) FindMessage(ctx context.Context, id uint64) (t *Topic, m Seen, standing []Standing, err error) {
	var failed error
	for _, t := range b.mayHave(id) {
		if ctx.Err() != nil {
			return nil, m, nil, context.Cause(ctx)
		}
		m, standing, err := t.Message(id)
		if err == nil {
			return t, m, standing, nil
		}
		if failed == nil && !errors.Is(err, ErrNoMessage) && !errors.Is(err, ErrGone) {
			failed = err // another one may have it
		}
	}
	return nil, m, nil, cmp.Or(failed, ErrNoMessage)
}

// mayHave returns the topics that can have a message: the one that has drawn the
// extent or, if it is not known, all whose number was drawn before it, the latest
// first.
func (b *Broker) mayHave(id uint64) (some []*Topic) {
	number := id / queue.IDExtent
	if number > b.drawn.Load() {
		return nil
	}
	for _, t := range b.unsorted() {
		if t.number >= number {
			continue
		}
		t.mu.Lock()
		known := slices.Contains(t.extents, number)
		t.mu.Unlock()
		if known {
			return []*Topic{t}
		}
		some = append(some, t)
	}
	slices.SortFunc(some, func(x, y *Topic) int { return cmp.Compare(y.number, x.number) })
	return some
}
