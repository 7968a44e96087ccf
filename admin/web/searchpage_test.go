package web

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/signin"
)

func TestSearch(t *testing.T) {
	l := &looked{found: []messages.Message{aMessage("queue-00.internal:4151", "orders.00000", 0, "the-secret-body")}}
	u := lookingUI(t, fleetOf(2, 150), l, fleet.Client{Node: "queue-00.internal:4151", ID: "billing-worker", Hostname: "<b>w1", RemoteAddress: "10.0.0.9:5000"})
	page := mainOf(t, get(u, signin.Viewer, "/search?q=orders.0001"))
	says(t, page, "orders.00010 topic", "orders.00019")
	if !strings.Contains(page, `href="/topics/orders.00010"`) {
		t.Error("no link to what was found")
	}
	says(t, mainOf(t, get(u, signin.Viewer, "/search?q=orders.00010/arch")), "orders.00010/archive channel")
	says(t, mainOf(t, get(u, signin.Viewer, "/search?q=ORDERS")), "50 more; type more of the name")
	says(t, mainOf(t, get(u, signin.Viewer, "/search?q=10.0.0.9")), "Connections", "billing-worker <b>w1, 10.0.0.9:5000")
	says(t, mainOf(t, get(u, signin.Viewer, "/search")), "Part of a topic's, channel's or node's name")
	says(t, mainOf(t, get(u, signin.Viewer, "/search?q="+strings.Repeat("%3Cscript%3E", 20))), "Nothing has “<script>")

	page = mainOf(t, get(u, signin.Viewer, "/search?q=%20000000000D1F0000"))
	says(t, page, "000000000d1f0000 orders.00000 queue-00.internal:4151")
	saysNot(t, page, "the-secret-body")
	l.failed, l.found = []audit.Result{{Node: "queue-01.internal:4151", Error: "refused"}}, nil
	l.err = fmt.Errorf("no node has it: %w", messages.ErrNotFound)
	says(t, mainOf(t, get(u, signin.Viewer, "/search?q=000000000d1f0000")), "queue-01.internal:4151 refused", "No node that answered has a message of this ID")
}
