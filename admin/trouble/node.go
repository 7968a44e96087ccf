package trouble

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// lastSeen is a node as it was in the last snapshot that had it.
type lastSeen struct {
	at      time.Time
	leaving bool // it drained or stopped: that it went is no surprise
}

func (f *Finder) findLookupds() {
	down := 0
	for _, l := range f.s.Lookupds {
		down += one(!l.Up)
	}
	for _, l := range f.s.Lookupds {
		if l.Up {
			continue
		}
		c := cause{Trouble: fleet.Trouble{Kind: "lookup-down", Severity: fleet.Warning, Node: l.Address}}
		c.Reason = "lookupd does not answer"
		if down == len(f.s.Lookupds) {
			c.Severity = fleet.Failure
			c.Reason = "no lookupd answers, so consumers find no new node and no new topic"
		}
		if l.Error != "" {
			c.Reason += ": " + foreign(l.Error)
		}
		f.see(c)
	}
}

func (f *Finder) findNodes() {
	for _, n := range f.s.Nodes {
		f.nodes[n.Address] = lastSeen{f.now, n.Drain != nil || n.State == "draining" || n.State == "stopping"}
		if !n.Up {
			f.findDown(n)
			continue
		}
		f.findDisk(n)
		f.findMemory(n)
		f.findDrain(n)
		f.findUnlisted(n)
		for _, t := range n.Tombstoned {
			f.findTombstone(n, t)
		}
	}
	f.findMissing()
	f.findVersions()
}

func nodeCause(n *fleet.Node, kind string, s fleet.Severity) cause {
	return cause{Trouble: fleet.Trouble{Kind: kind, Severity: s, Node: n.Address}, weight: max(n.Total.Depth, 0)}
}

func (f *Finder) findDown(n *fleet.Node) {
	c := nodeCause(n, "node-down", fleet.Failure)
	switch {
	case n.Seen.IsZero():
		c.Reason = "node has never answered"
	default:
		c.lasting = max(f.set.Down, f.s.Period*3/2)
		c.Since = earlier(n.Seen, f.now)
		c.Reason = "node has not answered for " + age(f.now.Sub(c.Since))
	}
	if n.State == "draining" || n.State == "stopping" {
		c.Severity = fleet.Warning
		c.Reason += "; it was " + n.State
	}
	if n.Error != "" {
		c.Reason += ": " + foreign(n.Error)
	}
	f.see(c)
}

// findMissing tells of nodes that no lookupd lists any more.
func (f *Finder) findMissing() {
	for name, last := range f.nodes {
		gone := f.now.Sub(last.at)
		switch {
		case gone == 0:
		case last.leaving || gone > f.set.Missing:
			delete(f.nodes, name)
		default:
			f.see(cause{Trouble: fleet.Trouble{
				Kind: "node-down", Severity: fleet.Warning, Node: name, Since: last.at,
				Reason: "node is missing: it was there " + age(gone) + " ago, and did not drain",
			}})
		}
	}
}

func (f *Finder) findDisk(n *fleet.Node) {
	free := 1.0
	if n.DiskSize > 0 {
		free = float64(n.DiskFree) / float64(n.DiskSize)
	}
	if n.State == "failing" || n.Health != "" && n.Health != "OK" {
		f.findDiskFailed(n, free)
		return
	}
	limit, urgent := f.set.DiskFree, f.set.DiskUrgent
	if f.stands("disk", "", "", n.Address) {
		limit *= 1.1
	}
	if free >= limit {
		return
	}
	c := nodeCause(n, "disk", fleet.Warning)
	if free < urgent {
		c.Severity = fleet.Failure
	}
	c.Reason = "disk is nearly full: " + disk(n, free)
	f.see(c)
}

func (f *Finder) findDiskFailed(n *fleet.Node, free float64) {
	c := nodeCause(n, "disk-failed", fleet.Failure)
	c.Reason = "node takes no messages: its disk is full or cannot be written"
	if n.Health != "" && n.Health != "OK" {
		c.Reason = "node is not healthy: " + foreign(n.Health)
	}
	if free < f.set.DiskFree {
		c.Reason += "; " + disk(n, free)
	}
	f.see(c)
}

