package board_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/apps/stat/board"
)

var rewrite = flag.Bool("rewrite", false, "write testdata anew")

var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// golden compares text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not\n%s\nbut\n%s", name, want, got)
	}
}

// channel is what a node tells of a channel.
func channel(name string, depth, inFlight int64, messages, finished uint64, clients int) fleet.NodeChannel {
	return fleet.NodeChannel{Name: name, Figures: fleet.Figures{
		Depth: depth, OnDisk: depth / 4, InFlight: inFlight, Messages: messages, Finished: finished, Clients: clients,
	}}
}

// node answers at a time with topics.
func node(address string, at time.Time, topics ...fleet.NodeTopic) *fleet.Node {
	for i := range topics {
		topics[i].Node = address
		for j := range topics[i].Channels {
			topics[i].Channels[j].Node = address
		}
	}
	return &fleet.Node{Address: address, Millrace: true, Up: true, Seen: at, Started: start.Add(-time.Hour), Version: "1.3.0", Topics: topics}
}

func topic(name string, messages uint64, channels ...fleet.NodeChannel) fleet.NodeTopic {
	return fleet.NodeTopic{Name: name, Figures: fleet.Figures{Messages: messages}, Channels: channels}
}

// snapshot is what a sampler makes of nodes.
func snapshot(at time.Time, nodes ...*fleet.Node) *fleet.Snapshot {
	s := &fleet.Snapshot{At: at, Nodes: nodes}
	s.Merge()
	return s
}

// shop is a sample with a little of everything.
func shop() *board.Sample {
	g := board.NewGauge(board.Only{})
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	make := func(seconds int, n uint64) *fleet.Snapshot {
		return snapshot(at(seconds),
			node("qd-a:4151", at(seconds),
				topic("audit", 10),
				topic("orders", 1000+400*n, channel("archive", 1234567+200*int64(n), 0, 5000+400*n, 10+200*n, 1), channel("ship", 3, 2, 1000+400*n, 995+400*n, 4))),
			node("qd-b:4151", at(seconds), topic("orders", 500+n, channel("ship", 48000, 0, 500+n, 0, 0))),
			node("qd-c:4151", at(0)))
	}
	g.Sample(make(0, 0))
	snap := make(2, 1)
	down := snap.Nodes[2]
	down.Up, down.Error = false, "connection refused\x1b[2J"
	ship := fleet.Trouble{Severity: fleet.Warning, Kind: "no-consumer", Topic: "orders", Channel: "ship", Reason: "48,000 messages wait, and no consumer is connected"}
	snap.Channel("orders", "ship").Troubles = []fleet.Trouble{ship}
	paused := fleet.Trouble{Severity: fleet.Note, Kind: "paused", Topic: "audit", Reason: "paused by ann"}
	snap.Topic("audit").Troubles = []fleet.Trouble{paused}
	disk := fleet.Trouble{Severity: fleet.Warning, Kind: "disk", Node: "qd-a:4151", Reason: "1.0 GB of 100 GB are free (1.0 %)"}
	snap.Troubles = []fleet.Trouble{ship, disk, paused}
	snap.Lookupds = []fleet.Lookupd{{Address: "lookup:4161", Up: true}}
	return g.Sample(snap)
}

func TestText(t *testing.T) {
	s := shop()
	object, err := board.Object(s)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "object.json", string(object))
	golden(t, "line.txt", new(board.Lines).Line(s))
	golden(t, "columns.txt", new(board.Columns).Line(s))
}

// The header comes before the first of 25 lines, so that scripts know where.
func TestHeaders(t *testing.T) {
	s := shop()
	var columns board.Columns
	var lines board.Lines
	for i := range 60 {
		wantColumns, wantLines := 1, 1
		if i%25 == 0 {
			wantColumns, wantLines = 3, 2
		}
		if n := strings.Count(columns.Line(s), "\n"); n != wantColumns {
			t.Errorf("columns, line %d: %d lines, want %d", i, n, wantColumns)
		}
		if n := strings.Count(lines.Line(s), "\n"); n != wantLines {
			t.Errorf("lines, line %d: %d lines, want %d", i, n, wantLines)
		}
	}
}

