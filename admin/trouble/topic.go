package trouble

import (
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
)

// turns is how many Finds it takes until all topics' parts on nodes have been looked at.
const turns = 8

// findParts finds what is wrong with a topic's parts on the nodes. There may be half a
// million of them, and what is found does not come and go: so only some topics have
// their turn, and those where something was found the last time.
func (f *Finder) findParts(i int, t *fleet.Topic) {
	if f.turn > 0 && i%turns != f.turn%turns && !f.parts[t.Name] {
		return
	}
	damaged, full := f.findDamage(t), f.findFull(t)
	if damaged || full {
		f.parts[t.Name] = true
	} else {
		delete(f.parts, t.Name)
	}
}

// forgetParts forgets topics that are gone.
func (f *Finder) forgetParts() {
	for name := range f.parts {
		if _, _, there := f.about(id{topic: name}); !there {
			delete(f.parts, name)
		}
	}
}

// findTopic finds what is wrong with a topic itself.
func (f *Finder) findTopic(t *fleet.Topic) {
	switch {
	case t.Paused:
		on := 0
		for i := range t.Nodes {
			on += one(t.Nodes[i].Paused)
		}
		f.see(f.paused(cause{Trouble: fleet.Trouble{Topic: t.Name}, weight: t.Depth, topic: t}, t.Pause, on, len(t.Nodes), t.Depth))
	case len(t.Channels) == 0 && t.Depth > 0:
		f.findNoChannel(t)
	}
}

func (f *Finder) findNoChannel(t *fleet.Topic) {
	c := cause{Trouble: fleet.Trouble{Kind: "no-channel", Severity: fleet.Note, Topic: t.Name}, weight: t.Depth, topic: t}
	c.Reason = counted(t.Depth, "message") + waits(t.Depth) + " for a first channel"
	if g := f.growth(f.before(history.Key{Topic: t.Name}), t.Depth); g.grew || g.near && f.stood(c) == fleet.Warning {
		c.Severity = fleet.Warning
		c.Reason = "there is no channel, so messages only pile up: " + g.String()
	}
	f.see(c)
}

// findDamage finds records that could not be read. It reports whether there are any.
func (f *Finder) findDamage(t *fleet.Topic) bool {
	var damaged, lost uint64
	var nodes []string
	for i := range t.Nodes {
		if n := &t.Nodes[i]; n.Damaged > 0 || n.Lost > 0 {
			damaged, lost = damaged+n.Damaged, lost+n.Lost
			nodes = append(nodes, n.Node)
		}
	}
	if len(nodes) == 0 {
		return false
	}
	c := cause{Trouble: fleet.Trouble{Kind: "damaged", Severity: fleet.Warning, Topic: t.Name}, weight: int64(lost), topic: t}
	c.Reason = fmt.Sprintf("%s found on %s, and %s in them lost, since the start",
		counted(damaged, "damaged record"), names(nodes), counted(lost, "message"))
	if len(nodes) == 1 {
		c.Node = nodes[0]
	}
	f.see(c)
	return true
}

// findFull finds the node whose part of the topic is nearest to its bound, and reports
// whether that is too near.
func (f *Finder) findFull(t *fleet.Topic) bool {
	var worst *fleet.NodeTopic
	var most float64
	var longest int64
	for i := range t.Nodes {
		n := &t.Nodes[i]
		if n.Policy.MaxMessages <= 0 {
			continue
		}
		depth := backlog(n)
		if part := float64(depth) / float64(n.Policy.MaxMessages); worst == nil || part > most {
			worst, most, longest = n, part, depth
		}
	}
	if worst == nil || longest == 0 {
		return false
	}
	limit := f.set.Full
	if f.stands("full", t.Name, "", "") {
		limit *= 0.9
	}
	in := f.fullIn(t, longest, worst.Policy.MaxMessages)
	if most < limit && (in <= 0 || in > f.set.FullIn) {
		return false
	}
	c := cause{Trouble: fleet.Trouble{Kind: "full", Severity: fleet.Warning, Topic: t.Name}, weight: longest, topic: t}
	c.Reason = fmt.Sprintf("the longest backlog on %s is %s of at most %s", worst.Node, count(longest), counted(worst.Policy.MaxMessages, "message"))
	if longest >= worst.Policy.MaxMessages {
		c.Severity = fleet.Failure
	} else if in > 0 {
		c.Reason += ", and will be there in " + age(in)
	}
	c.Reason += consequence(worst.Policy.Overflow)
	f.see(c)
	return true
}

func consequence(overflow string) string {
	switch overflow {
	case "reject":
		return "; then publishes are refused"
	case "drop-oldest":
		return "; then the oldest messages are dropped"
	}
	return ""
}

// backlog is what a node's bound is about: the longest of the channels'.
func backlog(n *fleet.NodeTopic) int64 {
	longest := n.Depth
	for i := range n.Channels {
		c := &n.Channels[i]
		depth := c.Depth
		if n.Policy.Overflow == "reject" {
			depth += c.Deferred
		}
		longest = max(longest, depth)
	}
	return longest
}

// fullIn is when a backlog is at its bound if it goes on growing; 0 if it does not.
// History knows channels over all nodes, so it is as fast as all of one channel's
// growth if all of it came here: no later than that.
func (f *Finder) fullIn(t *fleet.Topic, depth, most int64) time.Duration {
	fastest := 0.0
	for _, c := range t.Channels {
		g := f.growth(f.before(keyOf(c)), c.Depth)
		if g.grew {
			fastest = max(fastest, g.perSecond())
		}
	}
	if fastest == 0 || depth >= most {
		return 0
	}
	fastest /= float64(max(len(t.Nodes), 1))
	return time.Duration(min(float64(most-depth)/fastest, 1e9) * float64(time.Second))
}

// paused says who paused something, why, and until when.
func (f *Finder) paused(c cause, p *fleet.Pause, on, of int, waiting int64) cause {
	c.Kind, c.Severity = "paused", fleet.Note
	c.Reason = "paused"
	if on > 0 && on < of {
		c.Reason += fmt.Sprintf(" on %d of %s", on, counted(of, "node"))
	}
	if p != nil {
		if p.By != "" {
			c.Reason += " by " + foreign(p.By)
		}
		if !p.Since.IsZero() && !p.Since.After(f.now) {
			c.Since = p.Since
			c.Reason += " " + age(f.now.Sub(p.Since)) + " ago"
		}
		if !p.Until.IsZero() {
			c.Reason += " until " + moment(p.Until, f.now)
		}
		if p.Reason != "" {
			c.Reason += ": “" + foreign(p.Reason) + "”"
		}
	}
	if waiting > 0 {
		c.Reason += "; " + counted(waiting, "message") + waits(waiting)
	}
	return c
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
