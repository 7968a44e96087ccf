package web

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
)

// The consumers with which something is wrong stand first, and it is said what.
func TestConsumersOfAChannel(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(2, 5))
	u.Source.(*fixed).clients = someClients()
	w := get(u, signin.Operator, "/topics/orders.00003/archive")
	text := document(t, w.Body.String())
	if w.Code != http.StatusOK {
		t.Fatal(w.Code)
	}
	last := -1
	for _, want := range []string{
		"10.2.0.19:40100", "the first that it holds times out in 4 s", "billing-7c9f", "TLS", "Snappy", "queue-00.internal:4151 200 37", "12.4", "12 ms", "billing-1a2b", "it has not asked for messages: its RDY is 0",
	} {
		at := strings.Index(text, want)
		if at <= last {
			t.Errorf("%q is not there, or not in its place", want)
		}
		last = max(last, at)
	}
	if page := w.Body.String(); !strings.Contains(page, `href="/do/disconnect?id=42&amp;node=queue-00.internal%3A4151"`) {
		t.Error("a consumer cannot be disconnected")
	}
}

func TestAboutToTimeOut(t *testing.T) {
	tests := []struct {
		in     time.Duration
		flight int64
		want   string
	}{
		{time.Minute, 3, ""}, {11 * time.Second, 3, ""}, {9 * time.Second, 3, "the first that it holds times out in 9 s"}, {0, 3, "what it holds times out now"},
		{-time.Minute, 3, "what it holds times out now"}, {time.Second, 0, ""},
	}
	for _, tt := range tests {
		if got := about(fleet.Client{NextTimeout: noon.Add(tt.in), InFlight: tt.flight}, noon); got != tt.want {
			t.Errorf("in %s, %d in flight: %q, want %q", tt.in, tt.flight, got, tt.want)
		}
	}
	if got := about(fleet.Client{InFlight: 1}, noon); got != "" {
		t.Errorf("not told when: %q", got)
	}
}

func TestDrained(t *testing.T) {
	tests := []struct {
		in    time.Duration
		depth int64
		want  string
	}{
		{0, 0, "–"}, {-1, 0, "–"}, {-1, 5, "not shrinking"}, {90 * time.Second, 5, "90 s"}, {math.MaxInt64, 5, "106,751 d"},
	}
	for _, tt := range tests {
		c := &fleet.Channel{DrainedIn: tt.in, Figures: fleet.Figures{Depth: tt.depth}}
		if got := string(drained(c).Value); !strings.Contains(got, ">"+tt.want+"<") {
			t.Errorf("%s, depth %d: %s, want %q", tt.in, tt.depth, got, tt.want)
		}
	}
}

// What is not known is a gap, and what is known between two gaps alone can be seen.
func TestTrace(t *testing.T) {
	nan := math.NaN()
	tests := []struct {
		values []float64
		top    float64
		want   string
	}{
		{[]float64{0, 5, 10}, 10, "M0 20L50 10L100 0"},
		{[]float64{0, 0, 0}, 0, "M0 20L50 20L100 20"},
		{[]float64{nan, 5, nan, 10, 0}, 10, "M25 10h.1M75 0L100 20"},
		{[]float64{nan, math.Inf(1)}, 10, ""},
		{[]float64{-5, 20}, 10, "M0 20L100 0"},
	}
	for _, tt := range tests {
		if got := trace(tt.values, tt.top, 0, 100, 0, 20); got != tt.want {
			t.Errorf("%v of %v: %s, want %s", tt.values, tt.top, got, tt.want)
		}
	}
	if got, want := area([]float64{1, 2, nan, 4}, 4), "M0 20L0 15.5L33.3 11V20zM100 20L100 2V20z"; got != want {
		t.Errorf("area %s, want %s", got, want)
	}
}

func TestNice(t *testing.T) {
	for in, want := range map[float64]float64{0: 1, -3: 1, 1: 1, 1.1: 2, 3: 5, 7: 10, 10: 10, 4200: 5000, 0.03: 0.05} {
		if got := nice(in); math.Abs(got-want) > want/1e9 {
			t.Errorf("nice(%v) = %v, want %v", in, got, want)
		}
	}
	if got := nice(math.MaxFloat64); math.IsInf(got, 0) {
		t.Error("nice of the largest is none")
	}
}

// What clients and people call themselves cannot turn the words around it.
func TestWordsOfOthers(t *testing.T) {
	s := fleetOf(1, 1)
	evil := "\u202egnp.exe"
	pause := &fleet.Pause{By: evil, Reason: evil}
	topic := s.Topics[0]
	topic.Paused, topic.Pause, topic.Channels[0].Paused, topic.Channels[0].Pause = true, pause, true, pause
	u := newUI(t, Settings{}, s)
	u.Source.(*fixed).clients = []fleet.Client{{ID: evil, Hostname: evil + "h", RemoteAddress: evil, UserAgent: evil, AuthIdentity: evil, Node: s.Nodes[0].Address}}
	for _, at := range []string{"/topics/orders.00000", "/topics/orders.00000/archive", "/nodes/queue-00.internal:4151", "/search?q=exe"} {
		page := mainOf(t, get(u, signin.Operator, at))
		says(t, page, "⟦U+202E⟧gnp.exe")
		if text := document(t, page); strings.Contains(text, "\u202e") {
			t.Errorf("%s: as it came:\n%s", at, text)
		}
	}
}
