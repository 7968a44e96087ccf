package trouble_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/trouble"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// past is a history of lines: of each key and metric, the value at minutes before noon.
type past map[string][]point

type point struct{ minutes, value float64 }

func (p past) line(k history.Key, m history.Metric) []point {
	return p[k.Topic+"/"+k.Channel+" "+m.String()]
}

// Values are those of the newest points not after at; before the first nothing is known.
func (p past) Values(k history.Key, m history.Metric, at []time.Time, values []float64) {
	for i := range at {
		values[i] = p.value(k, m, at[i])
	}
}

func (p past) value(k history.Key, m history.Metric, at time.Time) float64 {
	v := math.NaN()
	for _, x := range p.line(k, m) {
		if x.minutes >= noon.Sub(at).Minutes() {
			v = x.value
		}
	}
	return v
}

func (p past) Mean(k history.Key, m history.Metric, from, to time.Time) float64 {
	return p.value(k, m, to.Add(-time.Second))
}

// channel is a snapshot of one channel, orders/ship, and its topic on one node.
func channel(c fleet.Channel) *fleet.Snapshot {
	c.Topic, c.Name = "orders", "ship"
	return &fleet.Snapshot{At: noon, Topics: []*fleet.Topic{{
		Name: "orders", Channels: []*fleet.Channel{&c}, Nodes: []fleet.NodeTopic{{Name: "orders", Node: "a:4151"}},
	}}}
}

func topic(t fleet.Topic) *fleet.Snapshot {
	t.Name = "orders"
	return &fleet.Snapshot{At: noon, Topics: []*fleet.Topic{&t}}
}

func nodes(n ...fleet.Node) *fleet.Snapshot {
	s := &fleet.Snapshot{At: noon}
	for i := range n {
		if n[i].Address == "" {
			n[i].Address = string(rune('a'+i)) + ":4151"
		}
		s.Nodes = append(s.Nodes, &n[i])
	}
	return s
}

func up(n fleet.Node) fleet.Node {
	n.Up, n.Seen = true, noon
	return n
}

