package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/qd/drain"
)

// routes are all that there are, by what they are for. A new one goes in here, with
// a thought about who should be allowed to use it.
var routes = map[access.Action]string{
	access.Free:    "GET /ping, GET /live, GET /ready",
	access.Stats:   "GET /drain, GET /metrics, GET /lookupds, GET /config, GET /config/:option, GET /topic/policy, GET /channel/policy",
	access.Find:    "GET /info",
	access.List:    "GET /stats",
	access.Publish: "POST /pub, POST /put, POST /mpub, POST /mput",
	access.Look:    "GET /channel/messages, GET /message, POST /message/copy",
	access.Manage: "POST /drain, PUT /config/:option, POST /config/reload, POST /topic/policy, POST /channel/policy, POST /channel/seek, POST /message/move, POST /message/revive, " +
		"POST /message/delete, POST /client/disconnect, GET /debug/pprof/*profile, POST /debug/pprof/symbol, PUT /debug/setblockrate, POST /debug/freememory, " +
		"POST /topic/create, POST /topic/delete, POST /topic/empty, POST /topic/pause, POST /topic/unpause, " +
		"POST /channel/create, POST /channel/delete, POST /channel/empty, POST /channel/pause, POST /channel/unpause, " +
		"POST /create_topic, POST /delete_topic, POST /empty_topic, POST /pause_topic, POST /unpause_topic, " +
		"POST /create_channel, POST /delete_channel, POST /empty_channel, POST /pause_channel, POST /unpause_channel, " +
		"GET /create_topic, GET /delete_topic, GET /empty_topic, GET /pause_topic, GET /unpause_topic, " +
		"GET /create_channel, GET /delete_channel, GET /empty_channel, GET /pause_channel, GET /unpause_channel",
}

// refuser refuses everything and notes what it was asked.
type refuser struct{ asked string }

func (r *refuser) Allow(_ context.Context, _ access.Who, action access.Action, topic, channel string) error {
	r.asked = fmt.Sprintf("%s %s %s", action, topic, channel)
	return errors.New("not you")
}

// about is what the policy is told of topic=t and channel=c.
var about = map[httpapi.Scope]string{httpapi.OfDaemon: "  ", httpapi.OfTopic: " t ", httpapi.OfChannel: " t c"}

// whole are the routes that are about no topic, of those that take rights: naming a topic
// beside them must not help who has rights on that one alone.
const whole = "/info /stats /config /config/:option /config/:option /config/reload /lookupds /client/disconnect /drain /drain /metrics /debug/pprof/*profile /debug/pprof/symbol /debug/setblockrate /debug/freememory"

func TestEveryRouteAsks(t *testing.T) {
	p := new(refuser)
	r := newRouter(Config{Policy: p, Info: func() Info { return Info{} }, Metrics: http.NotFoundHandler(), Drain: new(drain.Drain), Log: slog.New(slog.DiscardHandler),
		Disconnect: func(uint64) bool { return false }, Reload: func() (program.Reloaded, error) { return program.Reloaded{}, nil }})
	got := make(map[access.Action][]string)
	var daemons []string
	for _, route := range r.Routes() {
		got[route.Action] = append(got[route.Action], route.Method+" "+route.Path)
		if route.Action == access.Free {
			continue
		}
		if route.Scope == httpapi.OfDaemon {
			daemons = append(daemons, route.Path)
		}
		p.asked = ""
		w := httptest.NewRecorder()
		path := strings.NewReplacer(":option", "log_level", "*profile", "heap").Replace(route.Path)
		r.ServeHTTP(w, httptest.NewRequest(route.Method, path+"?topic=t&channel=c", nil))
		if w.Code != 403 || w.Body.String() != `{"message":"FORBIDDEN: not you"}` || p.asked != route.Action.String()+about[route.Scope] {
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
