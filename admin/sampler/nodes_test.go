package sampler_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/admin/fleet"
)

// Several lookupds are united: a node's name, who lists it, and what any of them hides.
func TestLookupdsUnited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := clustertest.NewFleet(t, clustertest.InMemory(), clustertest.Nodes(2), clustertest.Lookupds(3), clustertest.Topics(3))
		f.Nodes[1].Unlist(f.Lookupds[0])
		f.Lookupds[0].Tombstone(clustertest.TopicName(2), f.Nodes[0])
		f.Lookupds[1].Tombstone(clustertest.TopicName(1), f.Nodes[0])
		f.Lookupds[1].Tombstone(clustertest.TopicName(2), f.Nodes[0])
		w := watchFleet(t, f)
		w.pass(time.Second)
		f.Lookupds[2].Answer(200, "<html>nonsense</html>")
		s := w.pass(10 * time.Second)
		a, b := s.Node("qd-0:4151"), s.Node("qd-1:4151")
		if len(s.Nodes) != 2 || !a.Up || !b.Up {
			t.Fatalf("nodes: %+v", s.Nodes)
		}
		if !slices.Equal(a.Tombstoned, []string{clustertest.TopicName(1), clustertest.TopicName(2)}) || len(b.Tombstoned) != 0 {
			t.Errorf("tombstones: %q, %q", a.Tombstoned, b.Tombstoned)
		}
		if len(a.Lookups) != 3 || !slices.Equal(b.Lookups, []string{"lookupd-1:4161", "lookupd-2:4161"}) {
			t.Errorf("listed by %q, %q", a.Lookups, b.Lookups)
		}
		l := s.Lookupds[2]
		if !s.Lookupds[0].Up || s.Lookupds[0].Version != "1.3.0" || s.Lookupds[0].Nodes != 1 || l.Up || !strings.Contains(l.Error, "not what NSQ's daemons answer") {
			t.Errorf("lookupds: %+v", s.Lookupds)
		}
	})
}

// What a lookupd may answer, and the daemons that are known nevertheless.
func TestLookupdAnswersNonsense(t *testing.T) {
	for name, hit := range map[string]func(*clustertest.Lookupd){
		"text":    func(l *clustertest.Lookupd) { l.Answer(200, "OK") },
		"no list": func(l *clustertest.Lookupd) { l.Answer(200, "{}") },
		"null":    func(l *clustertest.Lookupd) { l.Answer(200, "null") },
		"endless": func(l *clustertest.Lookupd) {
			l.Endless(`{"producers":[`, `{"hostname":"`+strings.Repeat("x", 10_000)+`"},`)
		},
		"hangs": func(l *clustertest.Lookupd) { l.Hang() },
		"gone":  func(l *clustertest.Lookupd) { l.Down() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, clustertest.Topics(1))
				w.pass(time.Second)
				hit(w.Lookupds[0])
				w.pass(4 * time.Second)
				if name != "endless" { // which is much to read
					w.pass(10 * time.Minute)
				}
				s := w.Latest()
				if n := s.Node("qd-0:4151"); n == nil || !n.Up || time.Since(n.Seen) > 5*time.Second || s.Lookupds[0].Up || s.Lookupds[0].Error == "" {
					t.Errorf("the node: %+v; the lookupd: %+v", n, s.Lookupds[0])
				}
				w.Lookupds[0].Heal()
				if s := w.pass(10 * time.Second); !s.Lookupds[0].Up || s.Lookupds[0].Error != "" {
					t.Errorf("it answers again: %+v", s.Lookupds[0])
				}
			})
		})
	}
}

