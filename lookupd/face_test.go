package lookupd

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// shown is a daemon of join's as lists show it, but for the brace at its end.
func shown(host, zone, region string) string {
	return `{"remote_address":"192.0.2.1:5","hostname":"` + host + `.example","broadcast_address":"` + host + `","tcp_port":4150,` +
		`"http_port":4151,"version":"1.3.0","topology_zone":"` + zone + `","topology_region":"` + region + `"`
}

// What NSQ does not have is shown only if it says something.
func TestStatesAndPauses(t *testing.T) {
	f := newFace(t)
	a, b := f.join("a", nil), f.join("b", nil)
	f.register(a, registry.Registration{Topic: "t", Channel: "c", Generation: 1}, registry.Registration{Topic: "t", Channel: "d", Generation: 1})
	f.register(b, registry.Registration{Topic: "t", Generation: 1})
	f.expect("/lookup?topic=t", `{"channels":["c","d"],"producers":[`+shown("a", "", "")+`},`+shown("b", "", "")+`}]}`)
	f.expect("/nodes?topics=false", `{"producers":[`+shown("a", "", "")+`},`+shown("b", "", "")+`}]}`)

	f.register(a,
		registry.Registration{Topic: "t", Generation: 1, Paused: true},
		registry.Registration{Topic: "t", Channel: "d", Generation: 1, Paused: true},
		registry.Registration{Topic: "t", Channel: "c", Generation: 1, Paused: true})
	f.dir.change(func(r *registry.Registry, _ time.Time) { r.SetState(b, protocol.PeerDraining) })
	f.expect("/lookup?topic=t", `{"channels":["c","d"],"producers":[`+
		shown("a", "", "")+`,"paused":true,"paused_channels":["c","d"]},`+shown("b", "", "")+`,"state":"draining"}]}`)
	f.expect("/nodes", `{"producers":[`+
		shown("a", "", "")+`,"tombstones":[false],"topics":["t"]},`+shown("b", "", "")+`,"state":"draining","tombstones":[false],"topics":["t"]}]}`)
}

