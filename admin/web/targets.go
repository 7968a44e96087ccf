package web

import (
	"net/url"
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/fleet"
)

// This file is what an action is done to, as a form names it and as it stands now.

// targetsOf reads what a form is about: the product of its topics, channels, nodes and
// IDs, and what was picked of a list, each as node/id.
func targetsOf(q url.Values) []actions.Target {
	list := []actions.Target{{}}
	for _, part := range []struct {
		name string
		set  func(*actions.Target, string)
	}{
		{"topic", func(t *actions.Target, s string) { t.Topic = s }},
		{"channel", func(t *actions.Target, s string) { t.Channel = s }},
		{"node", func(t *actions.Target, s string) { t.Node = s }},
		{"id", func(t *actions.Target, s string) { t.ID = s }},
		{"pick", func(t *actions.Target, s string) {
			at := strings.LastIndexByte(s, '/')
			t.Node, t.ID = s[:max(at, 0)], s[at+1:]
		}},
	} {
		values := slices.DeleteFunc(slices.Clone(q[part.name]), func(s string) bool { return s == "" })
		if len(values) == 0 {
			continue
		}
		var next []actions.Target
		for _, t := range list {
			for _, value := range values {
				if len(next) == maxFormTargets {
					break
				}
				part.set(&t, strings.TrimSpace(value))
				next = append(next, t)
			}
		}
		list = next
	}
	if list[0] == (actions.Target{}) {
		return nil
	}
	return list
}

// hiddenOf is what of the query names targets, to be sent with the form.
func hiddenOf(q url.Values) []setting {
	var list []setting
	for _, name := range []string{"topic", "channel", "node", "id", "pick"} {
		for _, value := range q[name] {
			if value != "" {
				list = append(list, setting{name, value})
			}
		}
	}
	return list
}

// missing are the fields of a target that the form has to ask for.
func missing(on actions.Scope, targets []actions.Target) []naming {
	var t actions.Target
	if len(targets) > 0 {
		t = targets[0]
	}
	var list []naming
	ask := func(needed bool, has string, n naming) {
		if needed && has == "" {
			list = append(list, n)
		}
	}
	topics := on != actions.OnNode && on != actions.OnConnection
	channels := on == actions.OnChannel || on == actions.OnMessages
	nodes := on == actions.OnNode || on == actions.OnTopicAtNode || on == actions.OnConnection
	ask(topics, t.Topic, naming{"topic", "Topic", "1 to 64 of the characters . a-z A-Z 0-9 _ -; with #ephemeral behind them it lives as long as it is used"})
	ask(channels, t.Channel, naming{"channel", "Channel", "1 to 64 of the characters . a-z A-Z 0-9 _ -; with #ephemeral behind them it lives as long as it is used"})
	ask(nodes, t.Node, naming{"node", "Node", "its address, host:port"})
	ask(on == actions.OnConnection, t.ID, naming{"id", "Connection", "its number on the node"})
	return list
}

// concerned counts what lies where the action is done, at this moment, and on how many nodes.
func concerned(s *fleet.Snapshot, a actions.Action, targets []actions.Target, q url.Values) ([]fact, int) {
	var f fleet.Figures
	nodes := map[string]bool{}
	known := false
	for _, t := range targets {
		one, on := figuresOf(s, t)
		known = known || len(on) > 0
		add(&f, one)
		for _, n := range on {
			nodes[n] = true
		}
	}
	if !known || a.On == actions.OnConnection {
		return nil, len(nodes)
	}
	if a.On == actions.OnMessages {
		if q.Get("all") != "true" {
			return []fact{{"Messages", int64(len(targets))}}, len(nodes)
		}
		return []fact{{"Dead", f.Dead}, {"Deferred", f.Deferred}, {"Ready", f.Depth}}, len(nodes)
	}
	return []fact{
		{"Depth", f.Depth}, {"In flight", f.InFlight}, {"Deferred", f.Deferred}, {"Dead", f.Dead}, {"Consumers", int64(f.Clients)},
	}, len(nodes)
}

func add(to *fleet.Figures, f fleet.Figures) {
	to.Depth += f.Depth
	to.InFlight += f.InFlight
	to.Deferred += f.Deferred
	to.Dead += f.Dead
	to.Clients += f.Clients
}

// figuresOf is what a target holds, and on which nodes.
func figuresOf(s *fleet.Snapshot, t actions.Target) (f fleet.Figures, nodes []string) {
	switch topic := s.Topic(t.Topic); {
	case t.Topic == "":
		if n := s.Node(t.Node); n != nil {
			return n.Total, []string{n.Address}
		}
	case topic == nil:
	case t.Channel != "":
		if c := topic.Channel(t.Channel); c != nil {
			for _, n := range c.Nodes {
				if t.Node == "" || t.Node == n.Node {
					add(&f, n.Figures)
					nodes = append(nodes, n.Node)
				}
			}
		}
	default:
		for _, n := range topic.Nodes {
			if t.Node == "" || t.Node == n.Node {
				add(&f, topicSum(n))
				nodes = append(nodes, n.Node)
			}
		}
	}
	return f, nodes
}

// crumbsOf are the pages of what an action is about, if it is about one thing.
func (u *UI) crumbsOf(targets []actions.Target) []crumb {
	if len(targets) == 0 || targets[0].Topic == "" {
		if len(targets) == 1 && targets[0].Node != "" {
			return []crumb{{"Nodes", "/nodes"}, {targets[0].Node, u.path("/nodes", targets[0].Node)}}
		}
		return []crumb{{"Topics", "/topics"}}
	}
	list := []crumb{{"Topics", "/topics"}}
	first := targets[0]
	if slices.ContainsFunc(targets, func(t actions.Target) bool { return t.Topic != first.Topic }) {
		return list
	}
	list = append(list, crumb{first.Topic, u.path("/topics", first.Topic)})
	if first.Channel == "" || slices.ContainsFunc(targets, func(t actions.Target) bool { return t.Channel != first.Channel }) {
		return list
	}
	return append(list, crumb{first.Channel, u.path("/topics", first.Topic, first.Channel)})
}

// cameFrom is where Cancel leads: the page of what the action is about.
func (u *UI) cameFrom(targets []actions.Target) string {
	list := u.crumbsOf(targets)
	return list[len(list)-1].URL
}
