package search_test

import (
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/search"
)

func snapshot() *fleet.Snapshot {
	s := &fleet.Snapshot{Nodes: []*fleet.Node{
		{Address: "10.0.0.1:4151", Hostname: "queue-a"}, {Address: "10.0.0.2:4151", Hostname: "orders-host"},
	}}
	for _, name := range []string{"bills", "my.orders", "orders", "Orders_eu", "reorders"} {
		t := &fleet.Topic{Name: name}
		for _, c := range []string{"archive", "ship#ephemeral"} {
			t.Channels = append(t.Channels, &fleet.Channel{Topic: name, Name: c})
		}
		s.Topics = append(s.Topics, t)
	}
	return s
}

func found(hits []search.Hit) string {
	var list []string
	for _, h := range hits {
		list = append(list, h.Kind.String()+":"+strings.Trim(h.Topic+"/"+h.Channel+h.Node, "/"))
	}
	return strings.Join(list, " ")
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		text, want string
		more       int
	}{
		{"orders", "topic:orders topic:Orders_eu node:10.0.0.2:4151 topic:my.orders", 1},
		{" ORDERS ", "topic:orders topic:Orders_eu node:10.0.0.2:4151 topic:my.orders", 1},
		{"bills/", "channel:bills/archive channel:bills/ship#ephemeral", 0},
		{"bills/sh", "channel:bills/ship#ephemeral", 0},
		{"ephemeral", "channel:Orders_eu/ship#ephemeral channel:bills/ship#ephemeral channel:my.orders/ship#ephemeral channel:orders/ship#ephemeral", 1},
		{"10.0.0.1", "node:10.0.0.1:4151", 0},
		{"queue", "node:10.0.0.1:4151", 0},
		{"4151", "node:10.0.0.1:4151 node:10.0.0.2:4151", 0},
		{"none", "", 0},
		{"", "", 0},
		{" ", "", 0},
		{"<script>", "", 0},
	} {
		hits, more := search.Names(snapshot(), c.text, 4)
		if got := found(hits); got != c.want || more != c.more {
			t.Errorf("%q: %s and %d more\nwant %s and %d", c.text, got, more, c.want, c.more)
		}
	}
}
