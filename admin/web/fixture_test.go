package web

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/signin"
)

// noon is when every fixture was sampled.
var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// fixed is a Source that holds what it is given.
type fixed struct {
	mu      sync.Mutex
	s       *fleet.Snapshot
	changed chan struct{}
	clients []fleet.Client
}

func hold(s *fleet.Snapshot) *fixed { return &fixed{s: s, changed: make(chan struct{})} }

func (f *fixed) Latest() *fleet.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.s
}

func (f *fixed) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fixed) set(s *fleet.Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.s = s
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fixed) Clients(context.Context, string, string, string) ([]fleet.Client, []audit.Result) {
	return f.clients, nil
}

// newUI makes pages over a snapshot, at noon and with no base path unless s says so.
func newUI(t testing.TB, s Settings, snapshot *fleet.Snapshot) *UI {
	u := New(s, Parts{Source: hold(snapshot), History: waves{noon.Add(-50 * time.Minute)}, Actions: new(doer)}, slog.New(slog.DiscardHandler))
	u.now = func() time.Time { return noon.Add(time.Second) }
	return u
}

// fleetOf makes a fleet of nodes that each hold all topics, which have two channels.
func fleetOf(nodes, topics int) *fleet.Snapshot {
	s := &fleet.Snapshot{At: noon, Took: 40 * time.Millisecond, Period: 2 * time.Second}
	for i := range nodes {
		s.Nodes = append(s.Nodes, aNode(i))
	}
	for i := range topics {
		t := aTopic(i, s.Nodes)
		s.Topics = append(s.Topics, t)
		s.Totals = sum(s.Totals, t.Total)
		s.Troubles = append(s.Troubles, t.Troubles...)
	}
	s.Lookupds = []fleet.Lookupd{{Address: "lookup-1:4161", Up: true, Version: "1.3.0", Nodes: nodes}}
	return s
}

func aNode(i int) *fleet.Node {
	return &fleet.Node{
		Address: fmt.Sprintf("queue-%02d.internal:4151", i), BroadcastAddress: fmt.Sprintf("queue-%02d.internal", i),
		Hostname: fmt.Sprintf("queue-%02d", i), TCPPort: 4150, HTTPPort: 4151, Version: "1.3.0", Millrace: true,
		Up: true, Seen: noon, Started: noon.Add(-72 * time.Hour), Health: "OK", State: "ready",
		DiskFree: uint64(20+i) << 30, DiskSize: 100 << 30, MemoryUsed: 100 << 20, MemoryLimit: 1 << 30,
	}
}

func figures(i int) fleet.Figures {
	return fleet.Figures{
		Depth: int64(i*37%5000) + 12, InFlight: int64(i % 40), Deferred: int64(i % 7), Messages: uint64(i)*1_000_003 + 17, Clients: i%5 + 1,
		Rates: fleet.Rates{In: float64(i%300) + 0.5, Out: float64(i % 290), Requeue: float64(i%3) / 10},
	}
}

func sum(a, b fleet.Figures) fleet.Figures {
	a.Depth += b.Depth
	a.InFlight += b.InFlight
	a.Deferred += b.Deferred
	a.Dead += b.Dead
	a.Messages += b.Messages
	a.Clients += b.Clients
	a.In, a.Out, a.Requeue, a.Timeout = a.In+b.In, a.Out+b.Out, a.Requeue+b.Requeue, a.Timeout+b.Timeout
	return a
}

func aTopic(i int, nodes []*fleet.Node) *fleet.Topic {
	t := &fleet.Topic{Name: fmt.Sprintf("orders.%05d", i), Figures: figures(i)}
	for _, name := range []string{"archive", "billing"} {
		c := &fleet.Channel{Topic: t.Name, Name: name, Figures: figures(i), DrainedIn: time.Duration(i) * time.Second}
		for _, n := range nodes {
			c.Nodes = append(c.Nodes, fleet.NodeChannel{Name: name, Node: n.Address, Figures: figures(i), MaxAttempts: 5})
		}
		t.Channels = append(t.Channels, c)
		t.Total = sum(t.Total, c.Figures)
	}
	t.Total.In = t.In
	for _, n := range nodes {
		t.Nodes = append(t.Nodes, fleet.NodeTopic{Name: t.Name, Node: n.Address, Figures: figures(i), Durability: "disk"})
	}
	trouble(t, i)
	return t
}