// told is all troubles of a snapshot, one a line.
func told(s *fleet.Snapshot) string {
	var b strings.Builder
	for _, t := range s.Troubles {
		about := strings.Join(strings.Fields(t.Topic+" "+t.Channel+" "+t.Node), " ")
		fmt.Fprintf(&b, "%s %s, %s: %s\n", []string{"", "note", "warning", "failure"}[t.Severity], t.Kind, about, t.Reason)
	}
	return b.String()
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestTroubles(t *testing.T) {
	grew := past{"orders/ship depth": {{10, 1200}, {5, 20000}, {1, 45000}}}
	tests := []struct {
		name string
		s    *fleet.Snapshot
		h    past
		want string
	}{
		{"all is well", channel(fleet.Channel{Figures: fleet.Figures{Depth: 10, Clients: 1, Rates: fleet.Rates{In: 5, Out: 5}}}), nil, ""},
		{
			"a backlog without consumers", channel(fleet.Channel{Figures: fleet.Figures{Depth: 1}}), nil,
			"warning no-consumer, orders ship: 1 message waits, and no consumer is connected\n",
		},
		{
			"a growing backlog without consumers", channel(fleet.Channel{Figures: fleet.Figures{Depth: 48000}}), grew,
			"failure no-consumer, orders ship: depth grew from 1,200 to 48,000 in 10 min, and no consumer is connected\n",
		},
		{
			"a growing backlog", channel(fleet.Channel{Figures: fleet.Figures{Depth: 48000, Clients: 3, Rates: fleet.Rates{In: 90, Out: 12}}}), grew,
			"warning growing, orders ship: depth grew from 1,200 to 48,000 in 10 min, with 3 consumers connected: 90 a second come in, 12 a second are finished\n",
		},
		{
			"as far back as is known", channel(fleet.Channel{Figures: fleet.Figures{Depth: 48000, Clients: 1, Rates: fleet.Rates{In: 5, Out: 12}}}),
			past{"orders/ship depth": {{3, 1000}, {1, 45000}}},
			"warning growing, orders ship: depth grew from 1,000 to 48,000 in 2 min, with 1 consumer connected\n",
		},
		{
			"a burst", channel(fleet.Channel{Figures: fleet.Figures{Depth: 48000, Clients: 1, Rates: fleet.Rates{Out: 1}}}),
			past{"orders/ship depth": {{10, 1000}, {0.5, 48000}}}, "",
		},
		{
			"a great backlog that sways", channel(fleet.Channel{Figures: fleet.Figures{Depth: 1_050_000, Clients: 1, Rates: fleet.Rates{Out: 1}}}),
			past{"orders/ship depth": {{10, 1_000_000}}}, "",
		},
		{
			"a paused channel", channel(fleet.Channel{Paused: true, Figures: fleet.Figures{Depth: 48000}, Pause: &fleet.Pause{
				By: "anna", Reason: "deploy of\nthe shop", Since: noon.Add(-25 * time.Minute), Until: noon.Add(time.Hour),
			}, Nodes: []fleet.NodeChannel{{Paused: true}, {}}}), nil,
			"note paused, orders ship: paused on 1 of 2 nodes by anna 25 min ago until 13:00 UTC: “deploy of the shop”; 48,000 messages wait\n",
		},
		{
			"a paused channel that grows", channel(fleet.Channel{Paused: true, Figures: fleet.Figures{Depth: 48000}}), grew,
			"warning paused, orders ship: paused; 48,000 messages wait, and depth grew from 1,200 to 48,000 in 10 min\n",
		},
		{"a paused topic", topic(fleet.Topic{Paused: true, Pause: &fleet.Pause{Until: noon.Add(48 * time.Hour)}}), nil, "note paused, orders: paused until 3 March 2026 12:00 UTC\n"},
		{
			"timeouts", channel(fleet.Channel{Figures: fleet.Figures{Clients: 1, Rates: fleet.Rates{Timeout: 2, Out: 20}}}),
			past{"orders/ship timeout": {{15, 0.2}, {1, 2.1}}, "orders/ship out": {{10, 20}}, "orders/ship requeue": {{10, 0}}},
			"warning timeouts, orders ship: 2.1 a second time out, 9.5 % of what is delivered; 10 min ago it was 12 a minute\n",
		},
		{"a timeout now and then", channel(fleet.Channel{Figures: fleet.Figures{Clients: 1, Rates: fleet.Rates{Timeout: 0.1, Out: 20}}}), nil, ""},
		{
			"requeues", channel(fleet.Channel{Figures: fleet.Figures{Clients: 1, Rates: fleet.Rates{Requeue: 30, Out: 10}}}), nil,
			"warning requeues, orders ship: 30 a second are requeued, 75 % of what is delivered\n",
		},
		{
			"dead messages, long known", channel(fleet.Channel{Figures: fleet.Figures{Dead: 31}}), past{"orders/ship dead": {{70, 31}}},
			"note dead, orders ship: 31 dead messages\n",
		},
		{
			"dead messages, new ones", channel(fleet.Channel{Figures: fleet.Figures{Dead: 31}}), past{"orders/ship dead": {{70, 19}}},
			"warning dead, orders ship: 31 dead messages; 12 of them came in the last hour\n",
		},
		{
			"a first dead message", channel(fleet.Channel{Figures: fleet.Figures{Dead: 1}}), past{"orders/ship dead": {{70, 0}}},
			"warning dead, orders ship: 1 dead message, all of the last hour\n",
		},
		{"no channel yet", topic(fleet.Topic{Figures: fleet.Figures{Depth: 3}}), nil, "note no-channel, orders: 3 messages wait for a first channel\n"},
		{
			"no channel, and more and more", topic(fleet.Topic{Figures: fleet.Figures{Depth: 5000}}), past{"orders/ depth": {{10, 0}, {1, 4900}}},
			"warning no-channel, orders: there is no channel, so messages only pile up: depth grew from 0 to 5,000 in 10 min\n",
		},
		{
			"damaged records", topic(fleet.Topic{Channels: []*fleet.Channel{{}}, Nodes: []fleet.NodeTopic{{Node: "a:1", Damaged: 2, Lost: 40}, {Node: "b:1", Damaged: 1}, {Node: "c:1"}}}), nil,
			"warning damaged, orders: 3 damaged records found on a:1 and b:1, and 40 messages in them lost, since the start\n",
		},
		{
			"nearly full", topic(fleet.Topic{Channels: []*fleet.Channel{{}}, Nodes: []fleet.NodeTopic{
				{Node: "a:1", Policy: fleet.Policy{MaxMessages: 1000}},
				{Node: "b:1", Policy: fleet.Policy{MaxMessages: 1000, Overflow: "reject"}, Channels: []fleet.NodeChannel{{Figures: fleet.Figures{Depth: 900, Deferred: 50}}}},
			}}), nil,
			"warning full, orders: the longest backlog on b:1 is 950 of at most 1,000 messages; then publishes are refused\n",
		},
		{
			"full", topic(fleet.Topic{Channels: []*fleet.Channel{{}}, Nodes: []fleet.NodeTopic{
				{Node: "a:1", Policy: fleet.Policy{MaxMessages: 1000, Overflow: "drop-oldest"}, Channels: []fleet.NodeChannel{{Figures: fleet.Figures{Depth: 1000}}}},
			}}), nil,
			"failure full, orders: the longest backlog on a:1 is 1,000 of at most 1,000 messages; then the oldest messages are dropped\n",
		},
		{
			"a node without an answer", nodes(fleet.Node{Seen: noon.Add(-4 * time.Minute), Error: "connection\nrefused"}), nil,
			"failure node-down, a:4151: node has not answered for 4 min: connection refused\n",
		},
		{"a node that never answered", nodes(fleet.Node{}), nil, "failure node-down, a:4151: node has never answered\n"},
		{"one missed poll", nodes(fleet.Node{Seen: noon.Add(-2 * time.Second)}), nil, ""},
		{"one missed poll of those that are far between", func() *fleet.Snapshot {
			s := nodes(fleet.Node{Seen: noon.Add(-21 * time.Second)})
			s.Period = 20 * time.Second
			return s
		}(), nil, ""},
		{"a disk", nodes(up(fleet.Node{DiskFree: 8e9, DiskSize: 100e9})), nil, "warning disk, a:4151: disk is nearly full: 8.0 GB of 100 GB are free (8.0 %)\n"},
		{"a disk that is all but full", nodes(up(fleet.Node{DiskFree: 200e6, DiskSize: 100e9})), nil, "failure disk, a:4151: disk is nearly full: 200 MB of 100 GB are free (0.2 %)\n"},
		{
			"a disk that fails", nodes(up(fleet.Node{Health: "NOK - failed to write: input/output error", State: "failing"})), nil,
			"failure disk-failed, a:4151: node is not healthy: NOK - failed to write: input/output error\n",
		},
		{
			"a disk that is full", nodes(up(fleet.Node{State: "failing", DiskFree: 2e6, DiskSize: 100e9})), nil,
			"failure disk-failed, a:4151: node takes no messages: its disk is full or cannot be written; 2.0 MB of 100 GB are free (0.0 %)\n",
		},
		{"memory", nodes(up(fleet.Node{MemoryUsed: 1.9e9, MemoryLimit: 2e9})), nil, "warning memory, a:4151: messages take 1.9 GB of the 2.0 GB of memory that they may (95 %)\n"},
		{
			"a drain", nodes(up(fleet.Node{State: "draining", Drain: &fleet.Drain{Since: noon.Add(-time.Minute), Deadline: noon.Add(5 * time.Minute), Messages: 1200, Consumers: 1}})), nil,
			"note draining, a:4151: node has been draining for 60 s: 1,200 messages and 1 consumer are left, until 12:05 UTC\n",
		},
		{
			"versions", nodes(up(fleet.Node{Version: "1.3.0", Millrace: true}), up(fleet.Node{Version: "1.2.1"}), up(fleet.Node{Version: "1.3.0", Millrace: true}), fleet.Node{Version: "0.1", Seen: noon}), nil,
			"note versions, : nodes run different versions: 1.3.0 (qd) on 2 nodes; 1.2.1 on b:4151\n",
		},
		{
			"a tombstone", func() *fleet.Snapshot {
				s := topic(fleet.Topic{})
				s.Nodes = nodes(up(fleet.Node{Tombstoned: []string{"orders", "gone"}})).Nodes
				return s
			}(), nil,
			"note tombstoned, orders a:4151: tombstoned on a:4151: consumers do not find the topic there\n",
		},
		{
			"a lookupd", &fleet.Snapshot{At: noon, Lookupds: []fleet.Lookupd{{Address: "l:4161", Error: "timeout"}, {Address: "m:4161", Up: true}}}, nil,
			"warning lookup-down, l:4161: lookupd does not answer: timeout\n",
		},
		{
			"all lookupds", &fleet.Snapshot{At: noon, Lookupds: []fleet.Lookupd{{Address: "l:4161"}}}, nil,
			"failure lookup-down, l:4161: no lookupd answers, so consumers find no new node and no new topic\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h trouble.History
			if tt.h != nil {
				h = tt.h
			}
			trouble.NewFinder(trouble.Settings{}).Find(tt.s, h)
			expect(t, "troubles", told(tt.s), tt.want)
		})
	}
}

