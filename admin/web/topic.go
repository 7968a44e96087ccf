package web

import (
	"context"
	"html/template"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
)

type topicPage struct {
	*view
	Topic    *fleet.Topic
	On       string // the node whose figures are shown; empty: all of them
	Stats    []stat
	Charts   charts
	Buttons  []button
	Bulk     []button // done to the channels that are chosen
	Channels []channelRow
	Nodes    []topicAt
	Policy   []setting
	Clients  []fleet.Client
	Failed   []audit.Result
}

type channelRow struct {
	*fleet.Channel
	Trend template.HTML
}

// topicAt is a topic on one node.
type topicAt struct {
	fleet.NodeTopic
	Down bool
	URL  string // of the topic with this node's figures
}

// setting is a name and what it is set to.
type setting struct{ Name, Value string }

func (u *UI) topic(v *view) (any, error) {
	name := v.Param("topic")
	t := v.Snapshot.Topic(name)
	if t == nil {
		return nil, u.noTopic(v, name)
	}
	v.Title, v.API = name, u.path("/api/topics", name)
	v.Crumbs = []crumb{{"Topics", "/topics"}}
	p := topicPage{view: v, Topic: t, On: v.Query.Get("node"), Policy: policyOf(t)}
	k, f := key{Topic: name}, t.Total
	if at := slices.IndexFunc(t.Nodes, func(n fleet.NodeTopic) bool { return n.Node == p.On }); at >= 0 {
		k.Node, f = p.On, topicSum(t.Nodes[at])
	} else {
		p.On = ""
	}
	p.Stats, p.Charts = u.stats(f, k), u.charts(v, k)
	for _, c := range t.Channels {
		p.Channels = append(p.Channels, channelRow{c, u.trend(key{Topic: name, Channel: c.Name})})
	}
	for _, n := range t.Nodes {
		p.Nodes = append(p.Nodes, topicAt{n, isDown(v.Snapshot, n.Node), u.url("/topics", name, "?node", n.Node)})
	}
	p.Clients, p.Failed = u.clients(v, name, "", "")
	resume := swap(t.Paused, "unpause-topic", "pause-topic")
	p.Buttons = u.buttons(v, []string{"publish", resume, "create-channel", "topic-policy", "empty-topic", "delete-topic"}, "?topic", name)
	p.Bulk = u.buttons(v, []string{"pause-channel", "unpause-channel", "empty-channel", "delete-channel"})
	return p, nil
}

// noTopic says where else it may be looked for.
func (u *UI) noTopic(v *view, name string) error {
	if v.Snapshot.At.IsZero() {
		return errNotYet
	}
	return notFound("No node has a topic %q. It may have been deleted, or its nodes may be gone; Lookup shows the topics that lookupds still know.", name)
}

func swap(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

func isDown(s *fleet.Snapshot, address string) bool {
	n := s.Node(address)
	return n != nil && !n.Up
}

// clients asks for connections, and waits no longer than a page may take.
func (u *UI) clients(v *view, topic, channel, node string) ([]fleet.Client, []audit.Result) {
	ctx, cancel := context.WithTimeout(v.Context(), clientsTimeout)
	defer cancel()
	clients, asked := u.Source.Clients(ctx, topic, channel, node)
	var failed []audit.Result
	for _, r := range asked {
		if !r.OK {
			failed = append(failed, r)
		}
	}
	return clients, failed
}

// policyOf is a topic's settings, in words. If nodes differ, the first one's are shown
// and how many have others.
func policyOf(t *fleet.Topic) []setting {
	if len(t.Nodes) == 0 || t.Nodes[0].Durability == "" {
		return nil // nsqd has none
	}
	first := t.Nodes[0]
	p := first.Policy
	list := []setting{{"Durability", first.Durability}}
	for _, s := range []struct {
		name, value string
		set         bool
	}{
		{"Finished messages are kept for", lasts(p.RetentionAge), p.RetentionAge > 0},
		{"Finished messages are kept up to", sizeText(p.RetentionBytes), p.RetentionBytes > 0},
		{"Longest backlog", plural(p.MaxMessages, "message"), p.MaxMessages > 0},
		{"Largest backlog", sizeText(p.MaxBytes), p.MaxBytes > 0},
		{"Beyond that", overflow(p.Overflow), p.MaxMessages > 0 || p.MaxBytes > 0},
	} {
		if s.set {
			list = append(list, setting{s.name, s.value})
		}
	}
	if len(list) == 1 {
		list = append(list, setting{"Retention and bounds", "none: a message is kept until all channels have finished it"})
	}
	differ := 0
	for _, n := range t.Nodes[1:] {
		differ += b2i(n.Durability != first.Durability || n.Policy != first.Policy)
	}
	if differ > 0 {
		list = append(list, setting{"Not the same everywhere", plural(differ, "node has", "nodes have") + " other settings than " + first.Node})
	}
	return list
}

func overflow(o string) string {
	if o == "drop-oldest" {
		return "the oldest messages are dropped"
	}
	return "publishes are refused"
}

// Unfinished is how much of a node's log of the topic there is, and since when.
func (t topicAt) Unfinished(now time.Time) template.HTML {
	if t.Durability == "" || t.Durability == "memory" {
		return unknown
	}
	h := size(t.LogBytes)
	if !t.Oldest.IsZero() {
		h += template.HTML(` <span class="soft">from </span>`) + age(now, t.Oldest)
	}
	return h
}

// published is how much a connection has published to a topic.
func published(c fleet.Client, topic string) template.HTML {
	for _, p := range c.Published {
		if p.Topic == topic {
			return num(p.Count)
		}
	}
	return unknown
}
