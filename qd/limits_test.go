package qd_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/qd"
	"github.com/millrace-mq/millrace/qd/broker"
)

// said is an answer over HTTP.
type said struct {
	status int
	body   string
	retry  string
}

func over(t *testing.T, d *qd.Daemon, method, path, body string) said {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+d.HTTPAddr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return send(t, req)
}

func send(t *testing.T, req *http.Request) said {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return said{r.StatusCode, string(text), r.Header.Get("Retry-After")}
}

// Publishing too fast over HTTP is answered 429, with when to try again, and then it works.
func TestRateOverHTTP(t *testing.T) {
	s := settings(t)
	s.MaxPublishBytes = 1000
	d, stop := start(t, s)
	defer stop()
	if got := over(t, d, "POST", "/mpub?topic=t", strings.Repeat("x", 1000)+"\n"+strings.Repeat("y", 1500)); got.status != 200 {
		t.Fatalf("a batch larger than a second's worth: %+v", got)
	}
	for _, path := range []string{"/pub?topic=t", "/pub?topic=t&defer=10", "/mpub?topic=t"} {
		got := over(t, d, "POST", path, "x")
		seconds, err := strconv.Atoi(got.retry)
		if got.status != 429 || err != nil || seconds < 1 || seconds > 2 ||
			!strings.HasPrefix(got.body, `{"message":"RATE_LIMITED: topic t takes 1000 bytes a second; again in `) {
			t.Errorf("%s: %+v", path, got)
		}
	}
	if got := over(t, d, "POST", "/pub?topic=u", "x"); got.status != 200 {
		t.Errorf("another topic: %+v", got)
	}
	began := time.Now()
	for got := (said{}); got.status != 200; {
		if got = over(t, d, "POST", "/pub?topic=t", "x"); time.Since(began) > 30*time.Second {
			t.Fatalf("after 30 s still %+v", got)
		}
		if got.retry != "" {
			seconds, _ := strconv.Atoi(got.retry)
			time.Sleep(time.Duration(seconds) * time.Second) // a real daemon says how long, and is believed
		}
	}
	if n := refusals(t, d)["topic_bytes"]; n < 3 {
		t.Errorf("%d refusals are counted", n)
	}
}

// Copies are publishes like others: who may not publish faster, nor create more topics, cannot
// do so by copying. What is copied before it is too early is told, and where it goes on.
func TestCopiesAreLimited(t *testing.T) {
	s := settings(t)
	s.Durability = broker.Memory
	d, stop := start(t, s)
	defer stop()
	for _, path := range []string{"/topic/create?topic=from", "/channel/create?topic=from&channel=c"} {
		if got := over(t, d, "POST", path, ""); got.status != 200 {
			t.Fatalf("%s: %+v", path, got)
		}
	}
	over(t, d, "POST", "/mpub?topic=from", strings.Repeat("x\n", 2500))
	for key, value := range map[string]string{"max_publish_messages_per_second": "10", "client_max_topics": "1"} {
		if got := over(t, d, "PUT", "/config/"+key, value); got.status != 200 {
			t.Fatalf("%+v", got)
		}
	}
	const all = "/message/copy?topic=from&channel=c&all=true&state=ready&to="
	var done struct {
		Count int
		More  bool
		Next  string
	}
	got := over(t, d, "POST", all+"to", "")
	if err := json.Unmarshal([]byte(got.body), &done); err != nil || got.status != 200 || done.Count != 1000 || !done.More || done.Next == "" {
		t.Fatalf("%+v", got)
	}
	got = over(t, d, "POST", all+"to&after="+done.Next, "")
	if got.status != 429 || got.retry == "" || !strings.Contains(got.body, "RATE_LIMITED: topic to takes 10 messages a second") {
		t.Errorf("at once: %+v", got)
	}
	got = over(t, d, "POST", all+"other", "")
	if got.status != 429 || !strings.Contains(got.body, "TOO_MANY_TOPICS") {
		t.Errorf("to a topic too many: %+v", got)
	}
	if stats := over(t, d, "GET", "/stats?format=json", "").body; strings.Contains(stats, `"other"`) || !strings.Contains(stats, `"message_count":1000,`) {
		t.Errorf("there is %s", stats)
	}
	if got := over(t, d, "PUT", "/config/max_publish_messages_per_second", "0"); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	if got := over(t, d, "POST", all+"to&after="+done.Next, ""); got.status != 200 || !strings.Contains(got.body, `"count":1500`) {
		t.Errorf("without limit: %+v", got)
	}
}

