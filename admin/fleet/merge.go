package fleet

import "slices"

// UnknownRates are rates of which nothing is known yet.
var UnknownRates = Rates{In: -1, Out: -1, Requeue: -1, Timeout: -1}

// Merge makes Topics and Totals, and each node's Total, of what the nodes hold. Nodes,
// their topics and the channels of these must be sorted. The topics of nodes are shared
// with the result, where they need not be copied: from then on nobody may change them.
//
// Where sums go over channels and their topics, Messages and In are the topics' alone: a
// message that two channels have has come once. A sum of rates is of those that are known,
// and unknown if none is.
func (s *Snapshot) Merge() {
	var m merger
	topics := split(s.Nodes)
	s.Topics = make([]*Topic, len(topics))
	totals := newSum()
	for i := range topics {
		m.mergeTopic(&topics[i])
		s.Topics[i] = &topics[i]
		totals.add(&topics[i].Total)
	}
	s.Totals = totals.figures()
	for _, n := range s.Nodes {
		n.Total = totalOf(n.Topics)
	}
}

// merger takes memory for many small things at a time: with 50 nodes and 10,000 topics
// there are a million of them.
type merger struct {
	channels arena[Channel]
	pointers arena[*Channel]
	parts    arena[NodeChannel]

	names  []string // of the channels of the topic at hand
	counts []int    // how many nodes have each
}

// split returns the topics, each with the parts that nodes have of it.
func split(nodes []*Node) []Topic {
	var names []string
	for _, n := range nodes {
		names = union(names, n.Topics)
	}
	topics := make([]Topic, len(names))
	counts := make([]int32, len(names))
	eachPart(names, nodes, func(i int, _ *Node, _ int) { counts[i]++ })

	parts := make([]NodeTopic, 0, shared(counts))
	eachPart(names, nodes, func(i int, n *Node, j int) {
		t := &topics[i]
		switch {
		case counts[i] == 1: // as on one daemon alone: nothing is copied
			t.Nodes = n.Topics[j : j+1 : j+1]
			return
		case t.Nodes == nil:
			used := len(parts)
			parts = parts[:used+int(counts[i])]
			t.Nodes = parts[used:used:len(parts)]
		}
		t.Nodes = append(t.Nodes, n.Topics[j])
	})
	for i := range topics {
		topics[i].Name = names[i]
	}
	return topics
}

// shared is how many parts are of topics that have more than one.
func shared(counts []int32) (n int) {
	for _, c := range counts {
		if c > 1 {
			n += int(c)
		}
	}
	return n
}

// union adds the names of topics to names, both sorted.
func union(names []string, topics []NodeTopic) []string {
	missing := 0
	i := 0
	for j := range topics {
		for i < len(names) && names[i] < topics[j].Name {
			i++
		}
		if i == len(names) || names[i] != topics[j].Name {
			missing++
		}
	}
	if missing == 0 {
		return names
	}
	all := make([]string, 0, len(names)+missing)
	i = 0
	for j := range topics {
		for i < len(names) && names[i] < topics[j].Name {
			all = append(all, names[i])
			i++
		}
		if i < len(names) && names[i] == topics[j].Name {
			i++
		}
		all = append(all, topics[j].Name)
	}
	return append(all, names[i:]...)
}

// eachPart calls do for each topic that each node has: with its number in names, which
// must have all of them, and in the node's.
func eachPart(names []string, nodes []*Node, do func(i int, n *Node, j int)) {
	for _, n := range nodes {
		i := 0
		for j := range n.Topics {
			for names[i] != n.Topics[j].Name {
				i++
			}
			do(i, n, j)
		}
	}
}

// mergeTopic makes a topic of its parts.
func (m *merger) mergeTopic(t *Topic) {
	own := newSum()
	for i := range t.Nodes {
		p := &t.Nodes[i]
		own.add(&p.Figures)
		t.Paused = t.Paused || p.Paused
		t.Pause = betterPause(t.Pause, p.Pause)
		t.Latency = worst(t.Latency, p.Latency)
	}
	t.Figures = own.figures()
	m.mergeChannels(t)
	whole := newSum()
	whole.add(&t.Figures)
	for _, c := range t.Channels {
		whole.addChannel(&c.Figures)
	}
	t.Total = whole.figures()
}

