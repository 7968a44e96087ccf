package api_test

import (
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
)

func code(word string) string { return `{"message":"` + word + `"}` }

func TestAnswers(t *testing.T) {
	d := start(t, nil)
	if err := d.topic("t").CreateChannel("c"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		status       int
		answer       string
	}{
		{"GET", "/ping", 200, "OK"},
		{"POST", "/ping", 405, code("METHOD_NOT_ALLOWED")},
		{"GET", "/nowhere", 404, code("NOT_FOUND")},
		{"GET", "/pub?topic=t", 405, code("METHOD_NOT_ALLOWED")},
		{"GET", "/put?topic=t", 405, code("METHOD_NOT_ALLOWED")},
		{"GET", "/topic/create?topic=t", 405, code("METHOD_NOT_ALLOWED")},
		{"GET", "/stats?topic=t;x", 400, code("INVALID_REQUEST")},

		{"POST", "/topic/create", 400, code("MISSING_ARG_TOPIC")},
		{"POST", "/topic/create?topic=t;x", 400, code("INVALID_REQUEST")},
		{"POST", "/topic/create?topic=", 400, code("INVALID_TOPIC")},
		{"POST", "/topic/create?topic=a/b", 400, code("INVALID_TOPIC")},
		{"POST", "/topic/create?topic=t", 200, ""},
		{"POST", "/topic/delete", 400, code("MISSING_ARG_TOPIC")},
		{"POST", "/topic/delete?topic=a/b", 404, code("TOPIC_NOT_FOUND")},
		{"POST", "/topic/pause", 400, code("MISSING_ARG_TOPIC")},
		{"POST", "/topic/pause?topic=a/b", 404, code("TOPIC_NOT_FOUND")},
		{"POST", "/topic/unpause?topic=", 404, code("TOPIC_NOT_FOUND")},
		{"POST", "/topic/empty", 400, code("MISSING_ARG_TOPIC")},
		{"POST", "/topic/empty?topic=a/b", 400, code("INVALID_TOPIC")},
		{"POST", "/topic/empty?topic=none", 404, code("TOPIC_NOT_FOUND")},
	} {
		d.expect(c.method, c.path, nil, c.status, c.answer)
	}
	for _, act := range []string{"create", "delete", "empty", "pause", "unpause"} {
		path := "/channel/" + act
		d.expect("POST", path+"?channel=c", nil, 400, code("MISSING_ARG_TOPIC"))
		d.expect("POST", path+"?topic=a/b&channel=c", nil, 400, code("INVALID_ARG_TOPIC"))
		d.expect("POST", path+"?topic=t", nil, 400, code("MISSING_ARG_CHANNEL"))
		d.expect("POST", path+"?topic=t&channel=a/b", nil, 400, code("INVALID_ARG_CHANNEL"))
		d.expect("POST", path+"?topic=none&channel=c", nil, 404, code("TOPIC_NOT_FOUND"))
		if act != "create" {
			d.expect("POST", path+"?topic=t&channel=none", nil, 404, code("CHANNEL_NOT_FOUND"))
		}
	}
	d.expectTopics("t")
}

func TestInfo(t *testing.T) {
	d := start(t, nil)
	w := d.send("GET", "/info", nil)
	want := `{"version":"1.3.0","broadcast_address":"a.example","hostname":"a","http_port":4151,"tcp_port":4150,` +
		`"start_time":START,"max_heartbeat_interval":60000000000,"max_output_buffer_size":65536,` +
		`"max_output_buffer_timeout":30000000000,"max_deflate_level":6,"topology_zone":"z","topology_region":"r"}`
	want = strings.Replace(want, "START", strconv.FormatInt(d.config.Info.StartTime.Unix(), 10), 1)
	if got := w.Body.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
}

func TestNSQHeader(t *testing.T) {
	d := start(t, nil)
	for path, marked := range map[string]bool{"/info": true, "/stats": true, "/nowhere": true, "/ping": false, "/debug/pprof/cmdline": false} {
		if got := d.send("GET", path, nil).Header().Get("X-NSQ-Content-Type"); (got == "nsq; version=1.0") != marked {
			t.Errorf("%s: X-NSQ-Content-Type %q", path, got)
		}
	}
}

// What each act does, under its name of today and that of before NSQ 1.0, by
// POST and GET.
func TestActs(t *testing.T) {
	for _, c := range []struct {
		path, old string
		holds     func(core *queue.Topic) bool // afterwards
	}{
		{"/topic/create?topic=new", "/create_topic?topic=new", nil},
		{"/topic/delete?topic=t", "/delete_topic?topic=t", nil},
		{"/topic/pause?topic=t", "/pause_topic?topic=t", (*queue.Topic).Paused},
		{"/topic/unpause?topic=held", "/unpause_topic?topic=held", func(core *queue.Topic) bool {
			return !core.Paused() && core.Channel("c").Depth() == 1
		}},
		{"/topic/empty?topic=held", "/empty_topic?topic=held", func(core *queue.Topic) bool {
			return core.Paused() && core.Depth() == 0
		}},
		{"/channel/create?topic=t&channel=new", "/create_channel?topic=t&channel=new", func(core *queue.Topic) bool {
			return core.Channel("new") != nil && core.Channel("new").Depth() == 0
		}},
		{"/channel/delete?topic=t&channel=c", "/delete_channel?topic=t&channel=c", func(core *queue.Topic) bool {
			return core.Channel("c") == nil
		}},
		{"/channel/pause?topic=t&channel=c", "/pause_channel?topic=t&channel=c", func(core *queue.Topic) bool {
			return core.Channel("c").Paused()
		}},
		{"/channel/unpause?topic=held&channel=c", "/unpause_channel?topic=held&channel=c", func(core *queue.Topic) bool {
			return !core.Channel("c").Paused()
		}},
		{"/channel/empty?topic=t&channel=c", "/empty_channel?topic=t&channel=c", func(core *queue.Topic) bool {
			return core.Channel("c").Depth() == 0
		}},
	} {
		for _, how := range [][2]string{{"POST", c.path}, {"POST", c.old}, {"GET", c.old}} {
			t.Run(how[0]+how[1], func(t *testing.T) {
				d := start(t, nil)
				for _, name := range []string{"t", "held"} {
					if err := d.topic(name).CreateChannel("c"); err != nil {
						t.Fatal(err)
					}
				}
				d.expect("POST", "/topic/pause?topic=held", nil, 200, "")
				d.expect("POST", "/channel/pause?topic=held&channel=c", nil, 200, "")
				d.expect("POST", "/pub?topic=t", "x", 200, "OK")
				d.expect("POST", "/pub?topic=held", "x", 200, "OK")

				d.expect(how[0], how[1], nil, 200, "")

				d.expectTopics(topicsAfter(c.path)...)
				name := "t"
				if strings.Contains(c.path, "topic=held") {
					name = "held"
				}
				if c.holds != nil {
					d.topic(name).View(func(core *queue.Topic) {
						if !c.holds(core) {
							t.Errorf("not done")
						}
					})
				}
			})
		}
	}
}

