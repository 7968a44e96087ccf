// Package search finds topics, channels and nodes by a part of their names. It is pure.
package search

import (
	"cmp"
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// Kind is what was found.
type Kind uint8

// The kinds, in the order in which those of the same closeness are told.
const (
	Topic Kind = iota + 1
	Channel
	Node
)

// String is the kind as the API names it.
func (k Kind) String() string {
	switch k {
	case Topic:
		return "topic"
	case Channel:
		return "channel"
	}
	return "node"
}

// Hit is something that was found.
type Hit struct {
	Kind           Kind
	Topic, Channel string
	Node, Hostname string
	rank           int
}

func (h *Hit) name() string {
	switch h.Kind {
	case Topic:
		return h.Topic
	case Channel:
		return h.Channel
	}
	return h.Node
}

// Names finds what has the text in its name, whatever the case: whole names first, then
// those that begin with it, then those in which a word does. A text with a slash is
// looked for in topic/channel. more is how many were left out beyond limit.
func Names(s *fleet.Snapshot, text string, limit int) (hits []Hit, more int) {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "" {
		return nil, 0
	}
	add := func(h Hit, names ...string) {
		h.rank = none
		for _, n := range names {
			h.rank = min(h.rank, closeness(strings.ToLower(n), text))
		}
		if h.rank < none {
			hits = append(hits, h)
		}
	}
	both := strings.Contains(text, "/")
	for _, t := range s.Topics {
		add(Hit{Kind: Topic, Topic: t.Name}, t.Name)
		for _, c := range t.Channels {
			name := c.Name
			if both {
				name = t.Name + "/" + name
			}
			add(Hit{Kind: Channel, Topic: t.Name, Channel: c.Name}, name)
		}
	}
	for _, n := range s.Nodes {
		add(Hit{Kind: Node, Node: n.Address, Hostname: n.Hostname}, n.Address, n.Hostname, n.BroadcastAddress)
	}
	slices.SortStableFunc(hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(len(a.name()), len(b.name())), cmp.Compare(a.name(), b.name()),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Topic, b.Topic))
	})
	if len(hits) > limit {
		return hits[:limit], len(hits) - limit
	}
	return hits, 0
}

const none = 4 // a rank that is no hit

// closeness is how well a name fits, 0 the best.
func closeness(name, text string) int {
	i := strings.Index(name, text)
	switch {
	case i < 0:
		return none
	case name == text:
		return 0
	case i == 0:
		return 1
	case strings.ContainsRune("._-/:#", rune(name[i-1])):
		return 2
	}
	return 3
}
