package peers

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
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
	number   uint64 // another one is another topic, although of the same name
	paused   bool
	channels []channel // sorted by name
}

type channel struct {
	name   string
	paused bool
}

func take(b *broker.Broker) *roster {
	all := b.Topics()
	r := &roster{make([]topic, 0, len(all))}
	for _, t := range all {
		entry := topic{name: t.Name(), number: t.Number()}
		t.View(func(core *queue.Topic) {
			entry.paused = core.Paused()
			entry.channels = make([]channel, 0, len(core.Channels()))
			for _, c := range core.Channels() {
				entry.channels = append(entry.channels, channel{c.Name(), c.Paused()})
			}
		})
		slices.SortFunc(entry.channels, func(x, y channel) int { return strings.Compare(x.name, y.name) })
		r.topics = append(r.topics, entry)
	}
	return r
}

// teller puts what there is to tell into commands: of V1, or of its extension if
// the lookupd speaks it.
type teller struct {
	out      io.Writer // remembers its first error, as bufio's does
	extended bool
	said     int // commands
	line     []byte
}

const (
	register   = "REGISTER"
	unregister = "UNREGISTER"
)

// say writes a command about a channel of t, or about t itself if channel is
// empty.
func (w *teller) say(verb string, t *topic, channel string, paused bool) {
	w.line = append(append(append(w.line[:0], verb...), ' '), t.name...)
	if channel != "" || w.extended {
		w.line = append(append(w.line, ' '), channel...)
	}
	if w.extended {
		w.line = strconv.AppendUint(append(w.line, ' '), t.number, 10)
		if paused {
			w.line = append(append(w.line, ' '), protocol.Paused...)
		}
	}
	w.write()
}

// command writes one that has no names in it.
func (w *teller) command(text string) {
	w.line = append(w.line[:0], text...)
	w.write()
}

func (w *teller) write() {
	w.line = append(w.line, '\n')
	w.said++
	_, _ = w.out.Write(w.line) // whoever flushes out hears of the error
}

// changes tells a lookupd that knows was what it has to be told to know is.
func (w *teller) changes(was, is *roster) {
	both(was.topics, is.topics, func(x, y topic) int { return strings.Compare(x.name, y.name) },
		func(was, is *topic) {
			switch {
			case was == nil:
				w.arrive(is)
			case is == nil:
				w.leave(was)
			case was.number != is.number:
				// The lookupd must hear that the old one is gone: it may hide
				// that behind a tombstone, which is not for the new one.
				w.leave(was)
				w.arrive(is)
			default:
				w.become(was, is)
			}
		})
}

// arrive registers a topic: in plain V1 with each of its channels, which
// registers the topic too, or alone if it has none. In the extension it is
// always named on its own, or its pause would not be known.
func (w *teller) arrive(t *topic) {
	if w.extended || len(t.channels) == 0 {
		w.say(register, t, "", t.paused)
	}
	for _, c := range t.channels {
		w.say(register, t, c.name, c.paused)
	}
}

// leave takes a topic back. Its channels go first, each by name: nsqlookupd
// forgets an ephemeral channel only so.
func (w *teller) leave(t *topic) {
	for _, c := range t.channels {
		w.say(unregister, t, c.name, false)
	}
	w.say(unregister, t, "", false)
}

// become tells how a topic has changed.
func (w *teller) become(was, is *topic) {
	if w.extended && was.paused != is.paused {
		w.say(register, is, "", is.paused)
	}
	both(was.channels, is.channels, func(x, y channel) int { return strings.Compare(x.name, y.name) },
		func(before, now *channel) {
			switch {
			case now == nil:
				w.say(unregister, is, before.name, false)
			case before == nil || w.extended && before.paused != now.paused:
				w.say(register, is, now.name, now.paused)
			}
		})
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
