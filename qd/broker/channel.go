package broker

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/queue"
)

// CreateChannel creates the channel if it does not exist.
func (t *Topic) CreateChannel(name string) error {
	if err := t.lock(); err != nil {
		return err
	}
	created := t.core.Channel(name) == nil
	if created {
		t.addChannel(name, nil)
	}
	t.unlock()
	if created {
		t.broker.log.Info("channel created", "topic", t.name, "channel", name)
		t.broker.notify()
	}
	return t.save()
}

// DeleteChannel deletes a channel with its messages. Its consumers are gone.
func (t *Topic) DeleteChannel(name string) error {
	return t.deleteChannel("", func(core *queue.Topic) *queue.Channel {
		t.forget(name) // also if another daemon alone has it so far
		return core.Channel(name)
	})
}

// deleteChannel deletes the channel that pick chooses under the lock. why is told if
// nobody has asked for it.
func (t *Topic) deleteChannel(why string, pick func(core *queue.Topic) *queue.Channel) error {
	if err := t.lock(); err != nil {
		return err
	}
	c := pick(t.core)
	if c == nil {
		t.unlock()
		// Whoever tries again after an error is not told so before it will be true
		// after a crash too.
		return cmp.Or(t.save(), ErrNoChannel)
	}
	orphans := t.core.RemoveChannel(c)
	delete(t.times, c)
	deserted := len(t.core.Channels()) == 0
	file := t.forgetFile(c)
	t.unlock()
	for _, k := range orphans {
		k.Owner.(*Consumer).Wake()
	}
	t.broker.log.Info("channel deleted", "topic", t.name, "channel", c.Name())
	t.broker.notify()
	if why != "" {
		t.broker.tell(byItself, Change{Action: "delete-channel", Topic: t.name, Channel: c.Name(), Detail: why})
	}
	if deserted && protocol.Ephemeral(t.name) {
		return t.broker.deleteIfDeserted(t)
	}
	if err := t.save(); err != nil || file == "" {
		return err
	}
	if err := t.broker.FS.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("topic %s, channel %s: %w", t.name, c.Name(), err)
	}
	return nil
}

// Empty drops the messages that wait in the topic itself.
func (t *Topic) Empty() error {
	err := t.change(func(core *queue.Topic) {
		if t.logs != nil {
			t.learning.emptied(core, t.logs.sideEnd())
		}
		core.Empty()
	})
	if err != nil {
		return err
	}
	return t.writeNow() // or deferred publishes that it dropped would be back after a crash
}

// EmptyChannel drops all messages of a channel.
func (t *Topic) EmptyChannel(name string) error {
	if err := t.changeChannel(name, (*queue.Channel).Empty); err != nil {
		return err
	}
	return t.writeNow()
}

func (t *Topic) change(f func(core *queue.Topic)) error {
	if err := t.lock(); err != nil {
		return err
	}
	f(t.core)
	if t.logs != nil {
		t.logs.change++
	}
	t.awaitEnd()
	t.unlock()
	signal(t.broker.changed)
	return t.save()
}

func (t *Topic) changeChannel(name string, f func(c *queue.Channel)) error {
	err := ErrNoChannel
	if gone := t.change(func(core *queue.Topic) {
		if c := core.Channel(name); c != nil {
			f(c)
			err = nil
		}
	}); gone != nil {
		return gone
	}
	return err
}

// Consumer is one subscription. Its methods may be called by two goroutines:
// the one that delivers (Next, Release) and the one that reads commands.
type Consumer struct {
	// Owner is whoever subscribed, for those who list consumers.
	Owner any

	topic   *Topic
	channel *queue.Channel
	core    *queue.Consumer
	awake   chan struct{}
}

// TooManyError is returned by Subscribe when a channel has all the consumers
// that it may have.
type TooManyError struct {
	Topic, Channel string
	Limit          int
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("consumers for %s:%s exceeds limit of %d", e.Topic, e.Channel, e.Limit)
}

// Membership is how a consumer takes part in a channel.
type Membership struct {
	// Timeout is how long it may hold a message.
	Timeout time.Duration
	// SampleRate is how many of each hundred messages of its share it gets, from 1
	// to 99; the others are skipped. 0 is all.
	SampleRate int32
	// Near is how near the consumer is: Broker.Nearness says it.
	Near queue.Nearness
	// Limit is how many consumers the channel may have with it; 0 is any number.
	Limit int
	// Start, if not nil, is the place where the channel begins if it is created.
	Start *Place
}

// Nearness is how near a consumer is that says that it is in a zone of a region.
// All are Elsewhere unless the settings prefer those who are near.
func (b *Broker) Nearness(region, zone string) queue.Nearness {
	switch {
	case !b.PreferNear || region != b.Region:
		return queue.Elsewhere
	case zone != "" && zone == b.Zone:
		return queue.Zone
	case region != "":
		return queue.Region
	}
	return queue.Elsewhere
}

