package api_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
)

const (
	mustLevel = "must be memory, disk or fsync, or empty for the daemon's"
	mustCount = "must be a whole number, or 0 for none"
	mustAge   = "must be a duration such as 24h or 30m, or 0 for none"

	needsLog   = "NEEDS_LOG: the topic keeps no log: its durability is memory"
	levelFixed = "LEVEL_FIXED: the level of a topic cannot be changed from or to memory: create it anew"
)

// policyText is the answer for topic t.
func policyText(level, source, age, bytes, messages, maxBytes, overflow string) string {
	return `{"topic_name":"t","durability":"` + level + `","durability_set":"` + source + `","retention_age":` + age +
		`,"retention_bytes":` + bytes + `,"max_messages":` + messages + `,"max_bytes":` + maxBytes + `,"overflow":"` + overflow + `"}`
}

func TestTopicPolicy(t *testing.T) {
	d := logged(t)
	plain := policyText("disk", "daemon", "0", "0", "0", "0", "reject")
	d.expect("POST", "/topic/create?topic=t", nil, 200, "")
	d.expect("GET", "/topic/policy?topic=t", nil, 200, plain)
	for _, step := range []struct{ path, want string }{
		{"/topic/policy?topic=t&durability=fsync", policyText("fsync", "topic", "0", "0", "0", "0", "reject")},
		{"/topic/policy?topic=t&retention_age=24h&max_messages=5", policyText("fsync", "topic", "86400000000000", "0", "5", "0", "reject")},
		{"/topic/policy?topic=t&overflow=drop-oldest&max_bytes=7&retention_bytes=9", policyText("fsync", "topic", "86400000000000", "9", "5", "7", "drop-oldest")},
		{"/topic/policy?topic=t&durability=", policyText("disk", "daemon", "86400000000000", "9", "5", "7", "drop-oldest")},
		{"/topic/create?topic=t&durability=disk&max_messages=6", policyText("disk", "topic", "86400000000000", "9", "6", "7", "drop-oldest")},
		{"/topic/create?topic=t", policyText("disk", "topic", "86400000000000", "9", "6", "7", "drop-oldest")},
		{
			"/topic/policy?topic=t&durability=&retention_age=0&retention_bytes=0&max_messages=0&max_bytes=0&overflow=reject", plain,
		},
	} {
		d.expect("POST", step.path, nil, 200, "")
		d.expect("GET", "/topic/policy?topic=t", nil, 200, step.want)
	}
}

func TestTopicCreatedWithPolicy(t *testing.T) {
	for query, want := range map[string]string{
		"durability=memory&max_messages=3": policyText("memory", "topic", "0", "0", "3", "0", "reject"),
		"durability=fsync&retention_age=90s&retention_bytes=9223372036854775807&max_bytes=7&overflow=drop-oldest": policyText(
			"fsync", "topic", "90000000000", "9223372036854775807", "0", "7", "drop-oldest"),
		"durability=": policyText("disk", "daemon", "0", "0", "0", "0", "reject"),
	} {
		d := logged(t)
		d.expect("POST", "/topic/create?topic=t&"+query, nil, 200, "")
		d.expect("GET", "/topic/policy?topic=t", nil, 200, want)
		d.expect("POST", "/pub?topic=t", "x", 200, "OK")
	}
}

