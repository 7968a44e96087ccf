package fleet

import (
	"slices"
	"strings"
)

// Topic returns the topic with a name, or nil. Like all that find something, it relies on
// the slices being sorted.
func (s *Snapshot) Topic(name string) *Topic {
	i, ok := slices.BinarySearchFunc(s.Topics, name, func(t *Topic, name string) int { return strings.Compare(t.Name, name) })
	if !ok {
		return nil
	}
	return s.Topics[i]
}

// Channel returns a channel of a topic, or nil.
func (s *Snapshot) Channel(topic, channel string) *Channel {
	if t := s.Topic(topic); t != nil {
		return t.Channel(channel)
	}
	return nil
}

// Node returns the node with an address, or nil.
func (s *Snapshot) Node(address string) *Node {
	i, ok := slices.BinarySearchFunc(s.Nodes, address, func(n *Node, address string) int { return strings.Compare(n.Address, address) })
	if !ok {
		return nil
	}
	return s.Nodes[i]
}

// Channel returns the channel with a name, or nil.
func (t *Topic) Channel(name string) *Channel {
	i, ok := slices.BinarySearchFunc(t.Channels, name, func(c *Channel, name string) int { return strings.Compare(c.Name, name) })
	if !ok {
		return nil
	}
	return t.Channels[i]
}

// Topic returns what the node has of a topic, or nil.
func (n *Node) Topic(name string) *NodeTopic {
	i, ok := slices.BinarySearchFunc(n.Topics, name, func(t NodeTopic, name string) int { return strings.Compare(t.Name, name) })
	if !ok {
		return nil
	}
	return &n.Topics[i]
}
