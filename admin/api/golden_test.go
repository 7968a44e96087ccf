package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/api"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/signin"
)

// What nsqadmin answers, whole: its fields, its numbers, its order.
func TestNSQAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, nil, clustertest.Nodes(2), clustertest.Lookupds(2), clustertest.Stock(1))
		b.furnish()
		var all strings.Builder
		for _, request := range []string{
			"GET /ping", "GET /api/topics", "GET /api/topics?inactive=true", "GET /api/topics/orders", "GET /api/topics/none",
			"GET /api/topics/orders/ship", "GET /api/topics/orders/none", "GET /api/nodes", "GET /api/nodes/qd-1:4151", "GET /api/nodes/qd-9:4151",
			"GET /api/counter", "GET /api/graphite", "GET /api/graphite?metric=rate", "GET /api/graphite?metric=rate&target=x",
			`POST /api/topics {"topic":"new"}`, `POST /api/topics {"topic":"new","channel":"c"}`, `POST /api/topics {"topic":"a b"}`,
			`POST /api/topics {"topic":"new","channel":"$"}`, "POST /api/topics nonsense",
			`POST /api/topics/orders {"action":"pause"}`, `POST /api/topics/orders {"action":"unpause"}`, `POST /api/topics/orders {"action":"launch"}`,
			`POST /api/topics/none {"action":"pause"}`, `POST /api/topics/orders/ship {"action":"pause"}`, `POST /api/topics/orders/ship {"action":"unpause"}`,
			`POST /api/topics/orders/ship {"action":"empty"}`, `POST /api/topics/orders {"action":"empty"}`,
			`DELETE /api/nodes/qd-0:4151 {"topic":"orders"}`, `DELETE /api/nodes/qd-0:4151 {"topic":"$"}`, "DELETE /api/nodes/qd-0:4151 nonsense",
			"DELETE /api/topics/orders/ship", "DELETE /api/topics/orders", "DELETE /api/topics/none",
			"GET /config/nsqlookupd_http_addresses", "GET /config/log_level", "PUT /config/log_level debug", "PUT /config/log_level loud", "PUT /config/http_address x",
			"GET /config/http_address", "GET /config/none", "PUT /config/log_level", `PUT /config/nsqlookupd_http_addresses ["lookupd-1:4161"]`,
			"PUT /config/nsqlookupd_http_addresses []", `PUT /config/nsqlookupd_http_addresses ["a/b"]`, "GET /api/none", "PATCH /api/topics",
		} {
			all.WriteString(b.shown(signin.Admin, request) + "\n")
		}
		golden(t, "nsqadmin.txt", all.String())
	})
}