func TestRates(t *testing.T) {
	const a = "a:4151"
	sec := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	one := func(at time.Time, n uint64) *fleet.Node {
		return node(a, at, topic("t", n, channel("c", 0, 0, n, n, 1)))
	}
	restarted := func(n *fleet.Node, at time.Time) *fleet.Node {
		n.Started = at
		return n
	}
	stock := func(at time.Time, messages uint64, depth int64) *fleet.Node {
		n := node(a, at, topic("t", messages, channel("c", depth, 0, messages, 0, 1)))
		n.Millrace = false
		return n
	}
	away := func(seen time.Time, n uint64) *fleet.Node {
		d := one(seen, n)
		d.Up = false
		return d
	}
	type look struct {
		at  float64
		of  *fleet.Node
		in  float64
		out float64
	}
	for name, looks := range map[string][]look{
		"over the time that has passed, not the interval": {{0, one(sec(0), 10), -1, -1}, {2, one(sec(2.5), 20), 4, 4}},
		"an answer is late": {{0, one(sec(0), 10), -1, -1}, {2, one(sec(2), 20), 5, 5}, {4, one(sec(4), 40), 10, 10}, {6, one(sec(4), 40), 10, 10}, {8, one(sec(8), 80), 10, 10}},
		"a node is away":    {{0, one(sec(0), 10), -1, -1}, {2, one(sec(2), 20), 5, 5}, {4, away(sec(2), 20), -1, -1}, {6, one(sec(6), 60), 10, 10}},
		"a restart":         {{0, one(sec(0), 10), -1, -1}, {2, one(sec(2), 20), 5, 5}, {4, restarted(one(sec(4), 3), sec(3)), 5, 5}, {6, restarted(one(sec(6), 7), sec(3)), 2, 2}},
		"nsqd, which had a backlog before it started": {{0, stock(sec(0), 0, 100), -1, -1}, {2, stock(sec(2), 10, 90), 5, 10}},
		"nsqd, which is through with its backlog":     {{0, stock(sec(0), 0, 5), -1, -1}, {2, stock(sec(2), 10, 0), 5, 7.5}},
	} {
		t.Run(name, func(t *testing.T) {
			g := board.NewGauge(board.Only{})
			for _, l := range looks {
				s := g.Sample(snapshot(sec(l.at), l.of))
				if c := s.Find("t", "c"); c == nil || c.In != l.in || c.Out != l.out || s.Total.In != l.in || s.Total.Out != l.out {
					t.Errorf("after %v s the channel is %+v and the total %+v, want %v in and %v out", l.at, c, s.Total, l.in, l.out)
				}
			}
		})
	}
}

func TestOnly(t *testing.T) {
	snap := snapshot(start,
		node("a:4151", start, topic("t", 5, channel("c", 1, 0, 5, 0, 0), channel("d", 2, 0, 5, 0, 0)), topic("u", 7, channel("c", 4, 0, 7, 0, 0))))
	snap.Troubles = []fleet.Trouble{{Kind: "a", Topic: "t", Channel: "d"}, {Kind: "b", Topic: "u"}, {Kind: "n", Node: "a:4151"}}
	for only, want := range map[board.Only]string{
		{}:                          "t t/c t/d u u/c; 7 of 12; abn",
		{Topic: "t"}:                "t t/c t/d; 3 of 5; an",
		{Channel: "c"}:              "t/c u/c; 5 of 12; n",
		{Topic: "t", Channel: "d"}:  "t/d; 2 of 5; an",
		{Topic: "no", Channel: "c"}: "; 0 of 0; n",
	} {
		s := board.NewGauge(only).Sample(snap)
		var names, kinds []string
		for i := range s.Rows {
			names = append(names, s.Rows[i].Name())
		}
		for _, t := range s.Troubles {
			kinds = append(kinds, t.Kind)
		}
		got := strings.Join(names, " ") + "; " + itoa(s.Total.Depth) + " of " + itoa(int64(s.Total.Messages)) + "; " + strings.Join(kinds, "")
		if got != want {
			t.Errorf("%+v: %s, want %s", only, got, want)
		}
	}
}

