package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/api"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/admin/signin"
)

const id0 = "0000010000000001" // of the first node's first message

// endpoint is a request, who may send it, and what is answered in each case: a status,
// and behind it what the answer has to say.
type endpoint struct {
	request                  string
	least                    signin.Role
	fine, one, all, nonsense string
}

const (
	anyDown  = "502 UPSTREAM_ERROR: failed to query any nsqlookupd: lookupd-0:4161: "
	nodeDown = "200 WARNING: qd-1:4151: "
	partly   = `200 "failed":[{"node":"qd-1:4151","error":"`
	refusals = "502 UPSTREAM_ERROR: failed to "
)

// What is from the snapshot is there whatever happens to daemons; what is asked of them
// says who failed, and is an error if all have.
var endpoints = []endpoint{
	{"GET /ping", signin.Nobody, "200 OK", "200 OK", "200 OK", "200 OK"},
	{"GET /api/topics", signin.Viewer, `200 "topics":["inactive","orders"]`, "200 \"message\":\"\"", anyDown, anyDown},
	{"GET /api/topics?inactive=true", signin.Viewer, `200 "inactive":["c"]`, "200 \"message\":\"\"", anyDown, anyDown},
	{"GET /api/topics/orders", signin.Viewer, `200 "message":""`, nodeDown, anyDown, anyDown},
	{"GET /api/topics/orders/ship", signin.Viewer, `200 "message":""`, nodeDown, anyDown, anyDown},
	{"GET /api/nodes", signin.Viewer, `200 "message":""`, `200 "message":""`, anyDown, anyDown},
	{"GET /api/nodes/qd-0:4151", signin.Viewer, `200 "total_clients":1`, `200 "message":""`, anyDown, anyDown},
	{"GET /api/nodes/qd-1:4151", signin.Viewer, `200 "total_clients":1`, "502 UPSTREAM_ERROR: failed to query any nsqd: qd-1:4151: ", anyDown, anyDown},
	{"GET /api/counter", signin.Viewer, "200 orders:ship:qd-1:4151", nodeDown,
		"502 UPSTREAM_ERROR: failed to query any nsqd: lookupd-0:4161: ", "502 UPSTREAM_ERROR: failed to query any nsqd: lookupd-0:4161: "},
	{"GET /api/graphite?metric=rate&target=x", signin.Viewer, "500 INTERNAL_ERROR", "500 INTERNAL_ERROR", "500 INTERNAL_ERROR", "500 INTERNAL_ERROR"},
	{"GET /config/http_address", signin.Viewer, "200 127.0.0.1:4171", "200 ", "200 ", "200 "},
	{"PUT /config/log_level info", signin.Admin, "200 2", "200 2", "200 2", "200 2"},
	{`PUT /config/nsqlookupd_http_addresses ["lookupd-0:4161"]`, signin.Admin, `200 ["lookupd-0:4161"]`, "200 ", "200 ", "200 "},
	{`POST /api/topics {"topic":"new"}`, signin.Operator, `200 {"message":""}`, `200 {"message":""}`, refusals + "create topic: lookupd-0:4161: uncertain", "200 "},
	{`POST /api/topics {"topic":"orders","channel":"new"}`, signin.Operator, `200 {"message":""}`, nodeDown + "uncertain", refusals + "create topic", "200 "},
	{`POST /api/topics/orders {"action":"pause"}`, signin.Operator, `200 {"message":""}`, nodeDown + "uncertain", refusals + "pause topic: qd-0:4151: uncertain", refusals + "pause topic: qd-0:4151: uncertain"},
	{`POST /api/topics/orders {"action":"empty"}`, signin.Admin, `200 {"message":""}`, nodeDown + "uncertain", refusals + "empty topic", refusals + "empty topic: qd-0:4151: uncertain"},
	{`POST /api/topics/orders/ship {"action":"unpause"}`, signin.Operator, `200 {"message":""}`, nodeDown + "uncertain", refusals + "unpause channel", refusals + "unpause channel: qd-0:4151: uncertain"},
	{"DELETE /api/topics/orders", signin.Admin, `200 {"message":""}`, nodeDown + "uncertain", refusals + "delete topic", "200 "},
	{"DELETE /api/topics/orders/ship", signin.Admin, `200 {"message":""}`, nodeDown + "uncertain", refusals + "delete channel", "200 "},
	{`DELETE /api/nodes/qd-1:4151 {"topic":"orders"}`, signin.Admin, `200 {"message":""}`, nodeDown + "uncertain", refusals + "tombstone", "200 "},

	{"GET /api/overview", signin.Viewer, `200 "address":"qd-1:4151"`, `200 "address":"qd-1:4151"`, `200 "address":"qd-1:4151"`, `200 "address":"qd-1:4151"`},
	{"GET /api/history?topic=orders", signin.Viewer, `200 "times":[`, `200 "times":[`, `200 "times":[`, `200 "times":[`},
	{"GET /api/clients?topic=orders&channel=ship", signin.Viewer, "200 worker-1", partly, `200 "clients":[]`, `200 "clients":[]`},
	{"GET /api/messages?topic=orders&channel=ship", signin.Viewer, `200 "failed":[]`, partly, `200 "messages":[]`, `200 "messages":[]`},
	{"GET /api/message?id=" + id0, signin.Viewer, `200 "failed":[]`, partly, `200 "messages":[]`, `200 "messages":[]`},
	{"GET /api/search?q=ship", signin.Viewer, `200 "kind":"channel"`, `200 "kind":"channel"`, `200 "kind":"channel"`, `200 "kind":"channel"`},
	{"GET /api/search?q=" + id0, signin.Viewer, `200 "kind":"message"`, partly, `200 "hits":[]`, `200 "hits":[]`},
	{"GET /api/audit", signin.Viewer, `200 {"entries":[]}`, `200 {"entries":[]}`, `200 {"entries":[]}`, `200 {"entries":[]}`},
	{"GET /api/settings", signin.Viewer, `200 "key":"data_path"`, `200 {"address":"qd-1:4151","error":"`, `200 {"address":"qd-0:4151","error":"`, `200 {"address":"qd-0:4151","error":"`},
	{"GET /api/actions", signin.Viewer, `200 "name":"pause-topic"`, "200 ", "200 ", "200 "},
	{`POST /api/actions {"action":"pause-topic","targets":[{"topic":"orders"}]}`, signin.Operator, `200 "message":""`, nodeDown + "uncertain", refusals + "pause topic", refusals + "pause topic: qd-0:4151: uncertain"},
	{`POST /api/actions {"action":"delete-dead","targets":[{"topic":"orders","channel":"ship"}],"args":{"all":"true"}}`, signin.Admin,
		`200 "count":"1"`, nodeDown + "uncertain", refusals + "delete dead", refusals + "delete dead: qd-0:4151: uncertain"},
	{`POST /api/actions {"action":"pause-topic","targets":[{"topic":"orders"}],"wait":false}`, signin.Operator, `200 "entry":"1"`, "200 ", "200 ", "200 "},
}