// What is ours, whole.
func TestOurAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		// What is there from the begin is in the first snapshot.
		b := &bed{t: t, Fleet: clustertest.NewFleet(t, clustertest.Nodes(2), clustertest.InMemory(), clustertest.Stock(1)), remote: "127.0.0.1:50000"}
		b.cluster = b.Cluster(t)
		b.furnish()
		b.begin(nil)
		var all strings.Builder
		for _, c := range []struct {
			role    signin.Role
			request string
		}{
			{signin.Viewer, "GET /api/overview"},
			{signin.Viewer, "GET /api/history?from=tomorrow"},
			{signin.Viewer, "GET /api/history?channel=ship"},
			{signin.Viewer, "GET /api/history?points=0"},
			{signin.Viewer, "GET /api/clients?topic=orders&channel=ship"},
			{signin.Viewer, "GET /api/clients"},
			{signin.Operator, "GET /api/messages?topic=orders&channel=ship"},
			{signin.Operator, "GET /api/messages?topic=orders&channel=ship&state=dead"},
			{signin.Viewer, "GET /api/messages?topic=orders&channel=ship&state=dead"},
			{signin.Operator, "GET /api/messages?topic=orders&channel=ship&state=lost"},
			{signin.Operator, "GET /api/messages?topic=orders&channel=ship&limit=501"},
			{signin.Operator, "GET /api/messages?topic=none&channel=ship"},
			{signin.Operator, "GET /api/message?id=0000010000000001"},
			{signin.Viewer, "GET /api/message?id=0000010000000001"},
			{signin.Viewer, "GET /api/message?id=0000010000000009&node=qd-0:4151"},
			{signin.Viewer, "GET /api/message?id=1"},
			{signin.Viewer, "GET /api/search?q=ord"},
			{signin.Viewer, "GET /api/search?q=orders/S"},
			{signin.Viewer, "GET /api/search?q=0000010000000001"},
			{signin.Viewer, "GET /api/search?q=nothing"},
			{signin.Viewer, "GET /api/search"},
			{signin.Viewer, "GET /api/settings"},
			{signin.Operator, `POST /api/actions {"action":"pause-topic","targets":[{"topic":"orders"}],"args":{"reason":"a test"}}`},
			{signin.Operator, `POST /api/actions {"action":"revive","targets":[{"topic":"orders","channel":"ship"}],"args":{"all":true}}`},
			{signin.Operator, `POST /api/actions {"action":"pause-topic","targets":[{"topic":"none"}]}`},
			{signin.Operator, `POST /api/actions {"action":"pause-topic","targets":[{"topic":"a b"}]}`},
			{signin.Operator, `POST /api/actions {"action":"pause-topic","target":[{"topic":"orders"}]}`},
			{signin.Operator, `POST /api/actions {"action":"pause-topic","args":{"reason":["x"]}}`},
			{signin.Viewer, `POST /api/actions {"action":"pause-topic","targets":[{"topic":"orders"}]}`},
			{signin.Operator, `POST /api/actions nonsense`},
			{signin.Viewer, "GET /api/audit"},
			{signin.Viewer, "GET /api/audit?who=viewer-1"},
			{signin.Viewer, "GET /api/audit?limit=1&before=3"},
			{signin.Viewer, "GET /api/audit?number=1"},
			{signin.Viewer, "GET /api/audit?number=99"},
			{signin.Viewer, "GET /api/audit?before=x"},
		} {
			all.WriteString(b.shown(c.role, c.request) + "\n")
		}
		golden(t, "ours.txt", all.String())
	})
}

// Daemons that are named are asked themselves.
func TestNamedDaemons(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(*api.Settings) {}, clustertest.Nodes(2), clustertest.Lookupds(0), clustertest.Topics(1), clustertest.Channels(1), clustertest.Spread(1))
		var all strings.Builder
		for _, request := range []string{
			"GET /api/topics", "GET /api/topics?inactive=true", "GET /api/topics/topic-00000", "GET /api/topics/none", "GET /api/nodes",
			`POST /api/topics {"topic":"new","channel":"c"}`, `POST /api/topics/new {"action":"pause"}`, `DELETE /api/nodes/qd-0:4151 {"topic":"new"}`,
			"DELETE /api/topics/new", `PUT /config/nsqlookupd_http_addresses ["lookupd-1:4161"]`,
		} {
			all.WriteString(b.shown(signin.Admin, request) + "\n")
		}
		golden(t, "named.txt", all.String())
	})
}

// times are a history's.
func times(t *testing.T, answer string) []int64 {
	t.Helper()
	var v struct {
		Times  []int64               `json:"times"`
		Values map[string][]*float64 `json:"values"`
	}
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Values) != int(history.Metrics) || v.Values["depth"] == nil || v.Values["in"] == nil {
		t.Errorf("the values are %v", v.Values)
	}
	for name, values := range v.Values {
		if len(values) != len(v.Times) {
			t.Errorf("%d times, and %d of %s", len(v.Times), len(values), name)
		}
	}
	return v.Times
}

// A tilde keeps a topic "." from being taken for a step of the path.
func TestTilde(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, nil, clustertest.Topics(1))
		topic := clustertest.TopicName(0)
		plain := b.shown(signin.Viewer, "GET /api/topics/"+topic)
		if got := b.shown(signin.Viewer, "GET /api/topics/~"+topic); got != strings.Replace(plain, "/topics/", "/topics/~", 1) || !strings.Contains(got, "200") {
			t.Error(got)
		}
	})
}
