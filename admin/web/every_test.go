package web

import (
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/signin"
)

// oddNames are names that lookupds and daemons may tell, be they valid or not.
var oddNames = []string{
	`<script>alert(1)</script>`, `"onmouseover="alert(1)`, `javascript:alert(1)`, `</main><h1>x`, `'+alert(1)+'`, "a\r\ndata: x", "..", ".", "~", "a/b?c#d&e",
	strings.Repeat("n", 64), "{{.}}", "\x00\xff\xfe", "\u202eevil", "orders#ephemeral", "%2e%2e", `\..\`,
}

// odd is a Snapshot in which every name is odd and every number one that nobody expects.
func odd() *fleet.Snapshot {
	f := fleet.Figures{
		Depth: math.MaxInt64, OnDisk: -1, InFlight: math.MinInt64, Deferred: -5, Dead: math.MaxInt64, Messages: math.MaxUint64, Requeued: math.MaxUint64, Clients: -3,
		Rates: fleet.Rates{In: math.NaN(), Out: math.Inf(1), Requeue: -1, Timeout: math.MaxFloat64},
	}
	s := &fleet.Snapshot{At: noon, Totals: f}
	for _, name := range slices.Sorted(slices.Values(oddNames)) {
		pause := &fleet.Pause{Reason: name, By: name, Since: noon.Add(time.Hour), Until: noon.Add(-time.Hour)}
		trouble := []fleet.Trouble{{Severity: 77, Kind: name, Topic: name, Channel: name, Node: name, Reason: name, Since: noon.Add(time.Hour)}, {Severity: fleet.Failure, Reason: name}}
		n := &fleet.Node{
			Address: name, BroadcastAddress: name, Hostname: name, Version: name, Error: name, Health: name, State: name, DiskFree: math.MaxUint64, DiskSize: 1,
			MemoryUsed: math.MaxUint64, MemoryLimit: 1, Tombstoned: oddNames, Total: f, Drain: &fleet.Drain{Messages: -1}, Lookups: oddNames,
		}
		policy := fleet.Policy{RetentionAge: math.MaxInt64, RetentionBytes: math.MaxInt64, MaxMessages: math.MaxInt64, MaxBytes: math.MaxInt64, Overflow: name}
		latency := []fleet.Percentile{{Quantile: math.NaN(), Value: -1}, {Quantile: 99, Value: math.MaxInt64}}
		nt := fleet.NodeTopic{Name: name, Node: name, Figures: f, Bytes: math.MaxUint64, Paused: true, Pause: pause, Durability: name, LogBytes: -1, Policy: policy, Latency: latency}
		nc := fleet.NodeChannel{Name: name, Node: name, Figures: f, Paused: true, Pause: pause, MaxAttempts: -1}
		c := &fleet.Channel{Topic: name, Name: name, Figures: f, Paused: true, Pause: pause, Latency: latency, Nodes: []fleet.NodeChannel{nc}, Troubles: trouble, DrainedIn: math.MaxInt64}
		t := &fleet.Topic{Name: name, Figures: f, Total: f, Paused: true, Pause: pause, Latency: latency, Nodes: []fleet.NodeTopic{nt, nt}, Channels: []*fleet.Channel{c}, Troubles: trouble}
		s.Nodes, s.Topics, s.Troubles = append(s.Nodes, n), append(s.Topics, t), append(s.Troubles, trouble...)
		s.Lookupds = append(s.Lookupds, fleet.Lookupd{Address: name, Error: name, Version: name})
	}
	return s
}

// oddHistory has what no history should have.
type oddHistory struct{}

func (oddHistory) Series(_ history.Key, from, _ time.Time, _ int) history.Series {
	s := history.Series{Step: time.Second, Marks: []history.Mark{{At: from, Node: oddNames[0], What: oddNames[1]}, {}}}
	for i, f := range []float64{math.NaN(), 1, math.Inf(1), -1, math.MaxFloat64, 0, math.SmallestNonzeroFloat64} {
		s.Times = append(s.Times, from.Add(time.Duration(i)*time.Second))
		for m := range history.Metrics {
			s.Values[m] = append(s.Values[m], f)
		}
	}
	return s
}

func (h oddHistory) Recent(k history.Key, m history.Metric, _ int) []float64 {
	return h.Series(k, noon, noon, 0).Values[m]
}

// everyPage is an address of each page, for a name.
func everyPage(u *UI, name string) []string {
	pages := []string{
		"/", "/?range=7d&troubles=all", "/topics", "/topics?q=" + url.QueryEscape(name) + "&show=trouble&sort=-depth&page=2", u.url("/topics", name), u.url("/topics", name, "?node", name),
		u.url("/topics", name, name), u.url("/topics", name, name, "messages"), u.url("/topics", name, "messages", "0000000000000001"),
		"/nodes", u.url("/nodes", name), "/lookup", "/search?q=" + url.QueryEscape(name), "/audit", "/audit/1", "/settings", "/counter", "/sign-in", "/nothing/here",
	}
	for i, a := range actions.Table() {
		if i > 0 && name != oddNames[0] { // the forms are made alike
			break
		}
		q := url.Values{"topic": {name}, "channel": {name, "b"}, "node": {name}, "id": {name}, "reason": {name}, "body": {name}}
		pages = append(pages, withQuery("/do/"+a.Name, q), "/do/"+a.Name)
	}
	return pages
}

func TestEveryPageIsSoundWhateverItShows(t *testing.T) {
	snapshots := map[string]*fleet.Snapshot{"hostile": odd(), "before the first sample": {}, "nothing there": {At: noon}, "usual": fleetOf(3, 20)}
	for name, s := range snapshots {
		t.Run(name, func(t *testing.T) {
			u := oddUI(t, s)
			names := oddNames
			if name != "hostile" {
				names = []string{"orders.00003", oddNames[0]}
			}
			for _, n := range names {
				for _, at := range everyPage(u, n) {
					w := get(u, signin.Admin, at)
					if w.Code >= http.StatusInternalServerError && w.Code != http.StatusServiceUnavailable {
						t.Errorf("GET %s: %d", at, w.Code)
					}
					if w.Code == http.StatusNotFound && name == "hostile" && strings.HasPrefix(at, "/topics") && !strings.Contains(at, "/messages/") {
						t.Errorf("GET %s: not found", at)
					}
					document(t, w.Body.String())
					for _, wrong := range []string{"Inf", "NaN", "%!"} {
						if strings.Contains(w.Body.String(), wrong) {
							t.Errorf("the page has %s in it", wrong)
						}
					}
					if t.Failed() {
						t.Fatalf("… at %s", at)
					}
				}
			}
		})
	}
}

// oddUI has everything, and a history, clients and an audit log that are as odd as the
// snapshot.
func oddUI(t testing.TB, s *fleet.Snapshot) *UI {
	var clients []fleet.Client
	for _, name := range oddNames {
		clients = append(clients, fleet.Client{
			Node: name, ID: name, Connection: name, Hostname: name, RemoteAddress: name, UserAgent: name, Ready: -1, InFlight: math.MaxInt64, Messages: math.MaxUint64,
			SampleRate: -7, AuthIdentity: name, NextTimeout: noon, Holds: -1, Idle: name, Published: []fleet.Published{{Topic: name, Count: math.MaxUint64}},
		})
	}
	u := lookingUI(t, s, new(looked), clients...)
	u.History, u.Actions = oddHistory{}, new(doer)
	u.ClusterName, u.Environment, u.Version = oddNames[0], oddNames[1], oddNames[3]
	log, err := audit.New(audit.Settings{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range oddNames {
		n := log.Begin(audit.Entry{Who: name, Action: name, Topic: name, Channel: name, Node: name, Detail: name, UserAgent: name, Refused: name, URL: name})
		log.Result(n, audit.Result{Node: name, Error: name, Note: name, Count: -1})
	}
	u.Audit = log
	return u
}

// A name is found again at the address that is made of it, whatever it is, and no
// browser or proxy takes a part of it for a step up.
func TestAddressOfAName(t *testing.T) {
	u := oddUI(t, odd())
	u.Base = "/mq"
	for _, name := range oddNames {
		at := u.url("/topics", name, name)
		parsed, err := url.Parse(at)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		_, params := u.match(strings.TrimPrefix(parsed.EscapedPath(), "/mq"))
		if params["topic"] != name || params["channel"] != name {
			t.Errorf("%q → %s → %q", name, at, params)
		}
		base, _ := url.Parse("http://host/mq/x")
		if got := base.ResolveReference(parsed).EscapedPath(); got != parsed.EscapedPath() {
			t.Errorf("%q: a browser goes to %s in place of %s", name, got, parsed.EscapedPath())
		}
	}
}

func TestAddresses(t *testing.T) {
	u := newUI(t, Settings{Base: "/mq/"}, &fleet.Snapshot{})
	tests := []struct{ got, want string }{
		{u.url("/"), "/mq/"},
		{u.url("/topics"), "/mq/topics"},
		{u.url("/topics", "a b", "c/d"), "/mq/topics/a%20b/c%2Fd"},
		{u.url("/nodes", "host:4151"), "/mq/nodes/host:4151"},
		{u.url("/do", "seek", "?topic", "t", "channel", "", "to", "a&b"), "/mq/do/seek?to=a%26b&topic=t"},
		{u.url("/topics", "t", "?node", ""), "/mq/topics/t"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
}

// What is changed on a page keeps the rest of its address, but begins at the first page.
func TestSelf(t *testing.T) {
	v := &view{Path: "/topics", Query: url.Values{"q": {"a&b"}, "sort": {"depth"}, "page": {"7"}, "before": {"40"}, "after": {"x"}}}
	if got, want := v.Self("show", "dead"), "/topics?q=a%26b&show=dead&sort=depth"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := v.Self("q", ""), "/topics?sort=depth"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := v.Page(3), "/topics?q=a%26b&sort=depth&page=3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestUncleanPathsAreNoPages(t *testing.T) {
	u := newUI(t, Settings{Base: "/mq"}, fleetOf(1, 1))
	for _, at := range []string{"//evil.example/x", "/topics/../audit", "/./", "/topics//orders.00000", "/%2e%2e/topics"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL = &url.URL{Path: at}
		w := httptest.NewRecorder()
		u.ServeHTTP(w, r.WithContext(signin.NewContext(r.Context(), signin.Who{Role: signin.Admin})))
		if w.Code != http.StatusNotFound || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d, Location %q; want 404", at, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestOnlyReadsAreServedAtPages(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(1, 1))
	r := httptest.NewRequest("POST", "/topics", nil)
	w := httptest.NewRecorder()
	u.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("%d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

// Nobody sees anything before signing in, not even that a page or topic exists.
func TestNobodyIsSentToSignIn(t *testing.T) {
	u := newUI(t, Settings{Base: "/mq", SignIn: true}, fleetOf(1, 1))
	w := get(u, signin.Nobody, "/topics/orders.00000?range=7d")
	if want := "/mq/sign-in?back=%2Ftopics%2Forders.00000%3Frange%3D7d"; w.Code != http.StatusSeeOther || w.Header().Get("Location") != want {
		t.Errorf("%d, Location %q, want %q", w.Code, w.Header().Get("Location"), want)
	}
	if strings.Contains(w.Body.String(), "orders.00000</") {
		t.Error("the answer has the page in it")
	}
	if w := get(u, signin.Nobody, "/find?q=orders"); w.Code != http.StatusUnauthorized {
		t.Errorf("/find: %d, want 401", w.Code)
	}
}

func TestFrame(t *testing.T) {
	s := fleetOf(2, 101)
	u := newUI(t, Settings{Base: "/mq", ClusterName: "Frankfurt", Environment: "production"}, s)
	r := httptest.NewRequest("GET", "/topics", nil)
	r.AddCookie(&http.Cookie{Name: themeCookie, Value: "dark"})
	w := httptest.NewRecorder()
	u.ServeHTTP(w, r.WithContext(signin.NewContext(r.Context(), signin.Who{Name: "ada", Role: signin.Viewer})))
	page := w.Body.String()
	for _, want := range []string{
		`<html lang="en" data-theme="dark">`, `content="dark"`, `<title>(2) Topics · Frankfurt</title>`, `class="env production"`,
		`<a href="/mq/topics" aria-current="page"`, `href="#page"`, `data-base="/mq"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if h := w.Header(); h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("headers: %v", h)
	}
	if strings.Contains(page, "/do/") {
		t.Error("a viewer is offered an action")
	}
}

