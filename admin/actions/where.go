package actions

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/fleet"
)

// holders returns the addresses of the nodes that had a topic, or a channel of it if
// channel is not empty, at the time of the snapshot.
func holders(s *fleet.Snapshot, topic, channel string) (nodes []string) {
	i, found := slices.BinarySearchFunc(s.Topics, topic, func(t *fleet.Topic, name string) int {
		return strings.Compare(t.Name, name)
	})
	if !found {
		return nil
	}
	t := s.Topics[i]
	if channel == "" {
		for _, n := range t.Nodes {
			nodes = append(nodes, n.Node)
		}
		return nodes
	}
	for _, c := range t.Channels {
		if c.Name == channel {
			for _, n := range c.Nodes {
				nodes = append(nodes, n.Node)
			}
		}
	}
	return nodes
}

func nodeAt(s *fleet.Snapshot, address string) *fleet.Node {
	for _, n := range s.Nodes {
		if n.Address == address {
			return n
		}
	}
	return nil
}

// maxFresh is for how many topics it is found out anew who has them. For more, who had
// them at the last poll is good enough.
const maxFresh = 8

// whereabouts is who is told about the topics of a request. The snapshot may be some
// seconds old: a topic or channel created since must be found, too.
type whereabouts struct {
	*job
	asked bool                // it was found out anew, which is in what follows
	fresh map[string][]string // nodes by topic
	known map[string]bool     // topics that lookupds know, though perhaps no node has them
	mute  []string            // lookupds that could not say
}

// locate finds out who has the request's topics.
func (j *job) locate(ctx context.Context) *whereabouts {
	w := &whereabouts{job: j, fresh: make(map[string][]string), known: make(map[string]bool)}
	topics := make(map[string]bool)
	for _, t := range j.request.Targets {
		topics[t.Topic] = true
	}
	if w.asked = len(topics) <= maxFresh; w.asked {
		w.look(ctx, sorted(topics))
	}
	return w
}

// look finds out who has the topics: those whom lookupds name; without lookupds, all that
// are up are asked to do it, and those that do not have it say so.
func (w *whereabouts) look(ctx context.Context, topics []string) {
	lookupds := w.cluster.Lookupds()
	if len(lookupds) == 0 {
		for _, topic := range topics {
			w.fresh[topic] = w.up()
		}
		return
	}
	var mu sync.Mutex // guards w's maps; not held while somebody is asked
	for _, r := range w.cluster.Each(ctx, lookupds, func(ctx context.Context, lookupd string) audit.Result {
		for _, topic := range topics {
			nodes, err := w.holders(ctx, lookupd, topic)
			if err != nil && !w.lacks(lookupd, err) {
				return cluster.ResultOf(lookupd, err) // once it hangs, it is waited for once
			}
			mu.Lock()
			w.known[topic] = w.known[topic] || err == nil
			w.fresh[topic] = append(w.fresh[topic], nodes...)
			mu.Unlock()
		}
		return audit.Result{OK: true}
	}, nil) {
		if !r.OK {
			w.mute = append(w.mute, r.Node)
		}
	}
}

// registered reports whether lookupds may know a topic.
func (w *whereabouts) registered(topic string) bool {
	return w.known[topic] || len(w.mute) > 0 || !w.asked && len(w.cluster.Lookupds()) > 0
}

// sofar is a sentence about what nobody has, with who could not be asked.
func (w *whereabouts) sofar(sentence string) string {
	if len(w.mute) == 0 {
		return sentence
	}
	return sentence + ", as far as is known: " + listed(w.mute, len(w.mute)) + " could not be asked"
}

// holders asks a lookupd who has a topic. The error may be that it does not know it.
func (j *job) holders(ctx context.Context, lookupd, topic string) (nodes []string, err error) {
	all, _, err := j.cluster.Holders(ctx, lookupd, topic)
	for _, p := range all {
		nodes = append(nodes, p.Address)
	}
	return nodes, err
}

// lacks reports whether an error is a daemon's answer that it does not have something.
func (j *job) lacks(address string, err error) bool {
	r, ok := errors.AsType[*cluster.Refusal](err)
	return ok && j.refusedBy(address, r).absent
}

// of returns the nodes that are to be told about a target. If it names one, it is that.
func (w *whereabouts) of(t Target) []string {
	if t.Node != "" {
		return []string{t.Node}
	}
	// With the topic, and not the channel: that may be younger than the snapshot.
	all := w.fresh[t.Topic]
	if len(all) == 0 {
		all = holders(w.snapshot, t.Topic, t.Channel)
	} else {
		all = append(slices.Clone(all), holders(w.snapshot, t.Topic, "")...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
