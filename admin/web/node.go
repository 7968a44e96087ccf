package web

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
)

// nodePage is one node.
type nodePage struct {
	*view
	Node     *fleet.Node
	Stats    []stat
	Troubles []fleet.Trouble
	Listed   []listing
	Topics   []fleet.NodeTopic
	Filter   string
	Pager    pager
	Charts   charts
	Buttons  []button
	Can      map[string]bool
	Consumes []fleet.Client
	Produces []fleet.Client
	More     int // connections that are not shown
	Failed   []audit.Result
	Drained  *share
}

// listing is whether a lookupd lists the node.
type listing struct {
	Address string
	Up      bool
	Error   string
	ListsIt bool
	Topics  []string
}

const (
	nodeTopics  = 50  // of a page
	nodeClients = 200 // of consumers, and of producers
)

func (u *UI) node(v *view) (any, error) {
	address := v.Param("node")
	n := v.Snapshot.Node(address)
	switch {
	case n == nil && v.Snapshot.At.IsZero():
		return nil, errNotYet
	case n == nil:
		return nil, notFound("There is no node at %s. Nodes that no lookupd lists any more are forgotten.", address)
	}
	v.Title, v.API = address, u.path("/api/nodes", address)
	v.Crumbs = []crumb{{"Nodes", "/nodes"}}
	k := key{Node: address}
	p := nodePage{
		view: v, Node: n, Stats: u.stats(n.Total, k), Charts: u.charts(v, k), Filter: strings.TrimSpace(v.Query.Get("q")),
		Buttons: u.nodeButtons(v, n), Can: u.can(v, "tombstone", "disconnect", "create-topic"),
	}
	for _, t := range v.Snapshot.Troubles {
		if t.Node == address && t.Kind != "node-down" { // which the page says anyway
			p.Troubles = append(p.Troubles, t)
		}
	}
	for _, l := range v.Snapshot.Lookupds {
		p.Listed = append(p.Listed, listing{Address: l.Address, Up: l.Up, Error: l.Error, ListsIt: slices.Contains(n.Lookups, l.Address)})
	}
	p.chooseTopics()
	p.Drained = u.drained(v, n)
	if n.Up {
		p.connections(u)
	}
	return p, nil
}

// nodeButtons are what can be done with a node as a whole.
func (u *UI) nodeButtons(v *view, n *fleet.Node) []button {
	names := []string{"pause-node", "unpause-node"}
	if n.Millrace {
		names = append(names, "drain-node")
	}
	return u.buttons(v, names, "?node", n.Address)
}

// drained is how much of what a draining node had when it began is gone, as far as
// there is history of it; else nil.
func (u *UI) drained(v *view, n *fleet.Node) *share {
	if n.Drain == nil || u.History == nil || n.Drain.Since.IsZero() {
		return nil
	}
	s := u.History.Series(key{Node: n.Address}, n.Drain.Since, v.Snapshot.At, chartPoints)
	most := float64(n.Drain.Messages)
	for i := range s.Times {
		had := 0.0
		for _, m := range []history.Metric{history.Depth, history.InFlight, history.Deferred} {
			if f := s.Values[m][i]; isNumber(f) {
				had += f
			}
		}
		most = max(most, had)
	}
	if most <= 0 {
		return nil
	}
	part := 1 - float64(n.Drain.Messages)/most
	return &share{Name: "drained", Part: part, Text: fmt.Sprintf("%.0f %% gone, of %s", 100*part, plural(int64(most), "message")), Done: true}
}

// chooseTopics takes one page of the node's topics, the deepest first.
func (p *nodePage) chooseTopics() {
	q := strings.ToLower(p.Filter)
	for _, t := range p.Node.Topics {
		if strings.Contains(strings.ToLower(t.Name), q) {
			p.Topics = append(p.Topics, t)
		}
	}
	slices.SortStableFunc(p.Topics, func(a, b fleet.NodeTopic) int { return cmp.Compare(nodeDepth(b), nodeDepth(a)) })
	from, to := p.Pager.cut(p.view, len(p.Topics), nodeTopics)
	p.Topics = p.Topics[from:to]
}

// nodeDepth is what waits in a topic on a node, in its channels or for want of any.
func nodeDepth(t fleet.NodeTopic) int64 {
	d := t.Depth
	for _, c := range t.Channels {
		d += c.Depth
	}
	return d
}

// connections reads who is connected to the node.
func (p *nodePage) connections(u *UI) {
	ctx, cancel := context.WithTimeout(p.Context(), clientsTimeout)
	defer cancel()
	clients, asked := u.Source.Clients(ctx, "", "", p.Node.Address)
	for _, c := range clients {
		list := &p.Consumes
		if len(c.Published) > 0 || c.State != subscribed && c.State != closing {
			list = &p.Produces
		}
		if len(*list) == nodeClients {
			p.More++
			continue
		}
		*list = append(*list, c)
	}
	for _, a := range asked {
		if !a.OK {
			p.Failed = append(p.Failed, a)
		}
	}
}

// States of a connection, by nsqd's numbers.
const (
	subscribed = 3
	closing    = 4
)