// What is not known yet is not shown as if it were zero, and a topic that is gone says so.
func TestGoneAndNotYet(t *testing.T) {
	tests := []struct {
		s    *fleet.Snapshot
		at   string
		code int
		say  string
	}{
		{&fleet.Snapshot{}, "/topics/orders", http.StatusServiceUnavailable, "No daemon has been asked yet"},
		{&fleet.Snapshot{}, "/", http.StatusOK, "No daemon has been asked yet"},
		{fleetOf(1, 1), "/topics/gone", http.StatusNotFound, `No node has a topic "gone"`},
		{fleetOf(1, 1), "/topics/orders.00000/gone", http.StatusNotFound, `has no channel "gone"`},
		{fleetOf(1, 1), "/do/fly", http.StatusNotFound, `There is no action "fly"`},
		{fleetOf(0, 0), "/", http.StatusOK, "Nothing is wrong"},
		{fleetOf(1, 0), "/topics", http.StatusOK, "There is no topic yet"},
		{fleetOf(1, 1), "/topics?q=zzz", http.StatusOK, "No topic fits"},
	}
	for _, tt := range tests {
		w := get(newUI(t, Settings{}, tt.s), signin.Admin, tt.at)
		if text := document(t, w.Body.String()); w.Code != tt.code || !strings.Contains(text, tt.say) {
			t.Errorf("%s: %d, want %d and %q in %.200q", tt.at, w.Code, tt.code, tt.say, text)
		}
	}
}
