package broker

import (
	"maps"
	"slices"

	"github.com/millrace-mq/millrace/qd/queue"
)

// The phases of a broker's life, in order.
const (
	taking   int32 = iota
	draining       // no publishes, no new topics
	exiting        // nor anything new of other kinds
)

// Drain makes all publishes from now on fail with ErrDraining, and the creation
// of topics too. Everything else goes on.
func (b *Broker) Drain() { b.phase.CompareAndSwap(taking, draining) }

// Refuse makes all publishes from now on fail with ErrExiting.
func (b *Broker) Refuse() { b.phase.Store(exiting) }

// Refusal is nil, or why all publishes fail: ErrDraining or ErrExiting.
func (b *Broker) Refusal() error {
	switch b.phase.Load() {
	case draining:
		return ErrDraining
	case exiting:
		return ErrExiting
	}
	return nil
}

func (b *Broker) exiting() bool { return b.phase.Load() == exiting }

// Left is what all topics have left.
type Left struct {
	queue.Left
	Topics    int // with messages that are to be waited for
	Consumers int
}

// Left counts what is to be delivered by until, in the broker's time: with what
// is written at this moment it is not exact before Empty says so.
func (b *Broker) Left(until int64) (all Left) {
	for _, t := range b.unsorted() {
		var l queue.Left
		t.View(func(core *queue.Topic) {
			l = core.Left(until)
			for _, c := range core.Channels() {
				all.Consumers += c.ConsumerCount()
			}
		})
		all.Ready += l.Ready
		all.InFlight += l.InFlight
		all.Due += l.Due
		all.Later += l.Later
		all.Dead += l.Dead
		if l.Messages() > 0 {
			all.Topics++
		}
	}
	return all
}

// Empty reports whether Left would count no Messages, and stops at the first
// topic that has some. After Drain it is final, but for what operators do: a
// publish that was let in before is seen, stored or not yet.
func (b *Broker) Empty(until int64) bool {
	return !slices.ContainsFunc(b.unsorted(), func(t *Topic) bool { return t.hasLeft(until) })
}

// hasLeft looks for those who write before it looks at what is there: who gets in
// line after that is refused.
func (t *Topic) hasLeft(until int64) (left bool) {
	if t.logs != nil && t.logs.commits.leads() {
		return true
	}
	t.View(func(core *queue.Topic) { left = core.HasLeft(until) })
	return left
}

// leads reports whether somebody carries something out.
func (c *commits) leads() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy
}

// unsorted returns all topics: ten thousand take less time than to sort them.
func (b *Broker) unsorted() []*Topic {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Collect(maps.Values(b.topics))
}
