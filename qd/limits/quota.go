package limits

import (
	"fmt"

	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
)

// topic and channel name what was created, and not what is created under the same name
// when that is gone.
type topic struct {
	name   string
	number uint64
}

type channel struct {
	of     topic
	name   string
	serial uint64
}

// QuotaError refuses to create something for a client that has created as much as it may.
type QuotaError struct {
	client string
	things string // topics or channels
	most   int
}

func (e *QuotaError) Error() string {
	word := "TOO_MANY_TOPICS"
	if e.things == "channels" {
		word = "TOO_MANY_CHANNELS"
	}
	return fmt.Sprintf("%s: client %s has created %d %s, as many as it may (client-max-%s)", word, e.client, e.most, e.things, e.things)
}

// Topic returns what create does, which returns the topic called name, and creates it for
// client if need be. The error is a *QuotaError if client may not have it created. Two
// clients that create a topic at once have both created it.
func (l *Limits) Topic(client, name string, create func() (*broker.Topic, error)) (*broker.Topic, error) {
	most := l.settings.Load().Topics
	if most <= 0 {
		return create()
	}
	if _, err := l.broker.Find(name); err == nil {
		return create()
	}
	if !l.topics.Claim(client, most) {
		return nil, l.over(&QuotaError{client, "topics", most}, clientTopics)
	}
	t, err := create()
	if t == nil {
		l.topics.Abandon(client)
	} else { // there may be an error all the same
		l.topics.Made(client, topic{name, t.Number()})
	}
	return t, err
}

// Channel is likewise for create, which sees to it that there is a channel, and returns its
// topic.
func (l *Limits) Channel(client, of, name string, create func() (*broker.Topic, error)) error {
	most := l.settings.Load().Channels
	if most <= 0 {
		_, err := create()
		return err
	}
	if t, err := l.broker.Find(of); err == nil {
		if _, there := serial(t, name); there {
			_, err := create()
			return err
		}
	}
	if !l.channels.Claim(client, most) {
		return l.over(&QuotaError{client, "channels", most}, clientChannels)
	}
	t, err := create()
	if t != nil {
		if serial, there := serial(t, name); there {
			l.channels.Made(client, channel{topic{of, t.Number()}, name, serial})
			return err
		}
	}
	l.channels.Abandon(client)
	return err
}

// over counts a refusal.
func (l *Limits) over(e *QuotaError, kind string) error {
	l.mu.Lock()
	l.refusals[kind]++
	l.mu.Unlock()
	l.log.Warn("a client has created as many topics or channels as it may: it gets no more", "client", e.client, "error", e)
	return e
}

func (l *Limits) topicExists(t topic) bool {
	found, err := l.broker.Find(t.name)
	return err == nil && found.Number() == t.number
}

func (l *Limits) channelExists(c channel) bool {
	t, err := l.broker.Find(c.of.name)
	if err != nil || t.Number() != c.of.number {
		return false
	}
	now, there := serial(t, c.name)
	return there && now == c.serial
}

// serial tells a channel from others of its name.
func serial(t *broker.Topic, name string) (serial uint64, there bool) {
	t.View(func(core *queue.Topic) {
		if c := core.Channel(name); c != nil {
			serial, there = c.Serial(), true
		}
	})
	return serial, there
}