// What a daemon says of itself is told as encoding/json would.
func TestOddFacts(t *testing.T) {
	f := newFace(t)
	f.join("a", func(p *protocol.PeerInfo) { p.Hostname, p.Version, p.TopologyZone = "\"<\x00é\xff", "a&b", "\u2028" })
	_, got := f.ask("GET", "/nodes?topics=false")
	want := `{"producers":[{"remote_address":"192.0.2.1:5","hostname":"\"\u003c\u0000é\ufffd","broadcast_address":"a","tcp_port":4150,` +
		`"http_port":4151,"version":"a\u0026b","topology_zone":"\u2028","topology_region":""}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAvailableProducers(t *testing.T) {
	f := newFace(t)
	f.expect("/producers/available", `{"producers":[]}`)
	at := func(zone, region string) func(*protocol.PeerInfo) {
		return func(p *protocol.PeerInfo) { p.TopologyZone, p.TopologyRegion = zone, region }
	}
	a, b := f.join("a", at("z1", "r1")), f.join("b", at("z2", "r1"))
	draining, failing := f.join("d", at("z1", "r1")), f.join("f", nil)
	f.join("nsqd", func(p *protocol.PeerInfo) { p.Extended, p.Instance, p.State = false, "", "" })
	f.dir.change(func(r *registry.Registry, _ time.Time) {
		r.SetState(draining, protocol.PeerDraining)
		r.SetState(failing, protocol.PeerFailing)
	})
	f.register(a, registry.Registration{Topic: "t", Generation: 1})
	f.register(b, registry.Registration{Topic: "t", Generation: 1})
	inA, inB, nsqd := shown("a", "z1", "r1")+"}", shown("b", "z2", "r1")+"}", shown("nsqd", "", "")+"}"
	for query, want := range map[string][]string{
		"":                          {inA, inB, nsqd},
		"?topic=&region=&zone=":     {inA, inB, nsqd},
		"?topic=t":                  {inA, inB, nsqd},
		"?topic=nowhere":            {inA, inB, nsqd},
		"?region=r1":                {inA, inB},
		"?zone=z2":                  {inB},
		"?region=r1&zone=z1":        {inA},
		"?region=r2&zone=z1":        {},
		"?limit=5":                  {inA, inB, nsqd},
		"?after=1000000":            {},
		"?after=" + last(a):         {inB, nsqd},
		"?zone=z2&after=" + last(b): {},
	} {
		f.expect("/producers/available"+query, `{"producers":[`+strings.Join(want, ",")+`]}`)
	}
	f.expect("/producers/available?limit=1", `{"producers":[`+inA+`],"next":"`+last(a)+`"}`)
	f.ask("POST", "/topic/tombstone?topic=t&node=a:4151")
	f.expect("/producers/available?topic=t", `{"producers":[`+inB+","+nsqd+`]}`)
	f.expect("/producers/available?topic=u", `{"producers":[`+inA+","+inB+","+nsqd+`]}`)
}

func last(p *registry.Peer) string { return fmt.Sprint(p.Number()) }

// A tombstone of a generation hides no later one.
func TestTombstonesOfAGeneration(t *testing.T) {
	f := newFace(t)
	p := f.join("a", nil)
	const max = uint64(math.MaxUint64)
	f.register(p, registry.Registration{Topic: "t", Generation: 5}, registry.Registration{Topic: "u", Generation: max})
	hidden := func(topic string, want bool) {
		t.Helper()
		if _, got := f.ask("GET", "/lookup?topic="+topic); strings.Contains(got, `"producers":[]`) != want {
			t.Errorf("%s: %s", topic, got)
		}
	}
	f.ask("POST", "/topic/tombstone?topic=t&node=a:4151&generation=4")
	hidden("t", false)
	f.ask("POST", "/topic/tombstone?topic=t&node=a:4151&generation=5")
	hidden("t", true)
	f.ask("POST", fmt.Sprintf("/topic/tombstone?topic=u&node=a:4151&generation=%d", max))
	hidden("u", true)
	f.register(p, registry.Registration{Topic: "t", Generation: 6})
	hidden("t", false)
}

// Every argument that cannot be is refused with its code, and a sentence if it is
// not NSQ's.
func TestBadArguments(t *testing.T) {
	f := newFace(t)
	const limit, generation = "INVALID_ARG_LIMIT: must be a whole number from 1 to 1000000", "INVALID_ARG_GENERATION: must be a whole number from 1 to 18446744073709551615, as /debug shows it"
	const afterName, afterNode = "INVALID_ARG_AFTER: must be a name, such as next in the answer before", "INVALID_ARG_AFTER: must be a number: next in the answer before"
	long := strings.Repeat("x", 65)
	for _, c := range []struct{ method, path, code string }{
		{"GET", "/topics?limit=", limit},
		{"GET", "/topics?limit=0", limit},
		{"GET", "/topics?limit=-1", limit},
		{"GET", "/topics?limit=%2B1", limit},
		{"GET", "/topics?limit=1.5", limit},
		{"GET", "/topics?limit=0x10", limit},
		{"GET", "/topics?limit=1000001", limit},
		{"GET", "/topics?limit=99999999999999999999999", limit},
		{"GET", "/topics?limit=all", limit},
		{"GET", "/topics?after=a/b", afterName},
		{"GET", "/topics?after=" + long, afterName},
		{"GET", "/topics?after=%00", afterName},
		{"GET", "/topics?after=%zz", "INVALID_REQUEST"},
		{"GET", "/channels?limit=1", "MISSING_ARG_TOPIC"},
		{"GET", "/channels?topic=t&limit=0", limit},
		{"GET", "/channels?topic=t&after=*", afterName},
		{"GET", "/nodes?limit=0", limit},
		{"GET", "/nodes?after=a", afterNode},
		{"GET", "/nodes?after=-1", afterNode},
		{"GET", "/nodes?after=9223372036854775808", afterNode},
		{"GET", "/nodes?topics=", "INVALID_ARG_TOPICS: must be true or false"},
		{"GET", "/nodes?topics=no", "INVALID_ARG_TOPICS: must be true or false"},
		{"GET", "/producers/available?limit=0", limit},
		{"GET", "/producers/available?after=x", afterNode},
		{"GET", "/producers/available?topic=*", "INVALID_ARG_TOPIC"},
		{"GET", "/producers/available?topic=" + long, "INVALID_ARG_TOPIC"},
		{"GET", "/producers/available?zone=a;b", "INVALID_REQUEST"},
		{"GET", "/lookup?topic=%zz", "INVALID_REQUEST"},
		{"GET", "/debug?x=%zz", "INVALID_REQUEST"},
		{"POST", "/topic/tombstone?topic=t&node=a:1&generation=", generation},
		{"POST", "/topic/tombstone?topic=t&node=a:1&generation=0", generation},
		{"POST", "/topic/tombstone?topic=t&node=a:1&generation=-1", generation},
		{"POST", "/topic/tombstone?topic=t&node=a:1&generation=1e3", generation},
		{"POST", "/topic/tombstone?topic=t&node=a:1&generation=18446744073709551616", generation},
		{"POST", "/topic/tombstone?topic=t&generation=x", "MISSING_ARG_NODE"},
	} {
		if status, got := f.ask(c.method, c.path); status != 400 || got != `{"message":"`+c.code+`"}` {
			t.Errorf("%s %.80s: %d %s", c.method, c.path, status, got)
		}
	}
	for _, path := range []string{
		"/nodes?after=9223372036854775807", "/producers/available?after=9223372036854775807", "/topics?after=", "/nodes?after=&limit=1000000",
		"/channels?topic=*&limit=1", "/nodes?topics=true",
	} {
		if status, got := f.ask("GET", path); status != 200 || !strings.Contains(got, `":[]}`) {
			t.Errorf("%s: %d %s", path, status, got)
		}
	}
}