// overAs is a POST with a token; who is nobody has none.
func overAs(t *testing.T, d *qd.Daemon, who, path, body string) said {
	t.Helper()
	req, err := http.NewRequest("POST", "http://"+d.HTTPAddr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if who != "" {
		req.Header.Set("Authorization", "Bearer "+who)
	}
	return send(t, req)
}

// publishAs publishes over TCP with a token, and returns all that is answered.
func publishAs(t *testing.T, d *qd.Daemon, who, topic string) string {
	t.Helper()
	conn, err := net.Dial("tcp", d.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = fmt.Fprintf(conn, "  V2AUTH\n\x00\x00\x00%c%sPUB %s\n\x00\x00\x00\x01x", len(who), who, topic)
	_ = conn.(*net.TCPConn).CloseWrite()
	text, _ := io.ReadAll(conn)
	return string(text)
}

// Who has proved who he is has one account however he comes, and none with others from there.
func TestNamedClient(t *testing.T) {
	s := settings(t)
	s.AccessFile = rules(t, "[[rule]]\nwho = [\"billing\", \"ops\", \"anyone\"]\nrights = [\"publish\"]\n", "billing", "ops")
	s.ClientMaxPublishMessages = 1
	d, stop := start(t, s)
	defer stop()
	if got := overAs(t, d, "billing", "/mpub?topic=b", strings.Repeat("x\n", 1000)); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	const early = `RATE_LIMITED: client "billing" may publish 1 messages a second; again in `
	if got := overAs(t, d, "billing", "/pub?topic=b", "x"); got.status != 429 || !strings.Contains(got.body, strings.ReplaceAll(early, `"`, `\"`)) {
		t.Errorf("over HTTP: %+v", got)
	}
	if got := publishAs(t, d, "billing", "b"); !strings.Contains(got, early) {
		t.Errorf("over TCP: %q", got)
	}
	for _, who := range []string{"ops", ""} {
		if got := overAs(t, d, who, "/pub?topic=b", "x"); got.status != 200 {
			t.Errorf("%q: %+v", who, got)
		}
	}
}

// Likewise with what he creates.
func TestNamedCreator(t *testing.T) {
	s := settings(t)
	s.AccessFile = rules(t, "[[rule]]\nwho = [\"billing\", \"ops\"]\nrights = [\"publish\"]\n", "billing", "ops")
	s.ClientMaxTopics = 1
	d, stop := start(t, s)
	defer stop()
	const most = `TOO_MANY_TOPICS: client "billing" has created 1 topics, as many as it may (client-max-topics)`
	if got := publishAs(t, d, "billing", "a"); !strings.HasSuffix(got, "OK") {
		t.Errorf("the first: %q", got)
	}
	if got := overAs(t, d, "billing", "/pub?topic=b", "x"); got.status != 429 || got.body != fmt.Sprintf(`{"message":%q}`, most) {
		t.Errorf("over HTTP: %+v", got)
	}
	if got := publishAs(t, d, "billing", "b"); !strings.Contains(got, "E_PUB_FAILED PUB failed "+most) {
		t.Errorf("over TCP: %q", got)
	}
	if got := overAs(t, d, "ops", "/pub?topic=b", "x"); got.status != 200 {
		t.Errorf("another client: %+v", got)
	}
}

// refusals is what /stats says was refused; /metrics must not say otherwise.
func refusals(t *testing.T, d *qd.Daemon) map[string]int {
	t.Helper()
	var stats struct {
		Node struct {
			Limits struct{ Refused map[string]int }
		}
	}
	if err := json.Unmarshal([]byte(over(t, d, "GET", "/stats?format=json", "").body), &stats); err != nil {
		t.Fatal(err)
	}
	metrics := over(t, d, "GET", "/metrics", "").body
	for what, n := range stats.Node.Limits.Refused {
		if line := fmt.Sprintf("millrace_limited_total{limit=%q} %d\n", what, n); !strings.Contains(metrics, line) {
			t.Errorf("/metrics has no line %q", line)
		}
	}
	return stats.Node.Limits.Refused
}

// Creations count whichever way something is created.
func TestCreationsOverHTTP(t *testing.T) {
	s := settings(t)
	s.ClientMaxTopics, s.ClientMaxChannels = 3, 1
	d, stop := start(t, s)
	defer stop()
	for _, c := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"/topic/create?topic=a", "", 200, ""},
		{"/topic/create?topic=a", "", 200, ""},
		{"/pub?topic=b", "x", 200, "OK"},
		{"/mpub?topic=c", "x", 200, "OK"},
		{"/topic/create?topic=d", "", 429, `{"message":"TOO_MANY_TOPICS: client 127.0.0.1 has created 3 topics, as many as it may (client-max-topics)"}`},
		{"/pub?topic=d", "x", 429, `{"message":"TOO_MANY_TOPICS: client 127.0.0.1 has created 3 topics, as many as it may (client-max-topics)"}`},
		{"/pub?topic=c", "x", 200, "OK"},
		{"/channel/create?topic=a&channel=x", "", 200, ""},
		{"/channel/create?topic=a&channel=x", "", 200, ""},
		{"/channel/create?topic=a&channel=y", "", 429, `{"message":"TOO_MANY_CHANNELS: client 127.0.0.1 has created 1 channels, as many as it may (client-max-channels)"}`},
		{"/channel/create?topic=none&channel=y", "", 404, `{"message":"TOPIC_NOT_FOUND"}`},
		{"/topic/delete?topic=a", "", 200, ""},
		{"/pub?topic=d", "x", 200, "OK"},
		{"/channel/create?topic=d&channel=y", "", 200, ""},
	} {
		if got := over(t, d, "POST", c.path, c.body); got.status != c.status || got.body != c.says {
			t.Errorf("%s: %d %s", c.path, got.status, got.body)
		}
	}
	if got := over(t, d, "GET", "/stats?format=json&topic=none", ""); strings.Contains(got.body, `"none"`) {
		t.Errorf("a refused creation left something: %s", got.body)
	}
	if n := refusals(t, d); n["client_topics"] != 2 || n["client_channels"] != 1 {
		t.Errorf("counted %v", n)
	}
}

