package lookupd_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestAnswersOfAnEmptyLookupd(t *testing.T) {
	d := start(t)
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/ping", 200, "OK"},
		{"GET", "/info", 200, `{"version":"1.3.0"}`},
		{"GET", "/topics", 200, `{"topics":[]}`},
		{"GET", "/nodes", 200, `{"producers":[]}`},
		{"GET", "/debug", 200, `{}`},
		{"GET", "/channels", 400, `{"message":"MISSING_ARG_TOPIC"}`},
		{"GET", "/channels?topic=t", 200, `{"channels":[]}`},
		{"GET", "/channels?topic=*", 200, `{"channels":[]}`},
		{"GET", "/lookup", 400, `{"message":"MISSING_ARG_TOPIC"}`},
		{"GET", "/lookup?topic=t", 404, `{"message":"TOPIC_NOT_FOUND"}`},
		{"GET", "/lookup?topic=", 404, `{"message":"TOPIC_NOT_FOUND"}`},
		{"GET", "/lookup?topic=t;x", 400, `{"message":"INVALID_REQUEST"}`},
		{"POST", "/topic/create", 400, `{"message":"MISSING_ARG_TOPIC"}`},
		{"POST", "/topic/create?topic=", 400, `{"message":"INVALID_ARG_TOPIC"}`},
		{"POST", "/topic/create?topic=*", 400, `{"message":"INVALID_ARG_TOPIC"}`},
		{"POST", "/topic/delete", 400, `{"message":"MISSING_ARG_TOPIC"}`},
		{"POST", "/topic/delete?topic=t", 200, ``},
		{"POST", "/topic/tombstone", 400, `{"message":"MISSING_ARG_TOPIC"}`},
		{"POST", "/topic/tombstone?topic=t", 400, `{"message":"MISSING_ARG_NODE"}`},
		{"POST", "/topic/tombstone?topic=t&node=a:1", 200, ``},
		{"POST", "/channel/create", 400, `{"message":"MISSING_ARG_TOPIC"}`},
		{"POST", "/channel/create?topic=a/b&channel=c", 400, `{"message":"INVALID_ARG_TOPIC"}`},
		{"POST", "/channel/create?topic=t", 400, `{"message":"MISSING_ARG_CHANNEL"}`},
		{"POST", "/channel/create?topic=t&channel=%00", 400, `{"message":"INVALID_ARG_CHANNEL"}`},
		{"POST", "/channel/delete", 400, `{"message":"MISSING_ARG_TOPIC"}`},
		{"POST", "/channel/delete?topic=*&channel=c", 400, `{"message":"INVALID_ARG_TOPIC"}`},
		{"POST", "/channel/delete?topic=t", 400, `{"message":"MISSING_ARG_CHANNEL"}`},
		{"POST", "/channel/delete?topic=t&channel=*", 400, `{"message":"INVALID_ARG_CHANNEL"}`},
		{"POST", "/channel/delete?topic=t&channel=c", 404, `{"message":"CHANNEL_NOT_FOUND"}`},
		{"GET", "/create_topic", 400, `{"message":"MISSING_ARG_TOPIC"}`},
		{"POST", "/create_topic?topic=*", 400, `{"message":"INVALID_ARG_TOPIC"}`},
		{"GET", "/delete_channel?topic=t&channel=c", 404, `{"message":"CHANNEL_NOT_FOUND"}`},
		{"POST", "/tombstone_topic_producer?topic=t", 400, `{"message":"MISSING_ARG_NODE"}`},
		{"GET", "/topic/create?topic=t", 405, `{"message":"METHOD_NOT_ALLOWED"}`},
		{"POST", "/lookup?topic=t", 405, `{"message":"METHOD_NOT_ALLOWED"}`},
		{"GET", "/nowhere", 404, `{"message":"NOT_FOUND"}`},
	} {
		status, header, body := call(t, http.DefaultClient, c.method, "http://"+d.HTTPAddr().String()+c.path)
		if status != c.status || body != c.body {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, status, body, c.status, c.body)
		}
		if marked := header.Get("X-NSQ-Content-Type") == "nsq; version=1.0"; marked == (c.path == "/ping") {
			t.Errorf("%s %s: X-NSQ-Content-Type %q", c.method, c.path, header.Get("X-NSQ-Content-Type"))
		}
		if c.status == 405 && header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", c.method, c.path)
		}
	}
	if got := get(t, d, "/topics"); got != `{"topics":[]}` {
		t.Errorf("afterwards there are %s", got)
	}
}

