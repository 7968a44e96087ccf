package peers

import (
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
)

// roster is the topics that a daemon had at some moment, sorted by name. It is
// never changed.
type roster struct {
	topics []topic
}

type topic struct {
	name     string
	number   uint64   // another one is another topic, although of the same name
	channels []string // sorted
}

func take(b *broker.Broker) *roster {
	all := b.Topics()
	r := &roster{make([]topic, 0, len(all))}
	for _, t := range all {
		entry := topic{name: t.Name(), number: t.Number()}
		t.View(func(core *queue.Topic) {
			for _, c := range core.Channels() {
				entry.channels = append(entry.channels, c.Name())
			}
		})
		slices.Sort(entry.channels)
		r.topics = append(r.topics, entry)
	}
	return r
}

// command is a REGISTER or UNREGISTER to be sent.
type command struct {
	verb, topic, channel string // no channel: the topic itself
}

const (
	register   = "REGISTER"
	unregister = "UNREGISTER"
)

func (c command) appendTo(dst []byte) []byte {
	dst = append(append(append(dst, c.verb...), ' '), c.topic...)
	if c.channel != "" {
		dst = append(append(dst, ' '), c.channel...)
	}
	return append(dst, '\n')
}

// changes returns what a lookupd that knows r has to be told to know next.
func (r *roster) changes(next *roster) (cs []command) {
	both(r.topics, next.topics, func(x, y topic) int { return strings.Compare(x.name, y.name) },
		func(was, is *topic) {
			switch {
			case was == nil:
				cs = is.arrive(cs)
			case is == nil:
				cs = was.leave(cs)
			case was.number != is.number:
				// The lookupd must hear that the old one is gone: it may hide
				// that behind a tombstone, which is not for the new one.
				cs = is.arrive(was.leave(cs))
			default:
				cs = was.become(is, cs)
			}
		})
	return cs
}

// arrive registers a topic: with each of its channels, which registers the
// topic too, or alone if it has none.
func (t *topic) arrive(cs []command) []command {
	if len(t.channels) == 0 {
		return append(cs, command{register, t.name, ""})
	}
	for _, c := range t.channels {
		cs = append(cs, command{register, t.name, c})
	}
	return cs
}

// leave takes a topic back. Its channels go first, each by name: nsqlookupd
// forgets an ephemeral channel only so.
func (t *topic) leave(cs []command) []command {
	for _, c := range t.channels {
		cs = append(cs, command{unregister, t.name, c})
	}
	return append(cs, command{unregister, t.name, ""})
}

// become tells how the channels of a topic have changed.
func (t *topic) become(next *topic, cs []command) []command {
	both(t.channels, next.channels, strings.Compare, func(was, is *string) {
		switch {
		case was == nil:
			cs = append(cs, command{register, t.name, *is})
		case is == nil:
			cs = append(cs, command{unregister, t.name, *was})
		}
	})
	return cs
}

// both calls f for every element of two sorted lists: with that of each when
// they compare as equal, else with nil for the list that lacks it.
func both[T any](xs, ys []T, compare func(x, y T) int, f func(x, y *T)) {
	for len(xs) > 0 || len(ys) > 0 {
		order := 0
		switch {
		case len(xs) == 0:
			order = 1
		case len(ys) == 0:
			order = -1
		default:
			order = compare(xs[0], ys[0])
		}
		var x, y *T
		if order <= 0 {
			x, xs = &xs[0], xs[1:]
		}
		if order >= 0 {
			y, ys = &ys[0], ys[1:]
		}
		f(x, y)
	}
}
