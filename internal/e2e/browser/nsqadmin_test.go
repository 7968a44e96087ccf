package browser

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestNSQAdmin asks the running program as scripts ask nsqadmin.
func TestNSQAdmin(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	s := newScript(t, h.base)
	get := func(path string, into any) {
		t.Helper()
		r := s.get(path)
		if r.Status != http.StatusOK || !strings.HasPrefix(r.Get("Content-Type"), "application/json") {
			t.Fatalf("GET %s: %d %s", path, r.Status, r.Body)
		}
		if err := json.Unmarshal([]byte(r.Body), into); err != nil {
			t.Fatalf("GET %s: %v: %s", path, err, r.Body)
		}
	}
	change := func(method, path, body string, status int) string {
		t.Helper()
		r := s.send(method, path, body)
		if r.Status != status {
			t.Fatalf("%s %s %s: %d %s", method, path, body, r.Status, r.Body)
		}
		return r.Body
	}
	want(t, "ping", s.get("/ping").Body, "OK")
	wait(t, "both daemons", func() bool { return strings.Count(s.get("/api/nodes").Body, `"broadcast_address"`) == 2 })

	change("POST", "/api/topics", `{"topic":"orders"}`, 200)
	var inactive struct{ Topics map[string][]string }
	get("/api/topics?inactive=true", &inactive)
	if _, there := inactive.Topics["orders"]; !there {
		t.Errorf("inactive topics: %v", inactive)
	}
	for i := range h.qds {
		h.publish(i, "orders", 3)
	}
	change("POST", "/api/topics", `{"topic":"orders","channel":"ship"}`, 200)
	subscribe(t, tcpOf(h.qds[0]), "orders", "ship", "reader", 0)
	wait(t, "the consumer", func() bool { return h.channel("orders", "ship").Clients == 1 })

	var topics struct {
		Topics  []string
		Message string
	}
	get("/api/topics", &topics)
	want(t, "topics", strings.Join(topics.Topics, " "), "orders")
	type sums struct {
		Node                     string
		Depth                    int
		Messages                 int `json:"message_count"`
		Paused                   bool
		Nodes, Channels, Clients []json.RawMessage
		Message                  *string
	}
	var topic, channel sums
	get("/api/topics/orders", &topic)
	if topic.Node != "*" || topic.Messages != 6 || len(topic.Nodes) != 2 || len(topic.Channels) != 1 || topic.Message == nil || *topic.Message != "" {
		t.Errorf("the topic: %+v", topic)
	}
	get("/api/topics/orders/ship", &channel)
	if channel.Depth != 6 || len(channel.Nodes) != 2 || len(channel.Clients) != 1 {
		t.Errorf("the channel: %+v", channel)
	}
	want(t, "a channel that is none", s.get("/api/topics/orders/none").Status, http.StatusInternalServerError)
	want(t, "a topic that is none", s.get("/api/topics/none").Status, http.StatusBadGateway)

	change("POST", "/api/topics/orders", `{"action":"pause"}`, 200)
	want(t, "daemons on which it is paused", h.topic("orders").Paused, 2)
	get("/api/topics/orders", &topic)
	want(t, "the topic is paused", topic.Paused, true)
	change("POST", "/api/topics/orders", `{"action":"unpause"}`, 200)
	want(t, "daemons on which it is paused", h.topic("orders").Paused, 0)
	change("POST", "/api/topics/orders/ship", `{"action":"pause"}`, 200)
	want(t, "daemons on which it is paused", h.channel("orders", "ship").Paused, 2)
	change("POST", "/api/topics/orders/ship", `{"action":"empty"}`, 200)
	want(t, "messages left", h.channel("orders", "ship").Depth, 0)
	if got := change("POST", "/api/topics/orders", `{"action":"explode"}`, 400); got != `{"message":"INVALID_ACTION"}` {
		t.Errorf("an action that is none: %s", got)
	}

	var node struct {
		Node     string
		Topics   []json.RawMessage
		Messages int `json:"total_messages"`
		Clients  int `json:"total_clients"`
	}
	get("/api/nodes/"+h.qds[0].http, &node)
	if node.Node != h.qds[0].http || len(node.Topics) != 1 || node.Messages != 3 || node.Clients != 1 {
		t.Errorf("the node: %+v", node)
	}
	want(t, "a node that is none", s.get("/api/nodes/127.0.0.1:1").Status, http.StatusNotFound)
	var counter struct {
		Stats map[string]struct {
			Count int `json:"message_count"`
		}
	}
	get("/api/counter", &counter)
	want(t, "what was counted", counter.Stats["orders:ship:"+h.qds[0].http].Count, 3)

	change("DELETE", "/api/nodes/"+h.qds[1].http, `{"topic":"orders"}`, 200)
	want(t, "daemons that have it", h.topic("orders").There, 1)
	change("DELETE", "/api/topics/orders/ship", "", 200)
	want(t, "daemons that have the channel", h.channel("orders", "ship").There, 0)
	change("DELETE", "/api/topics/orders", "", 200)
	want(t, "daemons that have it", h.topic("orders").There, 0)

	var lookupds []string
	get("/config/nsqlookupd_http_addresses", &lookupds)
	want(t, "the lookupds", strings.Join(lookupds, " "), h.lookup.http)
	change("PUT", "/config/log_level", "debug", 200)
	want(t, "the level, as NSQ numbers them", s.get("/config/log_level").Body, "1")
	change("PUT", "/config/log_level", "loud", 400)
	change("PUT", "/config/nsqlookupd_http_addresses", `["127.0.0.1:1"]`, 200)
	wait(t, "the lookupd's being down", func() bool { return strings.Contains(s.get("/lookup").Body, "127.0.0.1:1") })
	change("PUT", "/config/nsqlookupd_http_addresses", `["`+h.lookup.http+`"]`, 200)
	wait(t, "both daemons again", func() bool { return strings.Count(s.get("/api/nodes").Body, `"broadcast_address"`) == 2 })
}