func disk(n *fleet.Node, free float64) string {
	return fmt.Sprintf("%s of %s are free (%s)", size(n.DiskFree), size(n.DiskSize), share(free))
}

func (f *Finder) findMemory(n *fleet.Node) {
	if n.MemoryLimit == 0 {
		return
	}
	limit := f.set.Memory
	if f.stands("memory", "", "", n.Address) {
		limit *= 0.9
	}
	used := float64(n.MemoryUsed) / float64(n.MemoryLimit)
	if used < limit {
		return
	}
	c := nodeCause(n, "memory", fleet.Warning)
	c.Reason = fmt.Sprintf("messages take %s of the %s of memory that they may (%s)", size(n.MemoryUsed), size(n.MemoryLimit), share(used))
	f.see(c)
}

func (f *Finder) findDrain(n *fleet.Node) {
	if n.Drain == nil && n.State != "draining" && n.State != "stopping" {
		return
	}
	c := nodeCause(n, "draining", fleet.Note)
	doing := "draining"
	if n.State == "stopping" {
		doing = n.State
	}
	c.Reason = "node is " + doing
	if d := n.Drain; d != nil {
		if !d.Since.IsZero() && !d.Since.After(f.now) {
			c.Since = d.Since
			c.Reason = "node has been " + doing + " for " + age(f.now.Sub(d.Since))
		}
		c.Reason += fmt.Sprintf(": %s and %s are left", counted(d.Messages, "message"), counted(d.Consumers, "consumer"))
		if !d.Deadline.IsZero() {
			c.Reason += ", until " + moment(d.Deadline, f.now)
		}
		if !d.Deadline.IsZero() && f.now.After(d.Deadline) {
			c.Severity = fleet.Warning
		}
	}
	f.see(c)
}

// findUnlisted finds a node that some lookupds list and others do not, or none does.
func (f *Finder) findUnlisted(n *fleet.Node) {
	var without []string
	up := 0
	for _, l := range f.s.Lookupds {
		if !l.Up {
			continue
		}
		up++
		if !slices.Contains(n.Lookups, l.Address) {
			without = append(without, l.Address)
		}
	}
	if len(without) == 0 || n.Drain != nil {
		return
	}
	c := nodeCause(n, "lookups", fleet.Warning)
	c.lasting = f.set.Unlisted
	if len(without) == up {
		c.Reason = "node answers, but no lookupd lists it: consumers do not find it"
	} else {
		c.Reason = "lookupds disagree: " + names(without) + " " + do(len(without)) + " not list the node, " +
			fmt.Sprintf("%d of %d do; consumers that ask there do not find it", up-len(without), up)
	}
	f.see(c)
}

func do(n int) string {
	if n == 1 {
		return "does"
	}
	return "do"
}

func (f *Finder) findTombstone(n *fleet.Node, topic string) {
	c := cause{Trouble: fleet.Trouble{Kind: "tombstoned", Severity: fleet.Note, Topic: topic, Node: n.Address}}
	t, _, there := f.about(id{topic: topic})
	if !there {
		return
	}
	c.topic = t
	c.Reason = "tombstoned on " + n.Address + ": consumers do not find the topic there"
	f.see(c)
}

// findVersions tells which nodes differ from the most.
func (f *Finder) findVersions() {
	by := make(map[string][]string)
	for _, n := range f.s.Nodes {
		if n.Up && n.Version != "" {
			v := n.Version
			if n.Millrace {
				v += " (qd)"
			}
			by[v] = append(by[v], n.Address)
		}
	}
	if len(by) < 2 {
		return
	}
	versions := make([]string, 0, len(by))
	for v := range by {
		versions = append(versions, v)
	}
	slices.SortFunc(versions, func(a, b string) int {
		if len(by[a]) != len(by[b]) {
			return len(by[b]) - len(by[a])
		}
		return strings.Compare(a, b)
	})
	parts := []string{versions[0] + " on " + counted(len(by[versions[0]]), "node")}
	for _, v := range versions[1:] {
		parts = append(parts, v+" on "+names(by[v]))
	}
	f.see(cause{Trouble: fleet.Trouble{Kind: "versions", Severity: fleet.Note, Reason: "nodes run different versions: " + foreign(strings.Join(parts, "; "))}})
}
