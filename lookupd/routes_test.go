package lookupd

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// routes are all that there are, by what they are for. A new one goes in here, with
// a thought about who should be allowed to use it.
var routes = map[access.Action]string{
	access.Free:  "GET /ping, GET /live, GET /ready",
	access.Find:  "GET /info, GET /topics, GET /channels, GET /lookup, GET /nodes, GET /producers/available",
	access.Stats: "GET /config, GET /config/:option, GET /debug, GET /metrics",
	access.Manage: "PUT /config/:option, POST /config/reload, POST /topic/create, POST /topic/delete, POST /topic/tombstone, POST /channel/create, POST /channel/delete, " +
		"POST /create_topic, POST /delete_topic, POST /tombstone_topic_producer, POST /create_channel, POST /delete_channel, " +
		"GET /debug/pprof/*profile, POST /debug/pprof/symbol, " +
		"GET /create_topic, GET /delete_topic, GET /tombstone_topic_producer, GET /create_channel, GET /delete_channel",
}

// refuser refuses everything and notes what it was asked.
type refuser struct{ asked string }

func (r *refuser) Allow(_ context.Context, _ access.Who, action access.Action, topic, channel string) error {
	r.asked = action.String() + " " + topic + " " + channel
	return errors.New("not you")
}

// about is what the policy is told of topic=t and channel=c.
var about = map[httpapi.Scope]string{httpapi.OfDaemon: "  ", httpapi.OfTopic: " t ", httpapi.OfChannel: " t c"}

// whole are the routes that are about no topic, of those that take rights: naming a topic
// beside them must not help who has rights on that one alone.
const whole = "/info /config /config/:option /config/:option /config/reload /topics /nodes /debug /metrics /debug/pprof/*profile /debug/pprof/symbol"

func TestEveryRouteAsks(t *testing.T) {
	p := new(refuser)
	f := newFace(t)
	f.policy, f.settings = p, tellable{}
	r := f.router()
	got := make(map[access.Action][]string)
	var daemons []string
	for _, route := range r.Routes() {
		got[route.Action] = append(got[route.Action], route.Method+" "+route.Path)
		if route.Scope == httpapi.OfDaemon && route.Action != access.Free {
			daemons = append(daemons, route.Path)
		}
		p.asked = ""
		path := strings.NewReplacer(":option", "log_level", "*profile", "heap").Replace(route.Path) + "?topic=t&channel=c"
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(route.Method, path, nil))
		if route.Action == access.Free {
			if w.Code != 200 || p.asked != "" {
				t.Errorf("%s %s: %d %s, asked %q", route.Method, path, w.Code, w.Body, p.asked)
			}
		} else if w.Code != 403 || w.Body.String() != `{"message":"FORBIDDEN: not you"}` || p.asked != route.Action.String()+about[route.Scope] {
			t.Errorf("%s %s: %d %s, asked %q", route.Method, path, w.Code, w.Body, p.asked)
		}
	}
	for action, want := range routes {
		sorted := slices.Sorted(strings.SplitSeq(want, ", "))
		if slices.Sort(got[action]); !slices.Equal(got[action], sorted) {
			t.Errorf("to %s there are\n%q, want\n%q", action, got[action], sorted)
		}
		delete(got, action)
	}
	if len(got) > 0 {
		t.Errorf("further there are %v", got)
	}
	if list := strings.Join(daemons, " "); list != whole {
		t.Errorf("about the daemon are\n%s, want\n%s", list, whole)
	}
}

// face is an HTTP face whose registry a test fills by itself.
type face struct {
	*api
	t       testing.TB
	handler http.Handler
}

func newFace(t testing.TB) *face {
	a := &api{dir: newDirectory(registry.Config{Inactive: 5 * time.Minute, Tombstone: 45 * time.Second, Away: time.Hour}), log: slog.New(slog.DiscardHandler)}
	return &face{a, t, a.handler()}
}

// join adds a daemon that speaks the extension.
func (f *face) join(host string, adjust func(*protocol.PeerInfo)) (p *registry.Peer) {
	info := protocol.PeerInfo{
		BroadcastAddress: host, Hostname: host + ".example", TCPPort: 4150, HTTPPort: 4151, Version: "1.3.0",
		Extended: true, Instance: host, State: protocol.PeerReady,
	}
	if adjust != nil {
		adjust(&info)
	}
	f.dir.change(func(r *registry.Registry, now time.Time) { p = r.Join(info, "192.0.2.1:5", now) })
	return p
}

func (f *face) register(p *registry.Peer, all ...registry.Registration) {
	f.dir.change(func(r *registry.Registry, _ time.Time) {
		for _, one := range all {
			r.Register(p, one)
		}
	})
}

// ask sends a request to the face and returns the answer.
func (f *face) ask(method, path string) (int, string) {
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

func (f *face) expect(path, want string) {
	f.t.Helper()
	if status, got := f.ask("GET", path); status != 200 || got != want {
		f.t.Errorf("%s: %d\n%s, want\n%s", path, status, got, want)
	}
}