func TestSorted(t *testing.T) {
	bad := func(s fleet.Severity, kind string) []fleet.Trouble {
		return []fleet.Trouble{{Severity: s, Kind: kind}}
	}
	figures := func(depth int64, in, out float64) fleet.Figures {
		return fleet.Figures{Depth: depth, Rates: fleet.Rates{In: in, Out: out}}
	}
	s := &board.Sample{Rows: []board.Row{
		{Topic: "t", Channel: "busy", Figures: figures(0, 9000, 9000)},
		{Topic: "t", Channel: "burst", Figures: figures(9, 9000, 8000)}, // less than a second's worth is no backlog
		{Topic: "t", Channel: "unknown", Figures: figures(9, 1, -1)},
		{Topic: "t", Channel: "falling-behind", Figures: figures(30, 20, 10)},
		{Topic: "t", Channel: "growing", Figures: figures(900, 2, 1), Troubles: bad(fleet.Warning, "growing")},
		{Topic: "t", Channel: "no-consumer", Figures: figures(100, 0, 0), Troubles: bad(fleet.Warning, "no-consumer")},
		{Topic: "t", Channel: "no-consumer-and-growing", Figures: figures(50, 0, 0), Troubles: bad(fleet.Failure, "no-consumer")},
		{Topic: "t", Channel: "paused", Figures: figures(5000, 0, 0), Troubles: bad(fleet.Note, "paused")},
		{Topic: "t", Channel: "timeouts", Figures: figures(3, 0, 0), Troubles: bad(fleet.Warning, "timeouts")},
		{Topic: "t", Channel: "well", Figures: figures(20, 5, 5)},
	}}
	for _, c := range []struct {
		by     board.Order
		filter string
		want   string
	}{
		{"trouble", "", "no-consumer-and-growing no-consumer growing timeouts falling-behind paused well burst unknown busy"},
		{"depth", "", "paused growing no-consumer no-consumer-and-growing falling-behind well burst unknown timeouts busy"},
		{"in", "busy", "busy"},
		{"name", "consumer", "no-consumer no-consumer-and-growing"},
		{"out", "nothing like it", ""},
	} {
		var names []string
		for _, r := range s.Sorted(c.by, c.filter) {
			names = append(names, r.Channel)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("by %s, with %q: %s, want %s", c.by, c.filter, got, c.want)
		}
	}
}

// What is wrong with a daemon is said once, by the trouble if it is one already.
func TestComplaints(t *testing.T) {
	s := &board.Sample{
		Nodes:    []*fleet.Node{{Address: "a:4151", Error: "refused"}, {Address: "b:4151", Error: "refused"}, {Address: "c:4151", Up: true}},
		Lookupds: []fleet.Lookupd{{Address: "l:4161", Error: "no\r\n\troute\x1b[2J"}, {Address: "m:4161", Up: true}},
		Troubles: []fleet.Trouble{
			{Severity: fleet.Warning, Kind: "lookup-down", Node: "l:4161", Reason: "lookupd does not answer:\tno\nroute"},
			{Severity: fleet.Note, Kind: "versions", Reason: "two"},
			{Severity: fleet.Failure, Kind: "node-down", Node: "a:4151", Reason: "gone"},
			{Severity: fleet.Failure, Kind: "full", Topic: "t", Reason: "a topic's own"},
		},
	}
	var got []string
	for _, c := range s.Complaints() {
		got = append(got, c.Text)
	}
	want := []string{"a:4151: gone", "b:4151: does not answer: refused", "l:4161: lookupd does not answer: no route", "two"}
	if !slices.Equal(got, want) {
		t.Errorf("it complains of %q, want %q", got, want)
	}
}
