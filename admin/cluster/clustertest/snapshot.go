package clustertest

import (
	"cmp"
	"maps"
	"slices"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// Snapshot is what a sampler that has just asked everybody would know of who has what:
// nodes, topics and channels, without figures but for depths. For tests of those who
// only look at snapshots.
func (f *Fleet) Snapshot() *fleet.Snapshot {
	s := new(fleet.Snapshot)
	topics := make(map[string]*fleet.Topic)
	for _, n := range f.Nodes {
		node := &fleet.Node{Address: n.Address(), Millrace: !n.Stock, Up: true}
		n.Change(func(d *Daemon) {
			node.Health, node.State, node.Hostname = d.Health, d.State, d.Hostname
			for _, name := range slices.Sorted(maps.Keys(d.Topics)) {
				addTopic(topics, node.Address, d.Topics[name])
			}
		})
		s.Nodes = append(s.Nodes, node)
	}
	slices.SortFunc(s.Nodes, func(a, b *fleet.Node) int { return cmp.Compare(a.Address, b.Address) })
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		s.Topics = append(s.Topics, topics[name])
	}
	return s
}

func addTopic(topics map[string]*fleet.Topic, node string, t *Topic) {
	sum := topics[t.Name]
	if sum == nil {
		sum = &fleet.Topic{Name: t.Name}
		topics[t.Name] = sum
	}
	own := fleet.NodeTopic{Name: t.Name, Node: node, Paused: t.Paused}
	for _, name := range slices.Sorted(maps.Keys(t.Channels)) {
		c := fleet.NodeChannel{Name: name, Node: node, Paused: t.Channels[name].Paused}
		c.Depth = t.Channels[name].Depth
		own.Channels = append(own.Channels, c)
		i := slices.IndexFunc(sum.Channels, func(c *fleet.Channel) bool { return c.Name == name })
		if i < 0 {
			i = len(sum.Channels)
			sum.Channels = append(sum.Channels, &fleet.Channel{Topic: t.Name, Name: name})
		}
		sum.Channels[i].Nodes = append(sum.Channels[i].Nodes, c)
	}
	sum.Nodes = append(sum.Nodes, own)
}