func TestOrder(t *testing.T) {
	s := nodes(fleet.Node{}, up(fleet.Node{DiskFree: 8, DiskSize: 100}))
	add := func(topic string, c fleet.Channel) {
		c.Topic, c.Name = topic, "c"
		s.Topics = append(s.Topics, &fleet.Topic{Name: topic, Channels: []*fleet.Channel{&c}})
	}
	add("a", fleet.Channel{Figures: fleet.Figures{Depth: 10}})
	add("b", fleet.Channel{Figures: fleet.Figures{Depth: 1000}})
	add("c", fleet.Channel{Figures: fleet.Figures{Depth: 1020}})
	add("d", fleet.Channel{Paused: true, Figures: fleet.Figures{Depth: 100_000, Dead: 3}})
	trouble.NewFinder(trouble.Settings{}).Find(s, nil)
	var words []string
	for _, x := range s.Troubles {
		words = append(words, x.Kind+" "+x.Topic+x.Node)
	}
	expect(t, "the order", strings.Join(words, ", "), "node-down a:4151, disk b:4151, no-consumer b, no-consumer c, no-consumer a, paused d, dead d")
	d := s.Topics[3]
	if len(d.Troubles) != 2 || len(d.Channels[0].Troubles) != 2 || d.Troubles[0].Kind != "paused" {
		t.Errorf("the topic's troubles are %v, its channel's %v", d.Troubles, d.Channels[0].Troubles)
	}
}