func topicsAfter(path string) []string {
	switch {
	case strings.HasPrefix(path, "/topic/create"):
		return []string{"held", "new", "t"}
	case strings.HasPrefix(path, "/topic/delete"):
		return []string{"held"}
	}
	return []string{"held", "t"}
}

func TestExiting(t *testing.T) {
	d := start(t, nil)
	d.topic("t")
	d.broker.Refuse()
	for _, path := range []string{"/pub?topic=t", "/pub?topic=new", "/put?topic=t", "/mpub?topic=t", "/pub?topic=t&defer=1", "/topic/create?topic=new"} {
		d.expect("POST", path, "x", 503, code("EXITING"))
	}
	d.expectTopics("t")
}

// lookupds stands for the links to lookupds.
type lookupds []string

func (l *lookupds) Addresses() []string     { return *l }
func (l *lookupds) SetAddresses(a []string) { *l = a }

func TestConfig(t *testing.T) {
	links, level := lookupds(nil), new(slog.LevelVar)
	d := start(t, func(_ *broker.Settings, c *api.Config) { c.Lookupds, c.LogLevel = &links, level })
	d.expect("GET", "/config/nsqlookupd_tcp_addresses", nil, 200, `[]`)
	d.expect("GET", "/config/log_level", nil, 200, `2`)
	d.expect("GET", "/config/none", nil, 400, code("INVALID_OPTION"))

	const addresses = `["127.0.0.1:4160","[::1]:4160","b.example:4160"]`
	d.expect("PUT", "/config/nsqlookupd_tcp_addresses", addresses, 200, addresses)
	d.expect("GET", "/config/nsqlookupd_tcp_addresses", nil, 200, addresses)
	for _, bad := range []string{`x`, `"a:1"`, `[1]`, `["a"]`, `["a:"]`} {
		d.expect("PUT", "/config/nsqlookupd_tcp_addresses", bad, 400, code("INVALID_VALUE"))
	}
	if want := []string{"127.0.0.1:4160", "[::1]:4160", "b.example:4160"}; !slices.Equal(links, want) {
		t.Errorf("addresses are %q, want %q", links, want)
	}
	d.expect("PUT", "/config/nsqlookupd_tcp_addresses", `[]`, 200, `[]`)

	for word, number := range map[string]string{"debug": "1", "INFO": "2", "warn": "3", "error": "4", "fatal": "5"} {
		d.expect("PUT", "/config/log_level", word, 200, number)
		d.expect("GET", "/config/log_level", nil, 200, number)
	}
	d.expect("PUT", "/config/log_level", "warn", 200, "3")
	d.expect("PUT", "/config/log_level", "loud", 400, code("INVALID_VALUE"))
	if level.Level() != slog.LevelWarn {
		t.Errorf("level is %s", level.Level())
	}

	d.expect("PUT", "/config/none", "", 413, code("INVALID_VALUE"))
	d.expect("PUT", "/config/none", strings.Repeat("x", maxMsgSize+1), 413, code("INVALID_VALUE"))
	d.expect("PUT", "/config/none", "x", 400, code("INVALID_OPTION"))
}

func TestNoOptionsWithoutTheirOwners(t *testing.T) {
	d := start(t, nil)
	for _, path := range []string{"/config/nsqlookupd_tcp_addresses", "/config/log_level"} {
		d.expect("GET", path, nil, 400, code("INVALID_OPTION"))
		d.expect("PUT", path, "info", 400, code("INVALID_OPTION"))
	}
}

func TestDebug(t *testing.T) {
	d := start(t, nil)
	for _, path := range []string{"", "cmdline", "symbol", "heap", "goroutine", "block", "threadcreate"} {
		if w := d.send("GET", "/debug/pprof/"+path, nil); w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("%s: %d with %d bytes", path, w.Code, w.Body.Len())
		}
	}
	d.expect("POST", "/debug/pprof/symbol", "", 200, "num_symbols: 1\n")
	d.expect("PUT", "/debug/setblockrate?rate=0", nil, 200, "")
	if w := d.send("PUT", "/debug/setblockrate?rate=x", nil); w.Code != http.StatusBadRequest {
		t.Errorf("a bad block rate is answered %d", w.Code)
	}
	d.expect("POST", "/debug/freememory", nil, 200, "")
}
