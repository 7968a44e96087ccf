package board

import (
	"cmp"
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// An Order is what rows are sorted by.
type Order string

// Orders are all that there are, in the turn in which a key chooses them.
var Orders = []Order{"trouble", "depth", "in", "out", "requeues", "timeouts", "clients", "name"}

// kinds are kinds of trouble as they come in a table, those that cannot wait first.
var kinds = []string{"full", "no-consumer", "no-channel", "stuck", "growing", "damaged", "timeouts", "requeues", "dead", "paused"}

// Sorted are the rows whose names contain filter, in an order; equal ones by name.
func (s *Sample) Sorted(by Order, filter string) []*Row {
	var rows []*Row
	for i := range s.Rows {
		if r := &s.Rows[i]; strings.Contains(r.Name(), filter) {
			rows = append(rows, r)
		}
	}
	slices.SortStableFunc(rows, func(a, b *Row) int { return -compare(by, a, b) })
	return rows
}

// compare is above 0 if a comes before b.
func compare(by Order, a, b *Row) int {
	switch by {
	case "trouble":
		return cmp.Or(cmp.Compare(urgency(a), urgency(b)), cmp.Compare(a.Depth, b.Depth), cmp.Compare(a.In, b.In))
	case "depth":
		return cmp.Compare(a.Depth, b.Depth)
	case "in":
		return cmp.Compare(a.In, b.In)
	case "out":
		return cmp.Compare(a.Out, b.Out)
	case "requeues":
		return cmp.Compare(a.Requeue, b.Requeue)
	case "timeouts":
		return cmp.Compare(a.Timeout, b.Timeout)
	case "clients":
		return cmp.Compare(a.Clients, b.Clients)
	}
	return 0 // by name they are already
}

// urgency is how far up a row belongs among those with trouble. A backlog that grows now
// is not yet a trouble, as it is after minutes, but comes before what is only worth
// knowing; less than what comes in a second is no backlog.
func urgency(r *Row) int {
	if len(r.Troubles) > 0 {
		t := &r.Troubles[0]
		rank := 0
		if i := slices.Index(kinds, t.Kind); i >= 0 {
			rank = len(kinds) - i
		}
		return 1000*int(t.Severity) + 10*rank
	}
	if r.Channel != "" && float64(r.Depth) > r.In && r.In > r.Out && r.Out >= 0 {
		return 1000*int(fleet.Note) + 900
	}
	return 0
}

// A Complaint is what is wrong with a daemon, in a line.
type Complaint struct {
	Severity fleet.Severity
	Text     string
}

// Complaints are what is wrong with daemons, the worst first: that one does not answer
// is said at once, though it is a trouble only after a while.
func (s *Sample) Complaints() (all []Complaint) {
	told := map[string]bool{}
	for _, t := range s.Troubles {
		if t.Topic == "" {
			text := t.Reason
			if t.Node != "" {
				text = t.Node + ": " + text
			}
			all = append(all, Complaint{t.Severity, clean(text)})
			if t.Kind == "node-down" || t.Kind == "lookup-down" {
				told[t.Node] = true
			}
		}
	}
	missing := func(address string, up bool, err string) {
		if !up && !told[address] {
			all = append(all, Complaint{fleet.Failure, clean(address + ": does not answer: " + err)})
		}
	}
	for _, n := range s.Nodes {
		missing(n.Address, n.Up, n.Error)
	}
	for _, l := range s.Lookupds {
		missing(l.Address, l.Up, l.Error)
	}
	slices.SortStableFunc(all, func(a, b Complaint) int { return cmp.Compare(b.Severity, a.Severity) })
	return all
}