// cases are what may be the matter with daemons.
var cases = []struct {
	name string
	set  func(b *bed)
	want func(e *endpoint) string
}{
	{"fine", func(*bed) {}, func(e *endpoint) string { return e.fine }},
	{"one node down", func(b *bed) { b.Nodes[1].Down() }, func(e *endpoint) string { return e.one }},
	{"all down", func(b *bed) {
		for _, n := range b.Nodes {
			n.Down()
		}
		b.Lookupds[0].Down()
	}, func(e *endpoint) string { return e.all }},
	{"nonsense", func(b *bed) {
		for _, n := range b.Nodes {
			n.Answer(http.StatusOK, `<html>{"topics":[{"topic_name":`)
		}
		b.Lookupds[0].Answer(http.StatusOK, `{"topics":7,"producers":{"a":[]}}`)
	}, func(e *endpoint) string { return e.nonsense }},
}

func TestFaults(t *testing.T) {
	for _, c := range cases {
		for _, e := range endpoints {
			t.Run(c.name+"/"+e.request, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					b := furnished(t, nil)
					c.set(b)
					b.expect(max(e.least, signin.Viewer), e.request, c.want(&e))
				})
			})
		}
	}
}

// furnished is a bed of two nodes with something to show.
func furnished(t *testing.T, change func(*api.Settings)) *bed {
	b := &bed{t: t, Fleet: clustertest.NewFleet(t, clustertest.Nodes(2), clustertest.InMemory()), remote: "127.0.0.1:50000"}
	b.cluster = b.Cluster(t)
	b.furnish()
	return b.begin(change)
}

// expect checks an answer's status, and that it has a text in it.
func (b *bed) expect(role signin.Role, request, want string) {
	b.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	path, body, _ := strings.Cut(path, " ")
	status, answer := b.ask(role, method, path, body)
	code, text, _ := strings.Cut(want, " ")
	if got := fmt.Sprint(status); got != code || !strings.Contains(strings.ReplaceAll(answer, `\"`, `"`), text) {
		b.t.Errorf("%s: %s\n%d %.600s\nwant\n%s", role, request, status, answer, want)
	}
}