// Subscribe adds a consumer to the channel, which is created if need be.
func (t *Topic) Subscribe(channel string, owner any, m Membership) (*Consumer, error) {
	if t.broker.exiting() {
		return nil, ErrExiting
	}
	at, errStart := t.beginning(m.Start)
	if err := t.lock(); err != nil {
		return nil, err
	}
	c := t.core.Channel(channel)
	created := c == nil
	if created && errStart != nil {
		t.unlock()
		return nil, errStart
	}
	if created {
		c = t.addChannel(channel, at)
	} else if m.Limit > 0 && c.ConsumerCount() >= m.Limit {
		t.unlock()
		return nil, &TooManyError{t.name, channel, m.Limit}
	}
	t.watch(c)
	k := &Consumer{Owner: owner, topic: t, channel: c, awake: make(chan struct{}, 1)}
	k.core = c.Subscribe(k, int64(m.Timeout))
	k.core.SetNearness(m.Near)
	k.core.SetSampleRate(m.SampleRate)
	t.unlock()
	if created {
		t.broker.log.Info("channel created", "topic", t.name, "channel", channel)
		t.broker.notify()
	}
	err := t.settled(c)
	if created {
		t.broker.tell(byItself, Change{Action: "create-channel", Topic: t.name, Channel: channel, Owner: owner, Err: err})
	}
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// beginning is the position where a channel begins that is to begin at a place;
// nil is where channels usually do. A topic without a log keeps nothing but what
// is there for its first channel, which gets it even so.
func (t *Topic) beginning(at *Place) (*uint64, error) {
	if at == nil || t.logs == nil && at.name == protocol.PlaceEarliest {
		return nil, nil
	}
	pos, err := t.position(*at)
	return &pos, err
}

// Seek moves the consumer's channel; see Topic.Seek.
func (k *Consumer) Seek(to Place) error {
	err := k.topic.Seek(k.channel.Name(), to)
	k.topic.broker.tell(byItself, Change{
		Action: "seek", Topic: k.topic.name, Channel: k.channel.Name(), Detail: "to=" + to.String(), Owner: k.Owner, Err: err,
	})
	return err
}

// Topic is the name of the consumer's topic.
func (k *Consumer) Topic() string { return k.topic.name }

// Channel is the name of the consumer's channel.
func (k *Consumer) Channel() string { return k.channel.Name() }

// Awake is signalled when there is something for the consumer: Next should be
// called. It may be signalled when there is nothing.
func (k *Consumer) Awake() <-chan struct{} { return k.awake }

// Wake signals Awake.
func (k *Consumer) Wake() { signal(k.awake) }

// Next releases run and fills it with what is to be sent to the consumer now,
// about maxBytes at most. ok is false when there is nothing: Awake is
// signalled when that changes. The error is ErrGone.
func (k *Consumer) Next(run *queue.Run, maxBytes int) (ok bool, err error) {
	now := k.topic.broker.Now()
	k.topic.mu.Lock()
	switch {
	case k.core.Gone():
		k.channel.Release(run)
		err = ErrGone
	case k.topic.broker.halted.Load():
		k.channel.Release(run)
	default:
		ok = k.channel.Next(k.core, run, maxBytes, now)
	}
	k.topic.unlockFor(k.channel)
	return ok, err
}

// Yield tells that the consumer is busy with something else than messages
// until it next calls Next.
func (k *Consumer) Yield() {
	k.topic.mu.Lock()
	k.channel.Yield(k.core)
	k.topic.unlockFor(k.channel)
}

// Release gives up a run.
func (k *Consumer) Release(run *queue.Run) {
	k.topic.mu.Lock()
	k.channel.Release(run)
	k.topic.unlockFor(k.channel)
}

// SetReady sets how many messages the consumer may hold.
func (k *Consumer) SetReady(n int) {
	k.topic.mu.Lock()
	k.core.SetReady(n)
	k.topic.unlockFor(k.channel)
}

// SetTimeout sets how long the consumer may hold a message that is delivered
// from now on.
func (k *Consumer) SetTimeout(d time.Duration) {
	k.topic.mu.Lock()
	k.core.SetTimeout(int64(d))
	k.topic.unlockFor(k.channel)
}

// Finish ends messages that the consumer holds. failed is called for each that
// it does not hold, with its index and queue.ErrNotInFlight or ErrNotOwner.
func (k *Consumer) Finish(ids []uint64, failed func(i int, err error)) {
	now := k.topic.broker.Now()
	k.topic.mu.Lock()
	k.channel.Finish(k.core, ids, now, failed)
	k.topic.unlockFor(k.channel)
}

// Requeue makes a message that the consumer holds ready again after delay.
func (k *Consumer) Requeue(id uint64, delay time.Duration) error {
	now := k.topic.broker.Now()
	k.topic.mu.Lock()
	err := k.channel.Requeue(k.core, id, int64(delay), now)
	k.topic.unlockFor(k.channel)
	return err
}

// Touch gives the consumer its whole timeout anew for a message that it holds,
// within the longest time that any message may be held.
func (k *Consumer) Touch(id uint64) error {
	now := k.topic.broker.Now()
	k.topic.mu.Lock()
	err := k.channel.Touch(k.core, id, int64(k.topic.broker.MaxMsgTimeout), now)
	k.topic.unlockFor(k.channel)
	return err
}

// Close unsubscribes: what the consumer holds is ready for others at once. An
// ephemeral channel goes with its last consumer.
func (k *Consumer) Close() error {
	now := k.topic.broker.Now()
	k.topic.mu.Lock()
	if k.core.Gone() {
		k.topic.unlockFor(k.channel)
		return nil
	}
	k.channel.Unsubscribe(k.core, now)
	last := k.channel.ConsumerCount() == 0
	k.topic.unlockFor(k.channel)
	if !last || !protocol.Ephemeral(k.channel.Name()) || k.topic.broker.exiting() {
		return nil
	}
	err := k.topic.deleteChannel("its last consumer has left", func(core *queue.Topic) *queue.Channel {
		if c := k.channel; core.Channel(c.Name()) == c && c.ConsumerCount() == 0 {
			return c
		}
		return nil // somebody else has subscribed, or deleted it
	})
	if errors.Is(err, ErrNoChannel) || errors.Is(err, ErrGone) {
		return nil
	}
	return err
}
