package trouble_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/trouble"
)

// film shows a Finder one snapshot every two seconds, and tells what it says: a line
// for each change.
func film(f *trouble.Finder, frames int, h trouble.History, frame func(i int) *fleet.Snapshot) string {
	var b strings.Builder
	before := ""
	for i := range frames {
		s := frame(i)
		s.At = noon.Add(time.Duration(2*i) * time.Second)
		f.Find(s, h)
		now := ""
		for _, x := range s.Troubles {
			now += fmt.Sprintf(" %s %d since %v;", x.Kind, x.Severity, x.Since.Sub(noon))
		}
		if now != before {
			fmt.Fprintf(&b, "%v:%s\n", s.At.Sub(noon), now)
		}
		before = now
	}
	return b.String()
}

func TestTroubleLingers(t *testing.T) {
	got := film(trouble.NewFinder(trouble.Settings{}), 60, nil, func(i int) *fleet.Snapshot {
		c := fleet.Channel{Figures: fleet.Figures{Depth: 5}}
		if i < 2 || i%5 == 0 || i >= 30 { // a consumer comes and goes, and then stays
			c.Clients, c.Out = 1, 1
		}
		return channel(c)
	})
	expect(t, "what is told", got, "4s: no-consumer 2 since 4s;\n1m14s:\n")
}

// What lingers says so; what somebody did, or what is counted, is over at once; and a
// backlog has one trouble at a time.
func TestTroubleIsOver(t *testing.T) {
	here := func() *fleet.Snapshot { return channel(fleet.Channel{Figures: fleet.Figures{Clients: 1}}) }
	waits := fleet.Figures{Depth: 5}
	tombstoned, untombstoned := here(), here()
	tombstoned.Nodes = nodes(up(fleet.Node{Tombstoned: []string{"orders"}})).Nodes
	untombstoned.Nodes = nodes(up(fleet.Node{})).Nodes
	tests := []struct {
		name      string
		was, then *fleet.Snapshot
		want      string
	}{
		{
			"a node", nodes(fleet.Node{Seen: noon.Add(-time.Minute), Error: "refused"}), nodes(up(fleet.Node{})),
			"failure node-down, a:4151: until 6 s ago: node has not answered for 60 s: refused\n",
		},
		{
			"consumers", channel(fleet.Channel{Figures: waits}), here(),
			"warning no-consumer, orders ship: until 6 s ago: 5 messages wait, and no consumer is connected\n",
		},
		{"a pause", channel(fleet.Channel{Paused: true}), here(), ""},
		{"a pause of what waits", channel(fleet.Channel{Paused: true, Figures: waits}), here(), ""},
		{"dead messages", channel(fleet.Channel{Figures: fleet.Figures{Dead: 1, Clients: 1}}), here(), ""},
		{"a tombstone", tombstoned, untombstoned, ""},
		{"a drain", nodes(up(fleet.Node{State: "draining"})), nodes(up(fleet.Node{})), ""},
		{
			"consumers of what is paused", channel(fleet.Channel{Figures: waits}), channel(fleet.Channel{Paused: true}),
			"note paused, orders ship: paused\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := trouble.NewFinder(trouble.Settings{})
			if f.Find(tt.was, nil); len(tt.was.Troubles) != 1 {
				t.Fatalf("troubles are %s", told(tt.was))
			}
			tt.then.At = noon.Add(6 * time.Second)
			f.Find(tt.then, nil)
			expect(t, "troubles", told(tt.then), tt.want)
		})
	}
}

// Not every topic's parts are looked at each time, but what is found there is as steady
// as all else.
func TestTroubleOfParts(t *testing.T) {
	got := film(trouble.NewFinder(trouble.Settings{}), 60, nil, func(i int) *fleet.Snapshot {
		s := &fleet.Snapshot{}
		for n := range 10 {
			s.Topics = append(s.Topics, &fleet.Topic{Name: fmt.Sprint("t", n), Nodes: []fleet.NodeTopic{{Node: "a:1"}}})
		}
		if i >= 4 && i < 30 {
			s.Topics[7].Nodes[0].Damaged = 1
		}
		return s
	})
	expect(t, "what is told", got, "14s: damaged 2 since 14s;\n1m0s:\n")
}

