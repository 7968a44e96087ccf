package web

import (
	"context"
	"maps"
	"slices"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
)

// lookupPage is what lookupds know, and where they disagree.
type lookupPage struct {
	*view
	Lookupds   []lookupRow
	Partly     []partlyListed
	Tombstones []tombstone
	Inactive   []inactiveTopic
	More       int            // inactive topics that are not shown
	Failed     []audit.Result // lookupds that did not say which topics are inactive
	Can        map[string]bool
}

// lookupRow is a lookupd, and the nodes that are up and that it does not list.
type lookupRow struct {
	fleet.Lookupd
	Missing []string
}

// partlyListed is a node that some lookupds list and others do not.
type partlyListed struct {
	Node    *fleet.Node
	By, Not []string
}

// tombstone hides a topic on a node from those who look it up.
type tombstone struct{ Topic, Node string }

// inactiveTopic is a topic that lookupds know and no node has.
type inactiveTopic struct {
	Topic    string
	Channels []string
}

// maxInactive is how many inactive topics are listed.
const maxInactive = 500

func (u *UI) lookup(v *view) (any, error) {
	v.Title, v.API = "Lookup", "/api/topics?inactive=true"
	p := lookupPage{view: v, Can: u.can(v, "create-topic", "create-channel", "tombstone", "forget")}
	s := v.Snapshot
	p.Lookupds, p.Partly = disagreements(s)
	for _, n := range s.Nodes {
		for _, t := range n.Tombstoned {
			p.Tombstones = append(p.Tombstones, tombstone{t, n.Address})
		}
	}
	if len(s.Lookupds) == 0 || u.Daemons == nil {
		return p, nil
	}
	known, err := u.asked.inactive.get(v.Context(), askedKeep, askedPatience, func(ctx context.Context) askedInactive {
		topics, results := u.Daemons.Inactive(ctx)
		return askedInactive{topics, results}
	})
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(known.topics)) {
		p.Inactive = append(p.Inactive, inactiveTopic{name, known.topics[name]})
	}
	p.More = max(0, len(p.Inactive)-maxInactive)
	p.Inactive = p.Inactive[:len(p.Inactive)-p.More]
	for _, r := range known.results {
		if !r.OK {
			p.Failed = append(p.Failed, r)
		}
	}
	return p, nil
}

// askedInactive is what lookupds have said of topics that nobody has.
type askedInactive struct {
	topics  map[string][]string
	results []audit.Result
}

// disagreements compares what lookupds that are up list. A lookupd that is down says
// nothing, so it disagrees with nobody.
func disagreements(s *fleet.Snapshot) (rows []lookupRow, partly []partlyListed) {
	missing := make(map[string][]string)
	for _, n := range s.Nodes {
		var by, not []string
		for _, l := range s.Lookupds {
			switch {
			case !l.Up:
			case slices.Contains(n.Lookups, l.Address):
				by = append(by, l.Address)
			default:
				not = append(not, l.Address)
				missing[l.Address] = append(missing[l.Address], n.Address)
			}
		}
		if len(by) > 0 && len(not) > 0 {
			partly = append(partly, partlyListed{Node: n, By: by, Not: not})
		}
	}
	for _, l := range s.Lookupds {
		rows = append(rows, lookupRow{l, missing[l.Address]})
	}
	return rows, partly
}