// Whoever has too low a role is told so, whatever he asks for and however well he asks.
func TestRoles(t *testing.T) {
	for _, e := range endpoints {
		t.Run(e.request, func(t *testing.T) {
			for role := signin.Nobody; role <= signin.Admin; role++ {
				bubble(t, func(t *testing.T) {
					b := furnished(t, nil)
					want := e.fine
					switch {
					case role >= e.least:
					case role == signin.Nobody:
						want = `401 {"message":"UNAUTHORIZED: sign in first"}`
					default:
						want = `403 {"message":"FORBIDDEN`
					}
					b.expect(role, e.request, want)
					if role < e.least {
						if logged := b.log.List(audit.Filter{}); e.least > signin.Viewer && (len(logged) != 1 || logged[0].Refused == "") {
							t.Errorf("%s was refused, and it is logged as %+v", role, logged)
						}
						for _, n := range b.Nodes {
							if c := n.Changes(); len(c) > 0 {
								t.Errorf("%s was refused, and a node was told %v", role, c)
							}
						}
					}
				})
			}
			if e.least > signin.Viewer {
				bubble(t, func(t *testing.T) {
					b := furnished(t, func(s *api.Settings) { s.ReadOnly = true })
					b.expect(signin.Admin, e.request, `403 {"message":"READ_ONLY: `)
					b.expect(signin.Nobody, e.request, "401 UNAUTHORIZED")
				})
			}
		})
	}
}

// Bodies are seen from the role on that is set, and never below, in whatever answer.
func TestMasking(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := furnished(t, nil)
		for _, path := range []string{"/api/messages?topic=orders&channel=ship&body=1000", "/api/message?id=" + id0, "/api/search?q=" + id0} {
			_, seen := b.ask(signin.Operator, http.MethodGet, path, "")
			_, masked := b.ask(signin.Viewer, http.MethodGet, path, "")
			if strings.Contains(masked, "hello") || strings.Contains(masked, `"body`) {
				t.Errorf("%s tells a viewer %s", path, masked)
			}
			if !strings.Contains(path, "search") && (!strings.Contains(seen, `"body":"hello"`) || !strings.Contains(masked, `"masked":true`)) {
				t.Errorf("%s: %s\n%s", path, seen, masked)
			}
		}
		for _, c := range b.Nodes[0].Calls("") { // the last ones are the viewer's
			if body := c.Query.Get("body"); c.Path == "/message" && body != "0" && body != "1048576" {
				t.Errorf("a body of %s bytes was asked for", body)
			}
		}
	})
}

// /config is for those who come from the network that may ask.
func TestConfigNetwork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := furnished(t, nil)
		for remote, want := range map[string]string{
			"127.0.0.1:1": "200 127.0.0.1:4171", "127.9.9.9:1": "200 ", "[::ffff:127.0.0.1]:1": "200 ", "192.0.2.1:1": `403 {"message":"FORBIDDEN"}`,
			"[::1]:1": "403 FORBIDDEN", "@": "400 INVALID_REMOTE_ADDR", "host:1": "400 INVALID_REMOTE_ADDR", "": "400 INVALID_REMOTE_ADDR",
		} {
			b.remote = remote
			b.expect(signin.Admin, "GET /config/http_address", want)
		}
		b.remote = "192.0.2.1:1"
		b.expect(signin.Admin, "PUT /config/log_level debug", "403 FORBIDDEN")
		b.remote = "127.0.0.1:1"
		b.expect(signin.Admin, "PUT /config/log_level "+strings.Repeat("x", 1<<20+1), `413 {"message":"INVALID_VALUE"}`)
	})
	bubble(t, func(t *testing.T) {
		b := furnished(t, func(s *api.Settings) { s.ConfigFrom = "" })
		b.remote = "192.0.2.1:1"
		b.expect(signin.Admin, "GET /config/http_address", "200 ")
	})
	bubble(t, func(t *testing.T) {
		b := furnished(t, func(s *api.Settings) { s.ConfigFrom = "192.0.2.1" })
		for remote, want := range map[string]string{"192.0.2.1:1": "200 ", "[::ffff:192.0.2.1]:1": "200 ", "192.0.2.2:1": "403 FORBIDDEN"} {
			b.remote = remote
			b.expect(signin.Admin, "GET /config/http_address", want)
		}
	})
}