// Limits change while the daemon runs; a higher one forgives what is owed.
func TestLimitsChange(t *testing.T) {
	s := settings(t)
	s.MaxPublishMessages = 1
	d, stop := start(t, s)
	defer stop()
	over(t, d, "POST", "/mpub?topic=t", strings.Repeat("x\n", 1000))
	if got := over(t, d, "POST", "/pub?topic=t", "x"); got.status != 429 || got.retry == "" {
		t.Fatalf("%+v", got)
	}
	if got := over(t, d, "PUT", "/config/max_publish_messages_per_second", "1000"); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	if got := over(t, d, "POST", "/pub?topic=t", "x"); got.status != 200 {
		t.Errorf("under a higher limit: %+v", got)
	}
	for _, bad := range []string{"-1", "x", "1.5"} {
		if got := over(t, d, "PUT", "/config/max_connections", bad); got.status != 400 {
			t.Errorf("max_connections %s: %+v", bad, got)
		}
	}
	if got := over(t, d, "GET", "/config/max_publish_messages_per_second", ""); got.body != "1000" {
		t.Errorf("told as %+v", got)
	}
}

// TestLimitsAreValidated wants every limit complained of that is below 0.
func TestLimitsAreValidated(t *testing.T) {
	s := settings(t)
	s.MaxConnections, s.MaxConnectionsPerAddress, s.ClientMaxTopics, s.ClientMaxChannels = -1, -1, -1, -1
	s.MaxPublishBytes, s.MaxPublishMessages, s.ClientMaxPublishBytes, s.ClientMaxPublishMessages = -1, -1, -1, -1
	err := s.Validate()
	if err == nil || strings.Count(err.Error(), "must be 0 or more") != 8 {
		t.Errorf("%v", err)
	}
}

// A daemon whose TCP connections are used up can still be looked at, and told otherwise.
func TestFullOfOneKind(t *testing.T) {
	s := settings(t)
	s.MaxConnections = 1
	d, stop := start(t, s)
	defer stop()
	c := subscribe(t, d)
	defer c.conn.Close()
	second, err := net.Dial("tcp", d.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	_ = second.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(second, "  V2IDENTIFY\n\x00\x00\x00\x02{}")
	if text, _ := io.ReadAll(second); !strings.Contains(string(text), "E_INVALID TOO_MANY_CONNECTIONS: there are 1 already (max-connections)") {
		t.Errorf("one too many is told %q", text)
	}
	if got := over(t, d, "PUT", "/config/max_connections", "2"); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	third := subscribe(t, d)
	defer third.conn.Close()
}