// Pages of every size put together are the whole list.
func TestPages(t *testing.T) {
	f := newFace(t)
	for i := range 2500 {
		f.ask("POST", fmt.Sprintf("/topic/create?topic=t%d", i))
		f.ask("POST", fmt.Sprintf("/channel/create?topic=t0&channel=c%d", i))
	}
	for i := range 450 {
		f.register(f.join(fmt.Sprint("h", i), nil), registry.Registration{Topic: "t0", Generation: 1})
	}
	for _, c := range []struct {
		path, key string
		n         int
	}{{"/topics", "topics", 2500}, {"/channels?topic=t0", "channels", 2500}, {"/nodes?topics=false", "producers", 450}, {"/nodes", "producers", 450}, {"/producers/available", "producers", 450}} {
		all, next := f.page(c.path, c.key)
		if len(all) != c.n || next != "" {
			t.Errorf("%s has %d, and then %q", c.path, len(all), next)
		}
		for _, limit := range []int{1, 7, 200, 225, 450, 999, 1000, 1250, 2499, 2500, 2501, 1_000_000} {
			if limit == 1 && c.n > 450 {
				continue
			}
			var got []string
			asked := 0
			for after := "start"; after != ""; asked++ {
				path := fmt.Sprintf("%s&limit=%d", c.path, limit)
				if after != "start" {
					path += "&after=" + after
				}
				if !strings.Contains(path, "?") {
					path = strings.Replace(path, "&", "?", 1)
				}
				var part []string
				part, after = f.page(path, c.key)
				if len(part) > limit {
					t.Errorf("%s has %d", path, len(part))
				}
				got = append(got, part...)
			}
			if !slices.Equal(got, all) || asked != (c.n+limit-1)/limit {
				t.Errorf("%s in pages of %d: %d in %d pages", c.path, limit, len(got), asked)
			}
		}
	}
}

// page returns the elements of a list, in JSON, and where it goes on.
func (f *face) page(path, key string) (elements []string, next string) {
	f.t.Helper()
	status, body := f.ask("GET", path)
	var answer map[string]json.RawMessage
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 {
		f.t.Fatalf("%s: %d %v", path, status, err)
	}
	if err := json.Unmarshal(answer[key], &list); err != nil {
		f.t.Fatal(err)
	}
	if answer["next"] != nil {
		if err := json.Unmarshal(answer["next"], &next); err != nil || next == "" {
			f.t.Fatalf("%s goes on at %s", path, answer["next"])
		}
	}
	for _, e := range list {
		elements = append(elements, string(e))
	}
	return elements, next
}

func TestReady(t *testing.T) {
	f := newFace(t)
	for _, path := range []string{"/ready", "/live", "/ping"} {
		f.expect(path, "OK")
	}
	f.stopping = func() bool { return true }
	f.expect("/live", "OK")
	if status, got := f.ask("GET", "/ready"); status != 503 || got != "STOPPING: this lookupd is about to end; ask another" {
		t.Errorf("%d %s", status, got)
	}
}