// Addresses that are none are not asked, and the lookupd's line says so.
func TestHostileAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := clustertest.NewFleet(t, clustertest.InMemory(), clustertest.Topics(1))
		f.Lookupds[0].List("qd-0:4151/delete?x=", 1)
		f.Lookupds[0].List("nowhere", 9)
		w := watchFleet(t, f)
		s := w.pass(10 * time.Second)
		if len(s.Nodes) != 2 || s.Node("nowhere:9") == nil || s.Node("nowhere:9").Up || !s.Lookupds[0].Up || !strings.Contains(s.Lookupds[0].Error, "cannot be used") {
			t.Errorf("nodes: %+v; lookupd: %+v", s.Nodes, s.Lookupds)
		}
	})
}

// A node that no lookupd lists any more stays for some minutes, and shows as what it is.
func TestMissingNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, clustertest.Nodes(2), clustertest.Topics(1))
		w.pass(5 * time.Second)
		w.Nodes[1].Unlist()
		s := w.pass(time.Minute)
		if n := s.Node("qd-1:4151"); n == nil || !n.Up || len(n.Lookups) != 0 {
			t.Fatalf("unlisted, it still answers: %+v", n)
		}
		w.Nodes[1].Down()
		s = w.pass(time.Minute)
		n := s.Node("qd-1:4151")
		if n == nil || n.Up || !strings.HasPrefix(n.Error, "no lookupd lists it any more") || len(n.Topics) != 1 {
			t.Fatalf("unlisted and down: %+v", n)
		}
		s = w.pass(10 * time.Minute)
		if s.Node("qd-1:4151") != nil || len(s.Nodes) != 1 || len(s.Topics[0].Nodes) != 1 {
			t.Errorf("later: %+v", s.Nodes)
		}
		w.Nodes[1].Heal()
		w.Nodes[1].List()
		if s = w.pass(5 * time.Second); s.Node("qd-1:4151") == nil || !s.Node("qd-1:4151").Up {
			t.Errorf("it has come back: %+v", s.Nodes)
		}
	})
}

// Other lookupds may be set at any time.
func TestSetLookupds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := clustertest.NewFleet(t, clustertest.InMemory(), clustertest.Nodes(2), clustertest.Lookupds(2))
		f.Nodes[0].Unlist(f.Lookupds[1])
		f.Nodes[1].Unlist(f.Lookupds[0])
		w := watchFleet(t, f)
		if s := w.pass(time.Second); len(s.Nodes) != 2 {
			t.Fatalf("nodes: %+v", s.Nodes)
		}
		if err := w.cluster.SetLookupds([]string{f.Lookupds[1].Address()}); err != nil {
			t.Fatal(err)
		}
		s := w.pass(5 * time.Second)
		if len(s.Lookupds) != 1 || len(s.Nodes) != 1 || s.Nodes[0].Address != "qd-1:4151" {
			t.Errorf("lookupds: %+v; nodes: %+v", s.Lookupds, s.Nodes)
		}
	})
}

// Without lookupds, the daemons that are named are asked who they are.
func TestNamedDaemons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := clustertest.NewFleet(t, clustertest.InMemory(), clustertest.Nodes(2), clustertest.Lookupds(0), clustertest.Topics(1))
		f.Nodes[1].Down()
		w := watchFleet(t, f)
		s := w.pass(5 * time.Second)
		if len(s.Nodes) != 2 || len(s.Lookupds) != 0 {
			t.Fatalf("nodes: %+v", s.Nodes)
		}
		if n := s.Nodes[0]; !n.Up || n.Hostname != "host-0" || n.BroadcastAddress != "qd-0" || n.TCPPort != 4150 || len(n.Topics) != 1 {
			t.Errorf("a node: %+v", n)
		}
		if n := s.Nodes[1]; n.Up || n.Error == "" || strings.Contains(n.Error, "lookupd") {
			t.Errorf("the other: %+v", n)
		}
		f.Nodes[1].Heal()
		if s := w.pass(5 * time.Second); !s.Nodes[1].Up || s.Nodes[1].Hostname != "host-1" || s.Nodes[1].Error != "" {
			t.Errorf("it answers: %+v", s.Nodes[1])
		}
	})
}

