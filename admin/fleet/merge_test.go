package fleet_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
)

func TestMerge(t *testing.T) {
	rates := func(in, out float64) fleet.Rates { return fleet.Rates{In: in, Out: out, Requeue: -1, Timeout: 0} }
	s := &fleet.Snapshot{Nodes: []*fleet.Node{
		{Address: "a:1", Topics: []fleet.NodeTopic{
			{
				Name: "both", Node: "a:1", Figures: fleet.Figures{Depth: 1, Messages: 10, Rates: rates(5, 0)}, Latency: []fleet.Percentile{{Quantile: 0.5, Value: 3}},
				Channels: []fleet.NodeChannel{
					{Name: "c", Node: "a:1", Figures: fleet.Figures{Depth: 2, Messages: 10, Dead: 1, Clients: 3, Rates: rates(5, 4)}, Latency: []fleet.Percentile{{Quantile: 0.99, Value: 9}, {Quantile: 0.5, Value: 1}}},
				},
			},
			{Name: "only-a", Node: "a:1", Figures: fleet.Figures{Messages: 1, Rates: fleet.UnknownRates}},
		}},
		{Address: "b:1"},
		{Address: "c:1", Topics: []fleet.NodeTopic{
			{
				Name: "both", Node: "c:1", Figures: fleet.Figures{Depth: 4, Messages: 20, Rates: rates(-1, 0)}, Paused: true, Pause: &fleet.Pause{},
				Latency: []fleet.Percentile{{Quantile: 0.5, Value: 2}},
				Channels: []fleet.NodeChannel{
					{Name: "b", Node: "c:1", Figures: fleet.Figures{InFlight: 7, Rates: fleet.UnknownRates}, Pause: &fleet.Pause{By: "x"}, Paused: true},
					{Name: "c", Node: "c:1", Figures: fleet.Figures{Depth: 8, Messages: 20, Dead: 2, Rates: rates(1, 1)}, Latency: []fleet.Percentile{{Quantile: 0.5, Value: 7}}},
				},
			},
		}},
	}}
	s.Merge()

	if len(s.Topics) != 2 || s.Topics[0].Name != "both" || s.Topics[1].Name != "only-a" {
		t.Fatalf("topics: %+v", s.Topics)
	}
	both := s.Topic("both")
	if want := (fleet.Figures{Depth: 5, Messages: 30, Rates: rates(5, 0)}); both.Figures != want {
		t.Errorf("the topic itself: %+v, want %+v", both.Figures, want)
	}
	if want := (fleet.Figures{Depth: 15, Messages: 30, InFlight: 7, Dead: 3, Clients: 3, Rates: rates(5, 5)}); both.Total != want {
		t.Errorf("with its channels: %+v, want %+v", both.Total, want)
	}
	if !both.Paused || both.Pause == nil || len(both.Nodes) != 2 || both.Nodes[1].Node != "c:1" || len(both.Latency) != 1 || both.Latency[0].Value != 3 {
		t.Errorf("the topic: %+v", both)
	}
	c := s.Channel("both", "c")
	if want := (fleet.Figures{Depth: 10, Messages: 30, Dead: 3, Clients: 3, Rates: rates(6, 5)}); c.Figures != want || c.Paused || len(c.Nodes) != 2 || c.Topic != "both" {
		t.Errorf("the channel: %+v, want %+v", c, want)
	}
	if want := []fleet.Percentile{{Quantile: 0.99, Value: 9}, {Quantile: 0.5, Value: 7}}; !slices.Equal(c.Latency, want) || s.Nodes[0].Topics[0].Channels[0].Latency[1].Value != 1 {
		t.Errorf("latencies: %+v, want %+v", c.Latency, want)
	}
	if b := s.Channel("both", "b"); !b.Paused || b.Pause.By != "x" || b.Rates != fleet.UnknownRates || len(b.Nodes) != 1 {
		t.Errorf("a channel of one node: %+v", b)
	}
	if want := (fleet.Figures{Depth: 15, Messages: 31, InFlight: 7, Dead: 3, Clients: 3, Rates: rates(5, 5)}); s.Totals != want {
		t.Errorf("totals: %+v, want %+v", s.Totals, want)
	}
	if want := (fleet.Figures{Depth: 3, Messages: 11, Dead: 1, Clients: 3, Rates: rates(5, 4)}); s.Nodes[0].Total != want {
		t.Errorf("a node: %+v, want %+v", s.Nodes[0].Total, want)
	}
	if s.Nodes[1].Total != (fleet.Figures{}) {
		t.Errorf("a node without topics: %+v", s.Nodes[1].Total)
	}
}