func TestTroubleOfWhatIsGone(t *testing.T) {
	got := film(trouble.NewFinder(trouble.Settings{}), 10, nil, func(i int) *fleet.Snapshot {
		if i >= 5 {
			return &fleet.Snapshot{}
		}
		return channel(fleet.Channel{Figures: fleet.Figures{Depth: 5}})
	})
	expect(t, "what is told", got, "0s: no-consumer 2 since 0s;\n10s:\n")
}

// A figure that sways about its threshold is one trouble.
func TestThresholdsAreLowerForWhatIsThere(t *testing.T) {
	got := film(trouble.NewFinder(trouble.Settings{}), 300, nil, func(i int) *fleet.Snapshot {
		free := uint64(105)
		if i/50%2 == 1 {
			free = 95
		}
		if i > 250 {
			free = 200
		}
		return nodes(up(fleet.Node{DiskFree: free, DiskSize: 1000}))
	})
	expect(t, "what is told", got, "1m40s: disk 2 since 1m40s;\n8m36s:\n")
}

func TestStuck(t *testing.T) {
	f := trouble.NewFinder(trouble.Settings{})
	var last *fleet.Snapshot
	got := film(f, 400, nil, func(i int) *fleet.Snapshot {
		c := fleet.Channel{Figures: fleet.Figures{Depth: 1200, Clients: 2, InFlight: 30}}
		if i < 10 || i == 150 || i == 300 {
			c.Out = 5
		}
		last = channel(c)
		return last
	})
	// 20 s + 3 min; after a message the three minutes begin anew.
	expect(t, "what is told", got, "3m20s: stuck 2 since 20s;\n5m0s:\n8m2s: stuck 2 since 5m2s;\n10m0s:\n13m2s: stuck 2 since 10m2s;\n")
	expect(t, "the reason", told(last), "warning stuck, orders ship: nothing was finished for 3 min, though 1,200 messages wait and 2 consumers are connected; they hold 30\n")
}

func TestMissingNode(t *testing.T) {
	show := func(state string) string {
		return film(trouble.NewFinder(trouble.Settings{Missing: time.Minute}), 60, nil, func(i int) *fleet.Snapshot {
			if i >= 5 {
				return &fleet.Snapshot{}
			}
			n := up(fleet.Node{State: state})
			n.Seen = noon.Add(time.Duration(2*i) * time.Second)
			return nodes(n)
		})
	}
	expect(t, "a node that is gone", show("ready"), "10s: node-down 2 since 8s;\n1m24s:\n")
	expect(t, "a node that stopped", show("stopping"), "0s: draining 1 since 0s;\n10s:\n")
}

func TestLookupdsThatDisagree(t *testing.T) {
	var last *fleet.Snapshot
	got := film(trouble.NewFinder(trouble.Settings{}), 60, nil, func(i int) *fleet.Snapshot {
		last = nodes(up(fleet.Node{Lookups: []string{"l:1"}}), up(fleet.Node{Lookups: []string{"m:1", "l:1"}}), up(fleet.Node{}))
		last.Lookupds = []fleet.Lookupd{{Address: "l:1", Up: true}, {Address: "m:1", Up: true}}
		return last
	})
	expect(t, "what is told", got, "1m0s: lookups 2 since 0s; lookups 2 since 0s;\n")
	expect(t, "the reasons", told(last),
		"warning lookups, a:4151: lookupds disagree: m:1 does not list the node, 1 of 2 do; consumers that ask there do not find it\n"+
			"warning lookups, c:4151: node answers, but no lookupd lists it: consumers do not find it\n")
}

func TestClockIsSetBack(t *testing.T) {
	f := trouble.NewFinder(trouble.Settings{})
	for _, at := range []time.Duration{0, 24 * time.Hour, time.Hour, time.Hour + 2*time.Second} {
		s := channel(fleet.Channel{Figures: fleet.Figures{Depth: 5}})
		s.At = noon.Add(at)
		f.Find(s, nil)
		if len(s.Troubles) != 1 || s.Troubles[0].Since.After(s.At) {
			t.Errorf("after %v the troubles are %+v", at, s.Troubles)
		}
	}
}