// A drain is shown while it lasts.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, clustertest.Topics(1))
		if s := w.pass(time.Second); s.Nodes[0].Drain != nil || w.Requests("/drain") != 0 {
			t.Errorf("drain: %+v", s.Nodes[0].Drain)
		}
		began := time.Now()
		w.Nodes[0].Change(func(d *clustertest.Daemon) {
			d.State, d.DrainSince, d.Deadline = "draining", began, began.Add(time.Hour)
			d.Topic(clustertest.TopicName(0)).Publish(5, 1)
		})
		d := w.pass(3 * time.Second).Nodes[0].Drain
		if d == nil || !d.Since.Equal(began) || !d.Deadline.Equal(began.Add(time.Hour)) || d.Messages != 10 {
			t.Errorf("drain: %+v", d)
		}
	})
}

func TestOutOfDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := clustertest.NewFleet(t, clustertest.InMemory(), clustertest.Nodes(2))
		f.Nodes[0].Change(func(d *clustertest.Daemon) { d.Version = "1.2.10" })
		s := watchFleet(t, f).pass(time.Second)
		if !s.Nodes[0].OutOfDate || s.Nodes[1].OutOfDate {
			t.Errorf("out of date: %v, %v", s.Nodes[0].OutOfDate, s.Nodes[1].OutOfDate)
		}
	})
}

// Topics come and go; what is gone is not shown.
func TestTopicsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, clustertest.Nodes(2), clustertest.Spread(1), clustertest.Topics(4))
		for i := range 20 {
			w.Nodes[i%2].Change(func(d *clustertest.Daemon) {
				delete(d.Topics, fmt.Sprintf("new-%d", i-2))
				d.Topic(fmt.Sprintf("new-%d", i)).Channel(fmt.Sprint(i))
				delete(d.Topics, clustertest.TopicName(i))
			})
			s := w.pass(3 * time.Second)
			var want []string
			for k := i + 1; k < 4; k++ {
				want = append(want, clustertest.TopicName(k))
			}
			for k := max(0, i-1); k <= i; k++ {
				want = append(want, fmt.Sprintf("new-%d", k))
			}
			slices.Sort(want)
			var got []string
			for _, topic := range s.Topics {
				got = append(got, topic.Name)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("round %d: %v, want %v", i, got, want)
			}
			if s.Channel(fmt.Sprintf("new-%d", i), fmt.Sprint(i)) == nil || s.Topic("none") != nil || s.Channel("none", "x") != nil || s.Node("none") != nil {
				t.Errorf("what is found by its name is not what there is")
			}
		}
	})
}

// A snapshot that somebody holds does not change.
func TestSnapshotsDoNotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, clustertest.Nodes(2), clustertest.Topics(2))
		s := w.pass(time.Second)
		text := describe(s)
		for i := range 30 {
			w.Nodes[i%2].Change(func(d *clustertest.Daemon) {
				d.Topic(clustertest.TopicName(i%3)).Publish(1000, 1)
				d.Topic(clustertest.TopicName(i % 3)).Channel(fmt.Sprint(i))
				d.Topic(clustertest.TopicName(i % 3)).Paused = true
			})
			if i%10 == 5 {
				w.Nodes[i%2].Down()
			} else {
				w.Nodes[i%2].Heal()
			}
			w.pass(2 * time.Second)
		}
		if describe(s) != text {
			t.Errorf("it was\n%s\nand is\n%s", text, describe(s))
		}
	})
}

func describe(s *fleet.Snapshot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %+v %+v %+v\n", s.At, s.Totals, s.Lookupds, s.Troubles)
	for _, n := range s.Nodes {
		fmt.Fprintf(&b, "%+v\n", *n)
	}
	for _, t := range s.Topics {
		fmt.Fprintf(&b, "%+v\n", t.Nodes)
		for _, c := range t.Channels {
			fmt.Fprintf(&b, "%+v\n", *c)
		}
	}
	return b.String()
}