// What is refused changes nothing, whatever else is asked for with it.
func TestTopicPolicyRefused(t *testing.T) {
	d := logged(t)
	d.expect("POST", "/topic/create?topic=t&max_messages=5", nil, 200, "")
	d.expect("POST", "/topic/create?topic=m&durability=memory", nil, 200, "")
	d.expect("POST", "/topic/create?topic=e%23ephemeral", nil, 200, "")
	for _, c := range []struct {
		query  string
		status int
		word   string
	}{
		{"max_messages=1", 400, "MISSING_ARG_TOPIC"},
		{"topic=a/b&max_messages=1", 400, "INVALID_TOPIC"},
		{"topic=t&max_messages=1&durability=tape", 400, "INVALID_DURABILITY: " + mustLevel},
		{"topic=t&max_messages=1&retention_age=24", 400, "INVALID_RETENTION_AGE: " + mustAge},
		{"topic=t&max_messages=1&retention_age=-1s", 400, "INVALID_RETENTION_AGE: " + mustAge},
		{"topic=t&max_messages=1&retention_age=", 400, "INVALID_RETENTION_AGE: " + mustAge},
		{"topic=t&max_messages=1&retention_bytes=1GB", 400, "INVALID_RETENTION_BYTES: " + mustCount},
		{"topic=t&max_messages=1&retention_bytes=9223372036854775808", 400, "INVALID_RETENTION_BYTES: " + mustCount},
		{"topic=t&durability=fsync&max_messages=-1", 400, "INVALID_MAX_MESSAGES: " + mustCount},
		{"topic=t&durability=fsync&max_messages=%2B1", 400, "INVALID_MAX_MESSAGES: " + mustCount},
		{"topic=t&durability=fsync&max_messages=", 400, "INVALID_MAX_MESSAGES: " + mustCount},
		{"topic=t&max_messages=1&max_bytes=1e3", 400, "INVALID_MAX_BYTES: " + mustCount},
		{"topic=t&max_messages=1&overflow=", 400, "INVALID_OVERFLOW: must be reject or drop-oldest"},
		{"topic=t&max_messages=1&overflow=drop", 400, "INVALID_OVERFLOW: must be reject or drop-oldest"},
		{"topic=t&max_messages=1&durability=memory", 409, levelFixed},
		{"topic=m&max_messages=1&durability=disk", 409, levelFixed},
		{"topic=m&max_messages=1&retention_age=1h", 409, needsLog},
		{"topic=m&max_messages=1&retention_bytes=1", 409, needsLog},
		{"topic=m&max_messages=1&overflow=drop-oldest", 409, needsLog},
		{"topic=e%23ephemeral&max_messages=1&durability=disk", 409, "LEVEL_FIXED: an ephemeral topic is in memory only"},
		{"topic=e%23ephemeral&max_messages=1&retention_age=1h", 409, needsLog},
	} {
		for _, path := range []string{"/topic/policy?", "/topic/create?"} {
			d.expect("POST", path+c.query, nil, c.status, code(c.word))
		}
	}
	for query, word := range map[string]string{
		"durability=tape":                    "INVALID_DURABILITY: " + mustLevel,
		"durability=memory&retention_age=1h": needsLog,
	} {
		w := d.send("POST", "/topic/create?topic=new&"+query, nil)
		if w.Code < 400 || w.Body.String() != code(word) {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	d.expect("POST", "/topic/create?topic=n%23ephemeral&durability=fsync", nil, 409, code("LEVEL_FIXED: an ephemeral topic is in memory only"))
	d.expect("POST", "/topic/policy?topic=t&max_message=1", nil, 400,
		code("MISSING_ARG: name at least one of durability, retention_age, retention_bytes, max_messages, max_bytes, overflow"))
	d.expect("POST", "/topic/policy?topic=none&max_messages=1", nil, 404, code("TOPIC_NOT_FOUND"))
	d.expect("GET", "/topic/policy?topic=none", nil, 404, code("TOPIC_NOT_FOUND"))
	d.expect("GET", "/topic/policy", nil, 400, code("MISSING_ARG_TOPIC"))
	d.expect("PUT", "/topic/policy?topic=t&max_messages=1", nil, 405, code("METHOD_NOT_ALLOWED"))

	d.expectTopics("e#ephemeral", "m", "t")
	d.expect("GET", "/topic/policy?topic=t", nil, 200, policyText("disk", "daemon", "0", "0", "5", "0", "reject"))
	for _, name := range []string{"m", "e%23ephemeral"} {
		if got := d.send("GET", "/topic/policy?topic="+name, nil).Body.String(); !strings.Contains(got, `"durability":"memory","durability_set":"topic"`) ||
			!strings.Contains(got, `"max_messages":0`) {
			t.Errorf("policy of %s: %s", name, got)
		}
	}
}

// What does not concern the level can be set for topics of any, and of any that
// the daemon may have had.
func TestBoundsOfTopicsWithoutLog(t *testing.T) {
	m := newMedium(t)
	d := m.start(t, func(s *broker.Settings, _ *api.Config) { s.Durability = broker.Memory })
	d.expect("POST", "/topic/create?topic=t", nil, 200, "")
	d.stop()
	d = m.start(t, nil)
	d.expect("GET", "/topic/policy?topic=t", nil, 200, policyText("memory", "topic", "0", "0", "0", "0", "reject"))
	d.expect("POST", "/topic/policy?topic=t&max_messages=2", nil, 200, "")
	d.expect("POST", "/topic/policy?topic=t&durability=disk", nil, 409, code(levelFixed))
	d.expect("POST", "/topic/policy?topic=t&durability=memory", nil, 200, "")
	d.expect("GET", "/topic/policy?topic=t", nil, 200, policyText("memory", "topic", "0", "0", "2", "0", "reject"))
	d.expect("POST", "/topic/create?topic=e%23ephemeral&max_messages=1", nil, 200, "")
}

// Two operators set two things at the same time, and both are set.
func TestPoliciesSetTogether(t *testing.T) {
	d := logged(t)
	d.topic("t")
	for range 50 {
		d.do("/topic/policy?topic=t&max_messages=0&max_bytes=0", nil)
		var both sync.WaitGroup
		for _, query := range []string{"max_messages=1", "max_bytes=1"} {
			both.Go(func() { d.expect("POST", "/topic/policy?topic=t&"+query, nil, 200, "") })
		}
		both.Wait()
		if p := d.topic("t").Policy(); p.MaxMessages != 1 || p.MaxBytes != 1 {
			t.Fatalf("%+v", p)
		}
	}
}

func TestChannelPolicy(t *testing.T) {
	const must = "INVALID_MAX_ATTEMPTS: must be a number from 0 to 65535"
	for name, d := range map[string]*daemon{"memory": start(t, nil), "disk": logged(t)} {
		t.Run(name, func(t *testing.T) {
			d.topic("t")
			limit := func(want string) {
				t.Helper()
				d.expect("GET", "/channel/policy?topic=t&channel=c", nil, 200, `{"topic_name":"t","channel_name":"c","max_attempts":`+want+`}`)
			}
			d.expect("POST", "/channel/create?topic=t&channel=c&max_attempts=3", nil, 200, "")
			limit("3")
			d.expect("POST", "/channel/create?topic=t&channel=c", nil, 200, "")
			limit("3")
			d.expect("POST", "/channel/create?topic=t&channel=c&max_attempts=4", nil, 200, "")
			limit("4")
			d.expect("POST", "/channel/policy?topic=t&channel=c&max_attempts=65535", nil, 200, "")
			limit("65535")
			for query, word := range map[string]string{
				"channel=c&max_attempts=1":             "MISSING_ARG_TOPIC",
				"topic=t&max_attempts=1":               "MISSING_ARG_CHANNEL",
				"topic=a/b&channel=c&max_attempts=1":   "INVALID_ARG_TOPIC",
				"topic=t&channel=a/b&max_attempts=1":   "INVALID_ARG_CHANNEL",
				"topic=t&channel=c&max_attempts=":      must,
				"topic=t&channel=c&max_attempts=-1":    must,
				"topic=t&channel=c&max_attempts=65536": must,
				"topic=t&channel=c&max_attempts=x":     must,
			} {
				d.expect("POST", "/channel/policy?"+query, nil, 400, code(word))
				d.expect("POST", "/channel/create?"+query, nil, 400, code(word))
			}
			d.expect("POST", "/channel/create?topic=t&channel=new&max_attempts=x", nil, 400, code(must))
			d.expect("POST", "/channel/policy?topic=t&channel=c", nil, 400, code("MISSING_ARG_MAX_ATTEMPTS"))
			for _, method := range []string{"GET", "POST"} {
				d.expect(method, "/channel/policy?topic=t&channel=new&max_attempts=1", nil, 404, code("CHANNEL_NOT_FOUND"))
				d.expect(method, "/channel/policy?topic=none&channel=c&max_attempts=1", nil, 404, code("TOPIC_NOT_FOUND"))
			}
			limit("65535")
			d.expect("POST", "/channel/policy?topic=t&channel=c&max_attempts=0", nil, 200, "")
			limit("0")
		})
	}
}
