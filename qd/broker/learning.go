package broker

import (
	"fmt"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/qd/journal"
	"github.com/millrace-mq/millrace/qd/queue"
)

const (
	// learnFrom is how long the messages of a new topic stay on disk for channels
	// that other daemons have and that are not known yet.
	learnFrom = time.Minute
	// maxForgotten is how many names of deleted channels are remembered: beyond it
	// the topic learns no channels any more, rather than one that was deleted.
	maxForgotten = 10_000
)

// learning is what a topic has while it is not known which channels other daemons
// have of it: not every lookupd has said so when it was created. Under Topic.mu.
//
// A restart ends it: topics that are read from the disk learn nothing.
type learning struct {
	unheard []string // the lookupds that have not said so; never changed, but replaced

	until int64 // until when, ns, the logs keep everything from here on:
	from  uint64
	side  uint64

	// forgotten are channels that were deleted, or would have been if they had been
	// there. An answer that was on its way meanwhile must not bring them back. nil:
	// they were too many, and nothing is wanted any more.
	forgotten map[string]struct{}
}

// beginLearning begins it, for a topic that nobody knows yet.
func (t *Topic) beginLearning(unheard []string) {
	t.learning = &learning{unheard: unheard, until: t.broker.Now() + int64(learnFrom), forgotten: make(map[string]struct{})}
}

// Learning are the topics of which it is not known yet which channels other
// daemons have, in any order. Whoever asks the lookupds tells each of them: Learn,
// and Learned in the end.
func (b *Broker) Learning() []*Topic {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := make([]*Topic, 0, len(b.learners))
	for t := range b.learners {
		all = append(all, t)
	}
	return all
}

// Unheard are the lookupds, as Settings.Channels has named them, that have yet to
// say which channels other daemons have. They must not be changed.
func (t *Topic) Unheard() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone || t.learning == nil {
		return nil
	}
	return t.learning.unheard
}

// Heard says that a lookupd is not waited for any more. With the last, what the
// topic has kept for channels that might still come can go.
func (t *Topic) Heard(lookupd string) {
	if t.lock() != nil {
		return
	}
	l := t.learning
	if l == nil || !slices.Contains(l.unheard, lookupd) {
		t.mu.Unlock()
		return
	}
	l.unheard = slices.DeleteFunc(slices.Clone(l.unheard), func(u string) bool { return u == lookupd })
	if len(l.unheard) > 0 {
		t.mu.Unlock()
		return
	}
	t.learning = nil
	t.unlock()
	t.broker.mu.Lock()
	delete(t.broker.learners, t)
	t.broker.mu.Unlock()
}

// Learn creates the channels, valid names, that other daemons have: those that are
// not there, and that were not deleted since the topic was created. At the levels
// disk and fsync they begin with the topic's first message, or with the oldest
// that is left if it is more than a minute old; at level memory where any channel
// does. It returns those that it has created, also with an error, which then says
// that a crash may undo it. ErrGone: the topic was deleted. After another error it
// may be called again.
func (t *Topic) Learn(names []string) (created []string, err error) {
	if created, err = t.unknown(names); err != nil {
		return nil, err
	}
	if len(created) == 0 {
		return nil, t.save() // they may have been created by a call that has failed to
	}
	if t.logs == nil {
		if err := t.lock(); err != nil {
			return nil, err
		}
		created = t.addLearned(names, nil)
		t.unlock()
	} else if created, err = t.learnLogged(names); err != nil {
		return nil, err
	}
	if len(created) == 0 {
		return nil, nil
	}
	t.broker.log.Info("channels created that other daemons have", "topic", t.name, "channels", created)
	t.broker.notify()
	err = t.save()
	for _, name := range created {
		t.broker.tell(byItself, Change{Action: "create-channel", Topic: t.name, Channel: name, Detail: "other daemons have it", Err: err})
	}
	return created, err
}

// unknown returns those of the names that Learn would create.
func (t *Topic) unknown(names []string) ([]string, error) {
	if err := t.lock(); err != nil {
		return nil, err
	}
	defer t.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !t.wants(name) }), nil
}

// wants reports whether the topic lacks a channel and may have it. Under mu.
func (t *Topic) wants(name string) bool {
	if t.learning == nil || t.learning.forgotten == nil || t.core.Channel(name) != nil {
		return false
	}
	_, forgotten := t.learning.forgotten[name]
	return !forgotten
}

// addLearned creates channels, with those deferred publishes that the other
// channels have been given already. Under mu; save must follow.
func (t *Topic) addLearned(names []string, deferred []queue.Entry) (created []string) {
	for _, name := range names {
		if !t.wants(name) {
			continue
		}
		if t.logs == nil {
			t.addChannel(name, nil)
		} else {
			// Its file begins with what lies in the side log from there on, so that a
			// crash before the first time that it is written takes nothing away.
			side := t.learning.side
			t.holdFile(t.core.OpenChannelLate(name, t.learning.from, deferred, t.broker.Now()), side)
		}
		created = append(created, name)
	}
	t.dropExcess()
	return created
}

// learnLogged creates channels that begin in the past. What was deferred since
// then lies in the side log: most of it is read before publishers are held up.
func (t *Topic) learnLogged(names []string) (created []string, err error) {
	t.mu.Lock()
	from := uint64(0)
	if t.learning != nil {
		from = t.learning.side
	}
	t.mu.Unlock()
	var deferred []queue.Entry
	read := func() error {
		err := t.logs.side.Scan(from, func(h journal.Header, _ []byte) error {
			if h.Kind == journal.Deferred && h.Position >= from {
				deferred = append(deferred, queue.Entry{ID: h.FirstID, Place: queue.Side | h.Position, Due: h.Due})
			}
			from = max(from, h.End())
			return nil
		})
		if err != nil {
			return t.unlessGone(fmt.Errorf("topic %s: reading deferred messages for a channel: %w", t.name, err))
		}
		return nil
	}
	if err := read(); err != nil {
		return nil, err
	}
	return created, t.alone(func() error {
		if err := read(); err != nil {
			return err
		}
		if err := t.lock(); err != nil {
			return err
		}
		created = t.addLearned(names, deferred)
		t.unlock()
		return nil
	})
}

// forget notes that a channel is not wanted. Under mu.
func (t *Topic) forget(channel string) {
	switch l := t.learning; {
	case l == nil || l.forgotten == nil:
	case len(l.forgotten) == maxForgotten:
		l.forgotten, l.until = nil, 0
	default:
		l.forgotten[channel] = struct{}{}
	}
}

// emptied notes that what waited in the topic itself is nobody's. Under mu.
func (l *learning) emptied(core *queue.Topic, sideEnd uint64) {
	if l == nil {
		return
	}
	if len(core.Channels()) == 0 {
		l.from = core.End()
	}
	if len(core.Channels()) == 0 || core.Paused() {
		l.side = sideEnd
	}
}

// heldFrom is the position from which on the log is kept for channels that may
// still come, and for how long. A disk without room keeps nothing: to refuse
// publishes is worse. Under mu.
func (t *Topic) heldFrom(now int64) (from uint64, wait time.Duration, held bool) {
	if t.learning == nil || now >= t.learning.until || t.broker.space() != nil {
		return 0, 0, false
	}
	return t.learning.from, time.Duration(t.learning.until - now), true
}

// letGo has the topics look again at what they keep for channels that may still
// come.
func (b *Broker) letGo() {
	for _, t := range b.Learning() {
		if t.lock() == nil {
			t.unlock()
		}
	}
}
