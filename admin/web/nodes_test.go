package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/signin"
)

// holding gives the nodes of a fleet their own parts of its topics.
func holding(s *fleet.Snapshot) *fleet.Snapshot {
	for i, n := range s.Nodes {
		for _, t := range s.Topics {
			part := t.Nodes[i]
			for _, c := range t.Channels {
				part.Channels = append(part.Channels, c.Nodes[i])
			}
			n.Topics = append(n.Topics, part)
			n.Total = sum(n.Total, part.Figures)
		}
		for _, l := range s.Lookupds {
			n.Lookups = append(n.Lookups, l.Address)
		}
	}
	return s
}

func down(s *fleet.Snapshot, i int) {
	n := s.Nodes[i]
	n.Up, n.Error, n.Seen = false, "dial tcp 10.0.0.1:4151: connection refused", noon.Add(-7*time.Minute)
	s.Troubles = append(s.Troubles, fleet.Trouble{Severity: fleet.Failure, Kind: "node-down", Node: n.Address, Reason: "does not answer: connection refused"})
}

func TestNodes(t *testing.T) {
	s := holding(fleetOf(3, 2))
	down(s, 1)
	s.Nodes[2].Millrace, s.Nodes[2].Version, s.Nodes[2].OutOfDate = false, "1.2.1", true
	s.Nodes[2].DiskSize, s.Nodes[2].MemoryLimit = 0, 0
	s.Nodes[2].Total.Depth, s.Nodes[0].Total.Depth = 99_000_000, 3
	s.Nodes[0].Hostname = "<b>host</b>\u202e"
	u := lookingUI(t, s, &looked{})
	page := mainOf(t, get(u, signin.Viewer, "/nodes"))
	says(t, page, "2 of 3 nodes up", "queue-00.internal:4151", "<b>host</b>⟦U+202E⟧", "queue-01.internal:4151", "does not answer: connection refused", "down", "seen 7 min ago",
		"1.2.1", "old", "nsqd", "qd", "99 M", "80 %", "10 %")
	saysNot(t, page, "<b>host", "\u202e")

	order := func(target string) string {
		page := mainOf(t, get(u, signin.Viewer, target))
		at := func(i int) int { return strings.Index(page, fmt.Sprintf(`/nodes/queue-%02d`, i)) }
		list := []int{0, 1, 2}
		slices.SortFunc(list, func(a, b int) int { return at(a) - at(b) })
		return fmt.Sprint(list)
	}
	for target, want := range map[string]string{"/nodes": "[0 1 2]", "/nodes?sort=depth": "[2 1 0]", "/nodes?sort=disk": "[0 1 2]", "/nodes?sort=<script>": "[0 1 2]"} {
		if got := order(target); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	if !strings.Contains(mainOf(t, get(u, signin.Viewer, "/nodes?sort=in")), `aria-sort="descending"><a href="/nodes?sort=in"`) {
		t.Error("the column that it is sorted by is not marked")
	}
}

func TestNoNodes(t *testing.T) {
	for _, c := range []struct {
		s    *fleet.Snapshot
		says string
	}{
		{&fleet.Snapshot{}, "No daemon has been asked yet"},
		{&fleet.Snapshot{At: noon}, "Start the admin with --lookupd-http-address"},
		{&fleet.Snapshot{At: noon, Lookupds: []fleet.Lookupd{{Address: "l:4161", Up: true}}}, "The lookupds list no node"},
	} {
		says(t, mainOf(t, get(lookingUI(t, c.s, &looked{}), signin.Viewer, "/nodes")), c.says)
	}
}

func TestNode(t *testing.T) {
	s := holding(fleetOf(2, 120))
	n := s.Nodes[0]
	s.Lookupds = append(s.Lookupds, fleet.Lookupd{Address: "lookup-2:4161", Up: true}, fleet.Lookupd{Address: "lookup-3:4161", Error: "refused"})
	n.Tombstoned = []string{"orders.00003"}
	s.Troubles = []fleet.Trouble{{Severity: fleet.Warning, Kind: "disk", Node: n.Address, Reason: "4 % of the disk are free"}}
	clients := []fleet.Client{
		{Node: n.Address, ID: "<i>worker", Connection: "42", Hostname: "w1", RemoteAddress: "10.0.0.9:5000", State: subscribed, Ready: 25, UserAgent: "go\u202eagent", TLS: true},
		{Node: n.Address, ID: "publisher", RemoteAddress: "10.0.0.8:5000", State: 2, Published: []fleet.Published{{Topic: "orders.00001", Count: 77}}},
	}
	u := lookingUI(t, s, &looked{}, clients...)
	const at = "/nodes/queue-00.internal:4151"
	page := mainOf(t, get(u, signin.Admin, at))
	says(t, page, "4 % of the disk are free", "lookup-1:4161 yes", "lookup-2:4161 no who asks it does not find this node", "lookup-3:4161 down refused",
		"Hidden here by a tombstone: orders.00003", "120 topics", "1–50 of 120", "<i>worker", "10.0.0.9:5000", "go⟦U+202E⟧agent", "TLS", "publisher", "orders.00001 77",
		"disk: 20 GiB of 100 GiB free", "Memory for messages memory: 100 MiB of 1 GiB used")
	for _, want := range []string{"/do/drain-node?node=queue-00.internal%3A4151", "/do/pause-node?", "/do/unpause-node?", "/do/tombstone?node=", "/do/disconnect?id=42&amp;node=", "/settings?node=queue-00", "page=2"} {
		if !strings.Contains(page, want) {
			t.Errorf("no link to %s", want)
		}
	}
	page = mainOf(t, get(u, signin.Operator, at))
	saysNot(t, page, "/do/drain-node", "/do/tombstone")
	saysNot(t, mainOf(t, get(u, signin.Viewer, at)), "/do/")

	page = mainOf(t, get(u, signin.Viewer, at+"?q=00077"))
	says(t, page, "1 with “00077”", "orders.00077")
	saysNot(t, page, "orders.00078")
	says(t, mainOf(t, get(u, signin.Viewer, at+"?q=<b>")), "No topic of this node has “<b>” in its name")
	says(t, mainOf(t, get(u, signin.Viewer, at+"?page=99")), "101–120 of 120")
	if w := get(u, signin.Viewer, "/nodes/evil.example:4151"); w.Code != http.StatusNotFound {
		t.Errorf("a node that is none: %d", w.Code)
	}
}

// A node that is down is shown as it was last seen, and nobody is asked.
func TestNodeThatIsDown(t *testing.T) {
	s := holding(fleetOf(2, 1))
	down(s, 1)
	u := lookingUI(t, s, &looked{}, fleet.Client{ID: "ghost"})
	page := mainOf(t, get(u, signin.Viewer, "/nodes/queue-01.internal:4151"))
	says(t, page, "This node does not answer: dial tcp 10.0.0.1:4151: connection refused. Figures are those of 7 min ago.", "orders.00000", "Who is connected is not known")
	saysNot(t, page, "ghost")
}

func TestNodeOfNSQD(t *testing.T) {
	s := holding(fleetOf(1, 1))
	s.Nodes[0].Millrace, s.Nodes[0].DiskSize, s.Nodes[0].MemoryLimit = false, 0, 0
	page := mainOf(t, get(lookingUI(t, s, &looked{}), signin.Admin, "/nodes/queue-00.internal:4151"))
	says(t, page, "nsqd: it has no messages to look at, drain or settings", "not told by an nsqd", "Nobody is connected")
	saysNot(t, page, "/do/drain-node", "/settings?node")
}

func TestDrain(t *testing.T) {
	s := holding(fleetOf(1, 1))
	n := s.Nodes[0]
	n.State, n.Drain = "draining", &fleet.Drain{Since: noon.Add(-10 * time.Minute), Deadline: noon.Add(time.Hour), Messages: 250, InFlight: 5}
	u := lookingUI(t, s, &looked{})
	const at = "/nodes/queue-00.internal:4151"
	says(t, mainOf(t, get(u, signin.Viewer, at)), "draining", "250 messages are left, of which 5 with 0 consumers.", "what is left in 59 min stays on its disk", "No consumer is connected, so it gets no further")

	h := history.New(history.Settings{})
	for at := noon.Add(-20 * time.Minute); at.Before(noon); at = at.Add(2 * time.Second) {
		var v [history.Metrics]float32
		v[history.Depth] = 1000
		h.Add(at, []history.Sample{{Key: history.Key{Node: n.Address}, Values: v}})
	}
	u.History = h
	says(t, mainOf(t, get(u, signin.Viewer, at)), "75 % gone, of 1,000 messages")
	n.Drain.Messages, n.Drain.Deadline = 0, time.Time{}
	says(t, mainOf(t, get(u, signin.Viewer, at)), "Nothing is left: the node is about to end", "takes as long as it takes", "100 % gone")
}

func TestLookup(t *testing.T) {
	s := holding(fleetOf(3, 2))
	s.Lookupds = append(s.Lookupds,
		fleet.Lookupd{Address: "lookup-2:4161", Up: true, Nodes: 2}, fleet.Lookupd{Address: "lookup-3:4161", Error: "dial tcp: refused"})
	s.Nodes[0].Lookups = append(s.Nodes[0].Lookups, "lookup-2:4161")
	s.Nodes[1].Lookups = append(s.Nodes[1].Lookups, "lookup-2:4161")
	s.Nodes[0].Tombstoned = []string{"orders.00001"}
	l := &looked{inactive: map[string][]string{"old": {"a", "b"}, "gone": nil}, failed: []audit.Result{{Node: "lookup-3:4161", Error: "refused"}, {Node: "lookup-1:4161", OK: true}}}
	u := lookingUI(t, s, l)
	page := mainOf(t, get(u, signin.Admin, "/lookup"))
	says(t, page, "lookup-3:4161 down dial tcp: refused", "The lookupds do not agree", "queue-02.internal:4151 : listed by lookup-1:4161; not by lookup-2:4161",
		"orders.00001 queue-00.internal:4151", "gone none", "old a, b", "1 daemon did not answer")
	saysNot(t, page, "queue-00.internal:4151</a>: listed", "not by lookup-3:4161")
	for _, want := range []string{`action="/do/create-topic"`, `action="/do/create-channel"`, `action="/do/tombstone"`, "/do/forget?topic=old"} {
		if !strings.Contains(page, want) {
			t.Errorf("no way to %s", want)
		}
	}
	page = mainOf(t, get(u, signin.Operator, "/lookup"))
	saysNot(t, page, "/do/forget", "/do/tombstone")
	saysNot(t, mainOf(t, get(u, signin.Viewer, "/lookup")), "/do/")

	s = holding(fleetOf(1, 1))
	says(t, mainOf(t, get(lookingUI(t, s, &looked{}), signin.Viewer, "/lookup")), "lists all that are known", "No topic is hidden on any node", "Each topic that lookupds know is on a node")
	s.Lookupds = nil
	says(t, mainOf(t, get(lookingUI(t, s, &looked{}), signin.Viewer, "/lookup")), "No lookupd is asked: the admin was started with the addresses of nodes")
}

func TestCounter(t *testing.T) {
	s := holding(fleetOf(2, 20))
	down(s, 1)
	page := mainOf(t, get(lookingUI(t, s, &looked{}), signin.Viewer, "/counter"))
	var total uint64
	for _, topic := range s.Topics {
		total += topic.Messages
	}
	says(t, page, group(int64(total)), "since the node was started; those of nodes that are down are counted as last seen", "Topic In/s Messages orders.00019 20 19,000,074 orders.00018")
}