// mergeChannels makes the channels of a topic of the parts that nodes have of them.
func (m *merger) mergeChannels(t *Topic) {
	m.nameChannels(t.Nodes)
	if len(m.names) == 0 {
		return
	}
	channels := m.channels.take(len(m.names))
	t.Channels = m.pointers.take(len(m.names))
	for i := range channels {
		t.Channels[i] = &channels[i]
		channels[i].Topic, channels[i].Name = t.Name, m.names[i]
	}
	for k := range t.Nodes {
		i := 0
		parts := t.Nodes[k].Channels
		for j := range parts {
			for m.names[i] != parts[j].Name {
				i++
			}
			m.addPart(&channels[i], m.counts[i], parts[j:j+1:j+1])
		}
	}
	for i := range channels {
		mergeChannel(&channels[i])
	}
}

// nameChannels gathers the names of all channels of a topic, sorted. Nearly always every
// node has the same.
func (m *merger) nameChannels(parts []NodeTopic) {
	m.names, m.counts = m.names[:0], m.counts[:0]
	for i := range parts {
		for j := range parts[i].Channels {
			name := parts[i].Channels[j].Name
			at, known := slices.BinarySearch(m.names, name)
			if !known {
				m.names = slices.Insert(m.names, at, name)
				m.counts = slices.Insert(m.counts, at, 0)
			}
			m.counts[at]++
		}
	}
}

// addPart gives a channel one of its so many parts. The only one is not copied.
func (m *merger) addPart(c *Channel, of int, part []NodeChannel) {
	switch {
	case of == 1:
		c.Nodes = part
		return
	case c.Nodes == nil:
		c.Nodes = m.parts.take(of)[:0]
	}
	c.Nodes = append(c.Nodes, part[0])
}

func mergeChannel(c *Channel) {
	own := newSum()
	for i := range c.Nodes {
		p := &c.Nodes[i]
		own.add(&p.Figures)
		c.Paused = c.Paused || p.Paused
		c.Pause = betterPause(c.Pause, p.Pause)
		c.Latency = worst(c.Latency, p.Latency)
	}
	c.Figures = own.figures()
}

// totalOf sums up a node's topics with their channels.
func totalOf(topics []NodeTopic) Figures {
	whole := newSum()
	for i := range topics {
		whole.add(&topics[i].Figures)
		for j := range topics[i].Channels {
			whole.addChannel(&topics[i].Channels[j].Figures)
		}
	}
	return whole.figures()
}

// betterPause is the one of two pauses that says more.
func betterPause(a, b *Pause) *Pause {
	if a == nil || b != nil && a.Reason == "" && a.By == "" && a.Until.IsZero() {
		return b
	}
	return a
}

// worst is the larger of each quantile's two values. It changes neither.
func worst(a, b []Percentile) []Percentile {
	if len(a) == 0 || len(b) == 0 {
		return append(a[:len(a):len(a)], b...)
	}
	all := slices.Clone(a)
	for _, p := range b {
		i := slices.IndexFunc(all, func(q Percentile) bool { return q.Quantile == p.Quantile })
		if i < 0 {
			all = append(all, p)
		} else {
			all[i].Value = max(all[i].Value, p.Value)
		}
	}
	return all
}

// sum adds figures up.
type sum struct {
	total Figures
	terms int
}

func newSum() sum { return sum{total: Figures{Rates: UnknownRates}} }

// add adds all of f.
func (s *sum) add(f *Figures) {
	s.total.Messages += f.Messages
	s.total.In = plus(s.total.In, f.In)
	s.addChannel(f)
}

// addChannel adds f, without what has come: that the topic has counted already.
func (s *sum) addChannel(f *Figures) {
	t := &s.total
	t.Depth += f.Depth
	t.OnDisk += f.OnDisk
	t.InFlight += f.InFlight
	t.Deferred += f.Deferred
	t.Dead += f.Dead
	t.Requeued += f.Requeued
	t.TimedOut += f.TimedOut
	t.Finished += f.Finished
	t.Clients += f.Clients
	t.Out = plus(t.Out, f.Out)
	t.Requeue = plus(t.Requeue, f.Requeue)
	t.Timeout = plus(t.Timeout, f.Timeout)
	s.terms++
}

// figures is the sum. That of nothing is known: zero.
func (s *sum) figures() Figures {
	if s.terms == 0 {
		return Figures{}
	}
	return s.total
}

// plus adds a rate to a sum of rates, either of which may be unknown.
func plus(sum, rate float64) float64 {
	if sum < 0 || rate < 0 {
		return max(sum, rate)
	}
	return sum + rate
}

// arena takes memory for many things at a time, more each time.
type arena[T any] struct {
	free []T
	size int
}

// take returns n zero values, which are the caller's.
func (a *arena[T]) take(n int) []T {
	if len(a.free) < n {
		a.size = min(max(2*a.size, 16), 4096)
		a.free = make([]T, max(n, a.size))
	}
	part := a.free[:n:n]
	a.free = a.free[n:]
	return part
}
