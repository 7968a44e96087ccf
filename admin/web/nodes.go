package web

import (
	"cmp"
	"html/template"
	"slices"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// nodesPage is all nodes.
type nodesPage struct {
	*view
	Rows    []nodeRow
	Up      int
	Sort    string
	Lookups bool // lookupds are asked, so it can be said how many list a node
}

// nodeRow is a node, and what is wrong with it.
type nodeRow struct {
	*fleet.Node
	Troubles []fleet.Trouble
	Trend    template.HTML
}

// nodeOrders are the columns that nodes can be sorted by, what there is most of first.
var nodeOrders = map[string]func(a, b *fleet.Node) int{
	"memory": func(a, b *fleet.Node) int { return cmp.Compare(b.MemoryUsed, a.MemoryUsed) },
	"depth":  func(a, b *fleet.Node) int { return cmp.Compare(b.Total.Depth, a.Total.Depth) },
	"in":     func(a, b *fleet.Node) int { return cmp.Compare(b.Total.In, a.Total.In) },
	"out":    func(a, b *fleet.Node) int { return cmp.Compare(b.Total.Out, a.Total.Out) },
	"topics": func(a, b *fleet.Node) int { return cmp.Compare(len(b.Topics), len(a.Topics)) },
	"disk":   func(a, b *fleet.Node) int { return cmp.Compare(fullness(b), fullness(a)) },
	"since":  func(a, b *fleet.Node) int { return b.Started.Compare(a.Started) },
}

// fullness is how full a node's disk is; -1 if that is not told.
func fullness(n *fleet.Node) float64 {
	if d := diskUsed(n); d != nil {
		return d.Part
	}
	return -1
}

func (u *UI) nodes(v *view) (any, error) {
	v.Title, v.API = "Nodes", "/api/nodes"
	p := nodesPage{view: v, Sort: v.Query.Get("sort"), Lookups: len(v.Snapshot.Lookupds) > 0}
	wrong := nodeTroubles(v.Snapshot)
	for _, n := range v.Snapshot.Nodes {
		p.Up += b2i(n.Up)
		p.Rows = append(p.Rows, nodeRow{n, wrong[n.Address], u.trend(key{Node: n.Address})})
	}
	order := nodeOrders[p.Sort]
	if order == nil {
		p.Sort = ""
		return p, nil
	}
	slices.SortStableFunc(p.Rows, func(a, b nodeRow) int { return order(a.Node, b.Node) })
	return p, nil
}

// nodeTroubles are the troubles that are about nodes, by address, the worst first.
func nodeTroubles(s *fleet.Snapshot) map[string][]fleet.Trouble {
	by := make(map[string][]fleet.Trouble)
	for _, t := range s.Troubles {
		if t.Node != "" && t.Topic == "" {
			by[t.Node] = append(by[t.Node], t)
		}
	}
	return by
}