// Whoever pauses with a reason is shown, wherever it was.
func TestPauseThatSaysMore(t *testing.T) {
	until := time.Unix(1, 0)
	for _, tt := range []struct{ a, b, want *fleet.Pause }{
		{nil, nil, nil},
		{nil, &fleet.Pause{}, &fleet.Pause{}},
		{&fleet.Pause{}, nil, &fleet.Pause{}},
		{&fleet.Pause{}, &fleet.Pause{By: "b"}, &fleet.Pause{By: "b"}},
		{&fleet.Pause{Reason: "a"}, &fleet.Pause{By: "b"}, &fleet.Pause{Reason: "a"}},
		{&fleet.Pause{Until: until}, &fleet.Pause{}, &fleet.Pause{Until: until}},
	} {
		s := &fleet.Snapshot{Nodes: []*fleet.Node{
			{Address: "a:1", Topics: []fleet.NodeTopic{{Name: "t", Pause: tt.a}}},
			{Address: "b:1", Topics: []fleet.NodeTopic{{Name: "t", Pause: tt.b}}},
		}}
		s.Merge()
		if got := s.Topics[0].Pause; (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
			t.Errorf("%+v and %+v: %+v, want %+v", tt.a, tt.b, got, tt.want)
		}
	}
}

// However topics and channels are spread, each part is where it belongs, and once.
func TestMergeOfAny(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := &fleet.Snapshot{}
		var depth int64
		parts := make(map[string]int64) // topic/channel
		for i := range r.IntN(6) {
			n := &fleet.Node{Address: fmt.Sprintf("n%d:1", i)}
			for j := range 8 {
				if r.IntN(3) == 0 {
					continue
				}
				nt := fleet.NodeTopic{Name: fmt.Sprint("t", j), Node: n.Address}
				for k := range 5 {
					if r.IntN(2) == 0 {
						d := r.Int64N(100)
						depth += d
						name := fmt.Sprint("c", k)
						parts[nt.Name+"/"+name] += d
						nt.Channels = append(nt.Channels, fleet.NodeChannel{Name: name, Node: n.Address, Figures: fleet.Figures{Depth: d}})
					}
				}
				n.Topics = append(n.Topics, nt)
			}
			s.Nodes = append(s.Nodes, n)
		}
		s.Merge()
		if s.Totals.Depth != depth {
			t.Fatalf("seed %d: the totals are %d, want %d", seed, s.Totals.Depth, depth)
		}
		if !slices.IsSortedFunc(s.Topics, func(a, b *fleet.Topic) int { return cmp.Compare(a.Name, b.Name) }) {
			t.Fatalf("seed %d: not sorted", seed)
		}
		found := 0
		for _, topic := range s.Topics {
			for i, nt := range topic.Nodes {
				if nt.Name != topic.Name || i > 0 && topic.Nodes[i-1].Node >= nt.Node || s.Topic(topic.Name) != topic {
					t.Fatalf("seed %d: %s has %+v", seed, topic.Name, topic.Nodes)
				}
			}
			for _, c := range topic.Channels {
				found++
				if got := s.Channel(topic.Name, c.Name); got != c || c.Depth != parts[topic.Name+"/"+c.Name] {
					t.Fatalf("seed %d: %s/%s has %d", seed, topic.Name, c.Name, c.Depth)
				}
			}
		}
		if found != len(parts) {
			t.Fatalf("seed %d: %d channels, want %d", seed, found, len(parts))
		}
	}
}

func TestCompareVersions(t *testing.T) {
	rising := strings.Fields("x 0.3.8 1.0.0-alpha 1.0.0-compat 1.0.0 1.2.9 1.2.10-rc.1 1.2.10 1.3 1.3.1 2 10.0.0")
	for i, a := range rising {
		for j, b := range rising {
			if got := fleet.CompareVersions(a, b); got != cmp.Compare(i, j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
	if fleet.CompareVersions("v1.3.0", "1.3.0") != 0 || fleet.CompareVersions("1.3", "1.3.0") != 0 {
		t.Error("what means the same differs")
	}
}