func TestLookupShowsTheWholeDaemon(t *testing.T) {
	d := start(t)
	p := join(t, d, "a.example")
	p.say("REGISTER t c")
	want := `{"channels":["c"],"producers":[{"remote_address":"` + p.LocalAddr().String() + `","hostname":"h",` +
		`"broadcast_address":"a.example","tcp_port":4150,"http_port":4151,"version":"1.3.0","topology_zone":"z","topology_region":""}]}`
	if got := get(t, d, "/lookup?topic=t"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestListsAreSorted(t *testing.T) {
	d := start(t)
	p := join(t, d, "a")
	const sorted = `"a","b","c","d","e","f","g"`
	for _, name := range []string{"d", "b", "g", "a", "f", "c", "e"} {
		p.say("REGISTER " + name)
		post(t, d, "/channel/create?topic=a&channel="+name)
	}
	for _, path := range []string{"/topics", "/channels?topic=a", "/lookup?topic=a", "/nodes"} {
		if got := get(t, d, path); !strings.Contains(got, sorted) {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func TestCreatingAndDeleting(t *testing.T) {
	for _, paths := range []struct{ createTopic, deleteTopic, createChannel, deleteChannel string }{
		{"/topic/create", "/topic/delete", "/channel/create", "/channel/delete"},
		{"/create_topic", "/delete_topic", "/create_channel", "/delete_channel"},
	} {
		t.Run(paths.createTopic, func(t *testing.T) {
			d := start(t)
			p := join(t, d, "a")
			post(t, d, paths.createTopic+"?topic=t")
			if got := get(t, d, "/lookup?topic=t"); got != `{"channels":[],"producers":[]}` {
				t.Errorf("a topic created: %s", got)
			}
			post(t, d, paths.createChannel+"?topic=u&channel=c")
			if got := get(t, d, "/lookup?topic=u"); got != `{"channels":["c"],"producers":[]}` {
				t.Errorf("a channel created: %s", got)
			}
			p.say("REGISTER u c")
			post(t, d, paths.deleteChannel+"?topic=u&channel=c")
			if got := get(t, d, "/channels?topic=u"); got != `{"channels":[]}` {
				t.Errorf("a channel deleted: %s", got)
			}
			if got := hosts(t, get(t, d, "/lookup?topic=u")); got != "a" {
				t.Errorf("its topic: %s", got)
			}
			post(t, d, paths.deleteTopic+"?topic=*")
			post(t, d, paths.deleteTopic+"?topic=u")
			if got := get(t, d, "/topics"); got != `{"topics":["t"]}` {
				t.Errorf("a topic deleted: %s", got)
			}
			p.say("REGISTER u")
			if got := hosts(t, get(t, d, "/lookup?topic=u")); got != "a" {
				t.Errorf("registered again: %s", got)
			}
		})
	}
}

func TestTombstoneOverHTTP(t *testing.T) {
	for _, path := range []string{"/topic/tombstone", "/tombstone_topic_producer"} {
		t.Run(path, func(t *testing.T) {
			d := start(t)
			a, b := join(t, d, "a"), join(t, d, "b")
			for _, p := range []*peer{a, b} {
				p.say("REGISTER t c")
				p.say("REGISTER u")
			}
			post(t, d, path+"?topic=*&node=b:4151")
			post(t, d, path+"?topic=t&node=a:4151")
			if got := hosts(t, get(t, d, "/lookup?topic=t")); got != "b" {
				t.Errorf("the topic is at %s", got)
			}
			if got := hosts(t, get(t, d, "/lookup?topic=u")); got != "a b" {
				t.Errorf("another is at %s", got)
			}
			if got := get(t, d, "/nodes"); !strings.Contains(got, `"tombstones":[true,false],"topics":["t","u"]`) {
				t.Errorf("nodes: %s", got)
			}
			var debug map[string][]struct {
				Host         string `json:"broadcast_address"`
				Tombstoned   bool   `json:"tombstoned"`
				TombstonedAt int64  `json:"tombstoned_at"`
				LastUpdate   int64  `json:"last_update"`
			}
			if err := json.Unmarshal([]byte(get(t, d, "/debug")), &debug); err != nil {
				t.Fatal(err)
			}
			for key, n := range map[string]int{"client::": 2, "topic:t:": 2, "topic:u:": 2, "channel:t:c": 2} {
				if len(debug[key]) != n {
					t.Errorf("/debug has %d entries at %s, want %d", len(debug[key]), key, n)
				}
			}
			for _, e := range debug["topic:t:"] {
				if e.Tombstoned != (e.Host == "a") || e.Tombstoned != (e.TombstonedAt > 0) || e.LastUpdate == 0 {
					t.Errorf("/debug says %+v", e)
				}
			}
			for _, e := range debug["channel:t:c"] {
				if e.Tombstoned || e.TombstonedAt != 0 {
					t.Errorf("of a channel, which no tombstone is for, /debug says %+v", e)
				}
			}
			a.say("UNREGISTER t")
			a.say("REGISTER t c")
			if got := hosts(t, get(t, d, "/lookup?topic=t")); got != "a b" {
				t.Errorf("created again it is at %s", got)
			}
		})
	}
}

func TestProfiles(t *testing.T) {
	d := start(t)
	for _, path := range []string{"", "cmdline", "symbol", "heap", "goroutine", "block", "threadcreate"} {
		if status, _, _ := call(t, http.DefaultClient, "GET", "http://"+d.HTTPAddr().String()+"/debug/pprof/"+path); status != 200 {
			t.Errorf("/debug/pprof/%s: %d", path, status)
		}
	}
	post(t, d, "/debug/pprof/symbol")
	if got := get(t, d, "/debug/pprof"); !strings.Contains(got, "goroutine") {
		t.Errorf("/debug/pprof is not the index: %s", got)
	}
}