// /debug shows all that there is, with NSQ's keys, and what NSQ does not have only
// if it says something.
func TestDebug(t *testing.T) {
	f := newFace(t)
	a := f.join("a", func(p *protocol.PeerInfo) { p.Instance = "i1" })
	b := f.join("b", func(p *protocol.PeerInfo) { p.Extended, p.Instance, p.State = false, "", "" })
	f.register(a,
		registry.Registration{Topic: "t", Generation: 7, Paused: true}, registry.Registration{Topic: "t", Channel: "c", Generation: 7},
		registry.Registration{Topic: "t", Channel: "d", Generation: 7, Paused: true})
	f.register(b, registry.Registration{Topic: "t", Channel: "c"}, registry.Registration{Topic: "u"})
	f.dir.change(func(r *registry.Registry, _ time.Time) { r.SetState(a, protocol.PeerFailing) })
	f.ask("POST", "/topic/tombstone?topic=u&node=b:4151")
	again := f.join("c", nil)
	f.register(again, registry.Registration{Topic: "u", Generation: 1})
	f.join("c", nil)
	f.ask("POST", "/topic/create?topic=nobody")
	f.dir.change(func(r *registry.Registry, now time.Time) { r.Leave(a, now, 100) })

	status, body := f.ask("GET", "/debug")
	var got map[string][]map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%d %v %s", status, err, body)
	}
	shown := make(map[string]string)
	for key, entries := range got {
		for _, e := range entries {
			shown[key] += fmt.Sprintf("[%v", e["broadcast_address"])
			if e["last_update"].(float64) < 1e18 || (e["tombstoned_at"].(float64) > 1e18) != e["tombstoned"].(bool) {
				t.Errorf("%s has %v", key, e)
			}
			for _, name := range []string{"id", "hostname", "tcp_port", "http_port", "version", "topology_zone", "topology_region"} {
				if _, has := e[name]; !has {
					t.Errorf("%s lacks %s", key, name)
				}
			}
			for _, name := range []string{"generation", "tombstoned", "instance", "state", "paused", "away", "superseded"} {
				if v, has := e[name]; has && v != false && v != 0.0 {
					shown[key] += fmt.Sprintf(" %s:%v", name, v)
				}
			}
			shown[key] += "]"
		}
	}
	for key, want := range map[string]string{
		"client::":    "[b][c instance:c superseded:true][c instance:c]",
		"topic:t:":    "[a generation:7 instance:i1 state:failing paused:true away:true][b]",
		"channel:t:c": "[a generation:7 instance:i1 state:failing away:true][b]",
		"channel:t:d": "[a generation:7 instance:i1 state:failing paused:true away:true]",
		"topic:u:":    "[b tombstoned:true][c generation:1 instance:c superseded:true]",
	} {
		if shown[key] != want {
			t.Errorf("%s is %s, want %s", key, shown[key], want)
		}
		delete(shown, key)
	}
	if len(shown) > 0 {
		t.Errorf("further there are %v", shown)
	}
}

func TestMetrics(t *testing.T) {
	f := newFace(t)
	for i, state := range []protocol.PeerState{"ready", "draining", "failing", "", "ready"} {
		f.register(f.join(fmt.Sprint("h", i), func(p *protocol.PeerInfo) { p.State = state }), registry.Registration{Topic: "t", Channel: "c", Generation: 1})
	}
	f.join("h0", nil)
	f.ask("POST", "/topic/tombstone?topic=t&node=h0:4151")
	f.ask("GET", "/nowhere")
	_, got := f.ask("GET", "/metrics")
	for _, want := range []string{
		`daemons{state="ready"} 2`, `daemons{state="draining"} 1`, `daemons{state="failing"} 1`, `daemons{state="unsaid"} 1`,
		`daemons{state="superseded"} 1`, `daemons{state="inactive"} 0`, `topics 1`, `channels 1`, `registrations 5`,
		`http_requests_total{code="404",path="_other"} 1`, `http_requests_total{code="200",path="/topic/tombstone"} 1`,
		`http_request_duration_seconds_count{path="/topic/tombstone"} 1`,
	} {
		if !strings.Contains(got, "\nmillrace_lookupd_"+want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}