func TestDrainedIn(t *testing.T) {
	tests := []struct {
		depth int64
		h     past
		want  time.Duration
	}{
		{0, nil, 0},
		{100, nil, -1},
		{1000, past{"orders/ship depth": {{5, 6000}, {2, 3000}, {1, 2000}}}, time.Minute},
		{1000, past{"orders/ship depth": {{2, 2000}}}, 2 * time.Minute},
		{1000, past{"orders/ship depth": {{5, 1000}}}, -1},
		{1000, past{"orders/ship depth": {{5, 900}}}, -1},
		{1000, past{"orders/ship depth": {{1, 2000}}}, time.Minute},
		// A burst that came three minutes ago.
		{1000, past{"orders/ship depth": {{5, 0}, {3, 7000}, {2, 5000}, {1, 3000}}}, 30 * time.Second},
		// Its consumers went a minute ago.
		{1000, past{"orders/ship depth": {{5, 9000}, {2, 2000}, {1, 900}}}, -1},
		// So slowly that two minutes do not tell.
		{9_985_000, past{"orders/ship depth": {{5, 10_000_000}, {2, 9_990_000}}}, 9_985_000 * 5 * time.Minute / 15_000},
		{math.MaxInt64 / 2, past{"orders/ship depth": {{5, math.MaxInt64}}}, 2 * time.Minute},
	}
	for _, tt := range tests {
		s := channel(fleet.Channel{Figures: fleet.Figures{Depth: tt.depth, Clients: 1, Rates: fleet.Rates{Out: 1}}})
		trouble.NewFinder(trouble.Settings{}).Find(s, tt.h)
		if got := s.Topics[0].Channels[0].DrainedIn; got != tt.want {
			t.Errorf("of %d: drained in %v, want %v", tt.depth, got, tt.want)
		}
	}
}

// What people and daemons write is told on one line, whatever it is.
func TestForeignText(t *testing.T) {
	odd := "\x00\xff\u202e" + strings.Repeat("<b>é</b>\n", 200)
	s := channel(fleet.Channel{Paused: true, Pause: &fleet.Pause{Reason: odd, By: odd}})
	s.Nodes = nodes(fleet.Node{Error: odd, Seen: noon.Add(-time.Hour)}, up(fleet.Node{Health: odd, Version: odd}), up(fleet.Node{Version: "1"})).Nodes
	trouble.NewFinder(trouble.Settings{}).Find(s, nil)
	if len(s.Troubles) != 4 {
		t.Fatalf("troubles are %s", told(s))
	}
	for _, x := range s.Troubles {
		if strings.ContainsAny(x.Reason, "\n\x00\u202e") || len(x.Reason) > 1000 || strings.ToValidUTF8(x.Reason, "") != x.Reason {
			t.Errorf("the reason is %q", x.Reason)
		}
	}
}
