package trouble_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/trouble"
)

// house is ten thousand topics with two channels each on fifty nodes. Each tenth
// channel, or all, has a backlog and nobody who takes it.
func house(on int, all bool) *fleet.Snapshot {
	s := &fleet.Snapshot{At: noon}
	for i := range 50 {
		n := up(fleet.Node{Address: fmt.Sprintf("node-%02d:4151", i), DiskFree: 50, DiskSize: 100, Version: "1.3.0", Lookups: []string{"l:1"}})
		s.Nodes = append(s.Nodes, &n)
	}
	s.Lookupds = []fleet.Lookupd{{Address: "l:1", Up: true}}
	for i := range 10_000 {
		t := &fleet.Topic{Name: fmt.Sprintf("topic-%05d", i)}
		for k := range on {
			t.Nodes = append(t.Nodes, fleet.NodeTopic{Name: t.Name, Node: s.Nodes[(i+k)%50].Address, Channels: make([]fleet.NodeChannel, 2)})
		}
		for _, name := range []string{"archive", "ship"} {
			c := &fleet.Channel{Topic: t.Name, Name: name, Figures: fleet.Figures{Depth: 20000, Clients: 3, Rates: fleet.Rates{In: 10, Out: 10}}}
			if all || i%10 == 0 {
				c.Clients = 0
			}
			t.Channels = append(t.Channels, c)
		}
		s.Topics = append(s.Topics, t)
	}
	return s
}

func BenchmarkFind(b *testing.B) {
	store := history.New(history.Settings{})
	var samples []history.Sample
	for _, t := range house(0, false).Topics {
		for _, c := range t.Channels {
			samples = append(samples, history.Sample{Key: history.Key{Topic: t.Name, Channel: c.Name}})
		}
	}
	for i := range 400 {
		for k := range samples {
			samples[k].Values[history.Depth] = 20000
			if k%10 == 0 { // what people see is about those that grow
				samples[k].Values[history.Depth] = float32(i * 50)
			}
		}
		store.Add(noon.Add(time.Duration(i-400)*2*time.Second), samples)
	}
	for _, bm := range []struct {
		name string
		on   int
		all  bool
	}{{"3 of 50 nodes", 3, false}, {"50 of 50 nodes", 50, false}, {"all in trouble", 3, true}} {
		b.Run(bm.name, func(b *testing.B) {
			s := house(bm.on, bm.all)
			f := trouble.NewFinder(trouble.Settings{})
			for b.Loop() {
				f.Find(s, store)
			}
			b.ReportMetric(float64(len(s.Troubles)), "troubles")
		})
	}
}
