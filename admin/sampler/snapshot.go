package sampler

import (
	"slices"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
)

// make makes a snapshot of all that is known, publishes it, and returns when the next round
// is due, from the begin of this one.
func (r *round) make() time.Duration {
	now := time.Now()
	r.roll(now)
	s := &fleet.Snapshot{At: now, Took: now.Sub(r.began)}
	patience := max(history.Patience, 3*r.Latest().Period)
	held := make(map[string]*stats, len(r.nodes))
	for _, n := range r.nodes {
		if n.tries == 0 && now.Sub(n.asked) < firstPatience {
			continue // it has only just been found
		}
		n.rest(now, patience)
		s.Nodes = append(s.Nodes, n.view(len(r.order) > 0))
		held[n.address] = n.last
	}
	slices.SortFunc(s.Nodes, func(a, b *fleet.Node) int { return strings.Compare(a.Address, b.Address) })
	for _, address := range r.order {
		s.Lookupds = append(s.Lookupds, r.lookupds[address].view())
	}
	s.MarkOutOfDate()
	s.Merge()
	r.store.Add(now, r.sample(s, held))
	r.finder.Find(s, r.store)
	r.names.trim(cap(r.samples))
	r.shelf.sweep(now)

	r.settle(time.Since(now), processorTime())
	s.Period = r.period()
	r.publish(s)
	return s.Period
}

// settle sums up what this snapshot has cost. What was measured by the clock is too much
// while others use the processors; what this process has used of them all in all is too much
// if it had something else to do. The lesser of the two is closer.
func (r *round) settle(making, used time.Duration) {
	r.cost = min(r.spent+making, used-r.before)
	r.theirs = time.Duration(r.largest * int64(time.Second) / bytesPerSecond)
	r.spent, r.before, r.largest = 0, used, 0
}

// period is how long it is from the begin of this round to that of the next, so that
// neither we nor any daemon are busy with it for more than a tenth of the time.
func (r *round) period() time.Duration {
	return max(r.settings.Period, share*max(r.cost, r.theirs)).Round(time.Millisecond)
}

// sample is what history is told of a snapshot. The rates are those since the reading
// before, not those for people.
func (r *round) sample(s *fleet.Snapshot, held map[string]*stats) []history.Sample {
	rates := sumRates(s, held)
	all := append(r.samples[:0], sampleOf(history.Key{}, &s.Totals, rates.total))
	for i, n := range s.Nodes {
		all = append(all, sampleOf(history.Key{Node: n.Address}, &n.Total, rates.nodes[i]))
	}
	k := 0
	for _, t := range s.Topics {
		at := len(all)
		all = append(all, history.Sample{})
		whole := rates.parts[k]
		k++
		for _, c := range t.Channels {
			all = append(all, sampleOf(history.Key{Topic: t.Name, Channel: c.Name}, &c.Figures, rates.parts[k]))
			whole.addChannel(rates.parts[k])
			k++
		}
		all[at] = sampleOf(history.Key{Topic: t.Name}, &t.Total, whole)
	}
	r.samples = all
	return all
}

func sampleOf(k history.Key, f *fleet.Figures, now rates) history.Sample {
	v := history.Sample{Key: k}
	v.Values[history.In], v.Values[history.Out] = now.in, now.out
	v.Values[history.Requeue], v.Values[history.Timeout] = now.requeue, now.timeout
	v.Values[history.Depth], v.Values[history.InFlight] = float32(f.Depth), float32(f.InFlight)
	v.Values[history.Deferred], v.Values[history.Dead] = float32(f.Deferred), float32(f.Dead)
	return v
}

// summed are rates since the reading before: of all, of each node, and of each topic with
// its channels behind it.
type summed struct {
	total rates
	nodes []rates
	parts []rates
}

// sumRates sums what nodes told up, in one walk over each: they and the snapshot have the
// topics and channels in the same order.
func sumRates(s *fleet.Snapshot, held map[string]*stats) summed {
	first := make([]int32, len(s.Topics)+1) // place of each topic in parts
	for i, t := range s.Topics {
		// #nosec G115 -- channels of one answer, which is bounded: far fewer than 2^31
		first[i+1] = first[i] + 1 + int32(len(t.Channels))
	}
	sum := summed{total: unknown, nodes: make([]rates, len(s.Nodes)), parts: make([]rates, first[len(s.Topics)])}
	for i := range sum.parts {
		sum.parts[i] = unknown
	}
	for i, n := range s.Nodes {
		sum.nodes[i] = unknown
		st := held[n.Address]
		switch {
		case st == nil || st.now == nil:
		case len(st.topics) == 0:
			sum.nodes[i] = rates{} // that is known
		default:
			sum.addNode(&sum.nodes[i], s.Topics, first, st)
		}
		sum.total.add(sum.nodes[i])
	}
	if len(s.Nodes) == 0 {
		sum.total = rates{}
	}
	return sum
}

func (sum *summed) addNode(node *rates, topics []*fleet.Topic, first []int32, st *stats) {
	i, k := 0, 0
	for j := range st.topics {
		part := &st.topics[j]
		for topics[i].Name != part.Name {
			i++
		}
		sum.parts[first[i]].add(st.now[k])
		node.add(st.now[k])
		k++
		c := 0
		for m := range part.Channels {
			for topics[i].Channels[c].Name != part.Channels[m].Name {
				c++
			}
			sum.parts[int(first[i])+1+c].add(st.now[k])
			node.addChannel(st.now[k])
			k++
		}
	}
}

// addChannel adds what a channel does to what its topic does. What comes has come to the
// topic.
func (r *rates) addChannel(c rates) {
	c.in = -1
	r.add(c)
}