// trouble gives some of the topics something that is wrong.
func trouble(t *fleet.Topic, i int) {
	c := t.Channels[0]
	switch i % 97 {
	case 3:
		c.Clients = 0
		c.Troubles = []fleet.Trouble{{
			Severity: fleet.Failure, Kind: "no-consumer", Topic: t.Name, Channel: c.Name,
			Reason: "depth grew from 1,200 to 48,000 in 10 min, and no consumer is connected", Since: noon.Add(-11 * time.Minute),
		}}
	case 7:
		c.Troubles = []fleet.Trouble{{
			Severity: fleet.Warning, Kind: "timeouts", Topic: t.Name, Channel: c.Name,
			Reason: "12.4 messages time out per second, 8 % of what is delivered", Since: noon.Add(-3 * time.Minute),
		}}
	case 11:
		c.Paused, c.Pause = true, &fleet.Pause{Reason: "deploy of billing 2.4", By: "ada", Since: noon.Add(-time.Hour), Until: noon.Add(time.Hour)}
		c.Troubles = []fleet.Trouble{{
			Severity: fleet.Note, Kind: "paused", Topic: t.Name, Channel: c.Name,
			Reason: "paused by ada: deploy of billing 2.4; resumes in 1 h", Since: noon.Add(-time.Hour),
		}}
	}
	t.Troubles = append(t.Troubles, c.Troubles...)
}

// waves is a History in which everything comes and goes; before began, and in a gap
// of ten minutes, nothing is known.
type waves struct{ began time.Time }

func (w waves) value(k key, m history.Metric, at time.Time) float64 {
	if at.Before(w.began) || at.Sub(w.began) > 25*time.Minute && at.Sub(w.began) < 28*time.Minute {
		return math.NaN()
	}
	phase := float64(len(k.Topic)+len(k.Channel)) + float64(m)
	for _, c := range k.Topic {
		phase += float64(c)
	}
	x := float64(at.Unix())/400 + phase
	return max(0, 100*(1.2+math.Sin(x)+0.3*math.Sin(7*x))*float64(m+1))
}

func (w waves) Series(k history.Key, from, to time.Time, points int) history.Series {
	s := history.Series{Step: to.Sub(from) / time.Duration(points)}
	from = from.Truncate(s.Step)
	for i := range points {
		at := from.Add(time.Duration(i) * s.Step)
		s.Times = append(s.Times, at)
		for m := range history.Metrics {
			s.Values[m] = append(s.Values[m], w.value(k, m, at))
		}
	}
	s.Marks = []history.Mark{{At: to.Add(-to.Sub(from) / 3), Node: "queue-00.internal:4151", What: "restarted"}}
	return s
}

func (w waves) Recent(k history.Key, m history.Metric, n int) []float64 {
	return w.Series(k, w.began.Add(-10*time.Minute), w.began.Add(50*time.Minute), n).Values[m]
}

// doer is Actions that allows by role, and remembers what was begun.
type doer struct {
	begun   []actions.Request
	refusal error
}

func (d *doer) May(who signin.Who, action string) error {
	a, ok := actions.Find(action)
	if !ok || who.Role < a.Role {
		return &actions.Refused{Status: http.StatusForbidden, Code: "FORBIDDEN", Sentence: action + " needs the role " + a.Role.String()}
	}
	return nil
}

func (d *doer) Begin(_ context.Context, who signin.Who, _ string, r actions.Request) (uint64, error) {
	if err := d.May(who, r.Action); err != nil {
		return 0, err
	}
	if d.refusal != nil {
		return 0, d.refusal
	}
	d.begun = append(d.begun, r)
	return uint64(len(d.begun)), nil
}

// someClients are consumers of all kinds: busy, idle with a reason, and about to time out.
func someClients() []fleet.Client {
	return []fleet.Client{
		{
			Node: "queue-00.internal:4151", ID: "billing-7c9f", Connection: "42", Hostname: "billing-7c9f.pods", RemoteAddress: "10.2.0.17:51544",
			UserAgent: "go-nsq/1.1.0", Connected: noon.Add(-3 * time.Hour), State: 3, Ready: 200, InFlight: 37, Messages: 12_400_123, Finished: 12_399_000,
			Requeued: 12, TimedOut: 3, TLS: true, TLSVersion: "TLS 1.3", Snappy: true, LastActive: noon, NextTimeout: noon.Add(43 * time.Second), Holds: 12 * time.Millisecond,
		},
		{
			Node: "queue-01.internal:4151", ID: "billing-1a2b", Connection: "7", Hostname: "billing-1a2b.pods", RemoteAddress: "10.2.0.18:40022",
			UserAgent: "pynsq/0.9.1", Connected: noon.Add(-26 * time.Hour), State: 3, Ready: 0, Messages: 99, Finished: 99, SampleRate: 25,
			LastActive: noon.Add(-4 * time.Minute), Idle: "it has not asked for messages: its RDY is 0",
		},
		{
			Node: "queue-01.internal:4151", Connection: "9", RemoteAddress: "10.2.0.19:40100", Connected: noon.Add(-2 * time.Minute), State: 3,
			Ready: 1, InFlight: 1, LastActive: noon.Add(-52 * time.Second), NextTimeout: noon.Add(5 * time.Second), Holds: 55 * time.Second,
			Published: []fleet.Published{{Topic: "orders.00003", Count: 120}},
		},
	}
}