// A chart that has what there is is told so, and one that has the most of it gets the rest.
func TestHistory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := furnished(t, nil)
		path := "/api/history?topic=orders&channel=ship&from=-1m&points=1000"
		for range 5 {
			<-b.source.Changed()
		}
		first := b.answer(signin.Viewer, http.MethodGet, path, "")
		tag := first.Header().Get("ETag")
		if again := b.answer(signin.Viewer, http.MethodGet, path, "", "If-None-Match", `"x", `+tag); again.Code != 304 || again.Body.Len() != 0 {
			t.Errorf("nothing has come, and the answer is %d %s", again.Code, again.Body)
		}
		<-b.source.Changed()
		if again := b.answer(signin.Viewer, http.MethodGet, path, "", "If-None-Match", tag); again.Code != 200 || again.Header().Get("ETag") == tag {
			t.Errorf("something has come, and the answer is %d with %s", again.Code, again.Header())
		}
		all := times(t, first.Body.String())
		rest := times(t, b.answer(signin.Viewer, http.MethodGet, path+fmt.Sprintf("&since=%d", all[len(all)-3]), "").Body.String())
		if len(rest) < 2 || rest[0] != all[len(all)-2] {
			t.Errorf("of %v, since the last but two: %v", all, rest)
		}
		if c := first.Header().Get("Cache-Control"); c != "private, no-cache" {
			t.Errorf("it may be kept: %s", c)
		}
		if c := b.answer(signin.Viewer, http.MethodGet, "/api/overview", "").Header().Get("Cache-Control"); c != "no-store" {
			t.Errorf("all else may be kept: %s", c)
		}
	})
}

// A script sees what was changed a moment ago, by it or at a daemon, whenever the
// sampler comes by next.
func TestFresh(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := furnished(t, nil)
		b.Nodes[0].Change(func(d *clustertest.Daemon) { d.Topic("young").Publish(3, 1) })
		b.expect(signin.Viewer, "GET /api/topics", `200 "young"`)
		b.expect(signin.Viewer, "GET /api/topics/young", `200 "message_count":3`)
		b.expect(signin.Admin, `POST /api/topics/young {"action":"pause"}`, `200 {"message":""}`)
		b.expect(signin.Viewer, "GET /api/topics/young", `200 "paused":true`)
		b.expect(signin.Admin, "DELETE /api/topics/young", `200 {"message":""}`)
		b.expect(signin.Viewer, "GET /api/topics/young", "502 TOPIC_NOT_FOUND")
	})
}

// What is asked for has to be what it says, and not without end.
func TestTargets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := furnished(t, nil)
		var many strings.Builder
		for i := range 30_000 {
			fmt.Fprintf(&many, `,{"topic":"t%d"}`, i)
		}
		for targets, want := range map[string]string{
			"[" + many.String()[1:] + "]": "400 INVALID_TARGET: 20,001 are named; at most 20,000 can be",
			`{"topic":"orders"}`:          "400 INVALID_BODY: targets must be a list",
			`null`:                        "400 INVALID_BODY: targets must be a list",
			`[{"topc":"orders"}]`:         `400 INVALID_BODY: json: unknown field "topc"`,
			`["orders"]`:                  "400 INVALID_BODY: json: cannot unmarshal string",
			`[]`:                          "400 INVALID_TARGET: nothing is named",
			`[{"topic":"orders"},{"topic":"orders"}]`:   `200 "message":""`,
			`[{"topic":"orders","channel":"ship"}]`:     "400 INVALID_TARGET: pause-topic is not about a channel",
			`[{"topic":"orders","node":"evil:80"}]`:     "404 NODE_NOT_FOUND",
			`[{"topic":"orders","node":"qd-0:4151/x"}]`: "404 NODE_NOT_FOUND",
		} {
			b.expect(signin.Admin, `POST /api/actions {"action":"pause-topic","targets":`+targets+`}`, want)
		}
	})
}

// What went wrong with a topic is told though its channel went well.
func TestWarningOfTheFirstHalf(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, nil, clustertest.Lookupds(2))
		b.Lookupds[1].FailPath("/topic/create", http.StatusInternalServerError, "INTERNAL_ERROR")
		b.expect(signin.Operator, `POST /api/topics {"topic":"new","channel":"c"}`, "200 WARNING: lookupd-1:4161: INTERNAL_ERROR")
	})
}

// Figures of a daemon that is down are old: they are left out, as nsqadmin has none.
func TestCounterOfWhoIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := furnished(t, nil)
		b.Nodes[1].Down()
		if _, answer := b.ask(signin.Viewer, http.MethodGet, "/api/counter", ""); !strings.Contains(answer, `"orders:ship:qd-0:4151"`) || strings.Contains(answer, `"orders:ship:qd-1:4151"`) {
			t.Error(answer)
		}
	})
}
