package actions

import (
	"context"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
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
	fresh map[string][]string // topic: nodes, if it was found out anew
	known map[string]bool     // topics that lookupds know, though perhaps no node has them
}

// locate finds out who has the request's topics.
func (j *job) locate(ctx context.Context) *whereabouts {
	w := &whereabouts{job: j, fresh: make(map[string][]string), known: make(map[string]bool)}
	topics := make(map[string]bool)
	for _, t := range j.request.Targets {
		topics[t.Topic] = true
	}
	if len(topics) > maxFresh {
		return w
	}
	for topic := range topics {
		w.look(ctx, topic)
	}
	return w
}

// look finds out who has a topic: those whom lookupds name; without lookupds, all that
// are up are asked to do it, and those that do not have it say so.
func (w *whereabouts) look(ctx context.Context, topic string) {
	lookupds := w.cluster.Lookupds()
	if len(lookupds) == 0 {
		for _, n := range w.snapshot.Nodes {
			if n.Up {
				w.fresh[topic] = append(w.fresh[topic], n.Address)
			}
		}
		return
	}
	var mu sync.Mutex // guards w's maps; not held while somebody is asked
	w.cluster.Each(ctx, lookupds, func(ctx context.Context, lookupd string) audit.Result {
		nodes, err := w.producers(ctx, lookupd, topic)
		mu.Lock()
		defer mu.Unlock()
		w.known[topic] = w.known[topic] || err == nil
		w.fresh[topic] = append(w.fresh[topic], nodes...)
		return cluster.ResultOf(lookupd, err)
	}, nil)
}

// producers asks a lookupd who has a topic. The error may be that it does not know it.
func (j *job) producers(ctx context.Context, lookupd, topic string) (nodes []string, err error) {
	var answer struct {
		Producers []struct {
			BroadcastAddress string `json:"broadcast_address"`
			HTTPPort         int    `json:"http_port"`
		} `json:"producers"`
	}
	if err := j.cluster.Get(ctx, lookupd, "/lookup", url.Values{"topic": {topic}}, &answer); err != nil {
		return nil, err
	}
	for _, p := range answer.Producers {
		nodes = append(nodes, net.JoinHostPort(strings.Trim(p.BroadcastAddress, "[]"), strconv.Itoa(p.HTTPPort)))
	}
	return nodes, nil
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
