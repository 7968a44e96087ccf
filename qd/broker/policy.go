package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/queue"
)

// Policy is what an operator can set for a topic. The zero value is what a
// topic has that was told nothing.
type Policy struct {
	// Durability is the topic's level; nil is the daemon's.
	Durability *Level `json:"durability,omitempty"`
	// RetentionAge and RetentionBytes are for how long, and how much of, the log
	// is kept after every channel is done with it; whichever is exceeded first
	// lets it go. 0 is no such rule; without any, nothing is kept.
	RetentionAge   time.Duration `json:"retention_age,omitempty"`
	RetentionBytes int64         `json:"retention_bytes,omitempty"`
	// MaxMessages and MaxBytes bound the backlog of the channel that has the
	// largest; 0 is no bound. Bytes are those on disk, to within about 32 KiB.
	MaxMessages int   `json:"max_messages,omitempty"`
	MaxBytes    int64 `json:"max_bytes,omitempty"`
	// DropOldest has what exceeds the bounds dropped, rather than publishes
	// refused.
	DropOldest bool `json:"drop_oldest,omitempty"`
}

// What happens beyond the bounds, in words.
const (
	OverflowReject     = "reject"
	OverflowDropOldest = "drop-oldest"
)

// Overflow is what happens beyond the bounds.
func (p Policy) Overflow() string {
	if p.DropOldest {
		return OverflowDropOldest
	}
	return OverflowReject
}

func (p Policy) bounded() bool { return p.MaxMessages > 0 || p.MaxBytes > 0 }

func (p Policy) retains() bool { return p.RetentionAge > 0 || p.RetentionBytes > 0 }

// needsLog reports whether there is something in the policy that a topic of
// level memory cannot do.
func (p Policy) needsLog() bool { return p.retains() || p.DropOldest }

func (p Policy) sameDurability(q Policy) bool {
	if p.Durability == nil || q.Durability == nil {
		return p.Durability == q.Durability
	}
	return *p.Durability == *q.Durability
}

// levelOf is the level that a policy asks for.
func (b *Broker) levelOf(p Policy) Level {
	if p.Durability != nil {
		return *p.Durability
	}
	return b.Durability
}

// keepsLog reports whether a new topic of that name and policy has a log.
func (b *Broker) keepsLog(name string, policy Policy) bool {
	return b.levelOf(policy) != Memory && !protocol.Ephemeral(name)
}

// BacklogError is returned to publishers when a topic's backlog is as large as
// it may be.
type BacklogError struct {
	Topic    string
	Messages int // the bound that is reached, the other being 0
	Bytes    int64
}

func (e *BacklogError) Error() string {
	if e.Messages > 0 {
		return fmt.Sprintf("topic %s has reached its limit of %d messages", e.Topic, e.Messages)
	}
	return fmt.Sprintf("topic %s has reached its limit of %d bytes", e.Topic, e.Bytes)
}

// SpaceError is returned to publishers while the disk has less free space than
// it should.
type SpaceError struct {
	Path        string
	Free, Floor int64 // bytes
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("disk of %s has %d bytes free, below the floor of %d (min-free-disk): publishes are refused until there is room",
		e.Path, e.Free, e.Floor)
}

// ErrNeedsLog is returned for what a topic of level memory cannot do.
var ErrNeedsLog = errors.New("the topic keeps no log: its durability is memory")

// overfull returns why messages more should not be published, or nil. Under mu.
func (t *Topic) overfull(messages int) error {
	p := t.policy
	if !p.bounded() || p.DropOldest {
		return nil
	}
	if p.MaxMessages > 0 && t.backlog()+messages > p.MaxMessages {
		return &BacklogError{Topic: t.name, Messages: p.MaxMessages}
	}
	if p.MaxBytes > 0 && t.backlogBytes() >= p.MaxBytes {
		return &BacklogError{Topic: t.name, Bytes: p.MaxBytes}
	}
	return nil
}

// backlog is how many messages the channel that has the most of them has yet
// to finish; one that replays what the log has looks on, and holds up no publisher. Under mu.
func (t *Topic) backlog() int {
	n := t.core.Depth()
	for _, c := range t.core.Channels() {
		if !c.Replays() {
			n = max(n, c.Depth()+c.Deferred()+c.InFlight())
		}
	}
	return n
}

// backlogBytes is how much the log has for the channel that is farthest behind;
// in memory, where nobody knows, what so many messages usually take. Under mu.
func (t *Topic) backlogBytes() int64 {
	if t.logs != nil {
		return t.logs.main.BytesFrom(t.core.Owed())
	}
	messages, bytes := t.core.Published()
	if messages == 0 {
		return 0
	}
	return int64(float64(t.backlog()) * float64(bytes) / float64(messages))
}

// dropExcess drops the oldest messages beyond the bounds. Under mu.
func (t *Topic) dropExcess() {
	p := t.policy
	if !p.bounded() || !p.DropOldest || t.logs == nil {
		return
	}
	if p.MaxMessages > 0 {
		t.core.DropOldest(p.MaxMessages)
	}
	if p.MaxBytes > 0 && t.backlogBytes() > p.MaxBytes {
		low, high := t.core.Owed(), t.core.End()
		for low < high {
			if mid := low + (high-low)/2; t.logs.main.BytesFrom(mid) > p.MaxBytes {
				low = mid + 1
			} else {
				high = mid
			}
		}
		t.core.DropTo(low)
	}
}

// Policy returns what was set for the topic.
func (t *Topic) Policy() Policy {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.policy
}

// Level is what OK means to the topic's publishers.
func (t *Topic) Level() Level {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.level()
}

// level is Level. Under mu.
func (t *Topic) level() Level {
	switch {
	case t.logs == nil:
		return Memory
	case t.policy.Durability != nil:
		return *t.policy.Durability
	}
	return max(t.broker.Durability, Disk)
}

// SetMaxAttempts sets how often a channel delivers a message before it is dead.
func (t *Topic) SetMaxAttempts(channel string, n int) error {
	return t.changeChannel(channel, func(c *queue.Channel) { c.SetMaxAttempts(n) })
}
