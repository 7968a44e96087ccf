package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
)

// atLevels runs a test for a topic of level memory and one of level disk.
func atLevels(t *testing.T, test func(t *testing.T, d *daemon)) {
	for name, start := range map[string]func(t *testing.T) *daemon{
		"memory": func(t *testing.T) *daemon { return start(t, nil) },
		"disk":   func(t *testing.T) *daemon { return logged(t) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, start(t)) })
		})
	}
}

// spread leaves channel c of topic t with messages in every state: a and b are
// never delivered, r was requeued, h is held by "holder", w waits since it was
// requeued, l since its publish, and x is dead.
func spread(d *daemon) {
	d.do("/topic/create?topic=t", nil)
	d.do("/channel/create?topic=t&channel=c", nil)
	d.do("/mpub?topic=t", "x\nr\nh\nw\na\nb")
	d.do("/pub?topic=t&defer=60000", "l")
	k := d.read("t", "c", "holder", time.Minute)
	got := k.take(4)
	d.do("/channel/policy?topic=t&channel=c&max_attempts=1", nil)
	k.requeue(got[0], 0)
	d.do("/channel/policy?topic=t&channel=c&max_attempts=5", nil)
	k.requeue(got[1], 0)
	k.requeue(got[3], 10*time.Second)
}

func TestMessagesInEachState(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		now := time.Now().UnixNano()
		spread(d)
		for state, want := range map[string][]string{
			"ready":     {"r ready 1 requeued 0 0 0", "a ready 0  0 0 0", "b ready 0  0 0 0"},
			"in_flight": {"h in_flight 1  0 60 0"},
			"deferred":  {"w deferred 1 requeued 10 0 0", "l deferred 0  60 0 0"},
			"dead":      {"x dead 1 requeued 0 0 7"},
		} {
			var got []string
			for _, m := range d.look(state) {
				if m.Timestamp != now || m.Size != 1 || m.Body == nil || m.Truncated || m.Unreadable {
					t.Errorf("%s: %+v", state, m)
					continue
				}
				seconds := func(at int64) int64 {
					if at == 0 {
						return 0
					}
					return (at - now) / int64(time.Second)
				}
				died := int64(0)
				if m.Died == now {
					died = 7
				}
				got = append(got, fmt.Sprint(*m.Body, " ", m.State, " ", m.Attempts, " ", m.Reason, " ", seconds(m.Due), seconds(m.Deadline), died))
				if holds := m.Client != nil; holds != (state == "in_flight") || holds &&
					(m.Client.ID != "holder" || m.Client.Hostname != "holder.example" || m.Client.RemoteAddress != "192.0.2.1:50001") {
					t.Errorf("%s: held by %+v", state, m.Client)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s:\n%q, want\n%q", state, got, want)
			}
		}
	})
}

// Looking changes nothing that /stats shows.
func TestLookingChangesNothing(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		spread(d)
		stats := func() string {
			text := d.send("GET", "/stats?format=json&include_mem=false", nil).Body.String()
			return strings.Split(text, `"node"`)[0] // the disk is looked at all the time
		}
		before := stats()
		for _, state := range []string{"ready", "in_flight", "deferred", "dead"} {
			for _, m := range d.look(state) {
				want := 200
				if state == "ready" && m.Attempts == 0 && d.topic("t").Level() == broker.Memory {
					want = 404 // nobody knows where those are that were never delivered
				}
				if w := d.send("GET", "/message?topic=t&id="+m.ID, nil); w.Code != want {
					t.Errorf("%s, %s: %d %s", state, *m.Body, w.Code, w.Body)
				}
			}
		}
		if after := stats(); after != before {
			t.Errorf("was %s\nis  %s", before, after)
		}
	})
}

func TestPages(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		d.do("/topic/create?topic=t", nil)
		d.do("/channel/create?topic=t&channel=c", nil)
		var all []string
		for i := range 1200 {
			all = append(all, fmt.Sprint(i))
		}
		d.do("/mpub?topic=t", strings.Join(all, "\n"))
		k := d.read("t", "c", "k", time.Minute)
		k.take(300)
		for _, c := range []struct {
			state string
			want  []string
		}{{"in_flight", all[:300]}, {"ready", all[300:]}, {"dead", nil}} {
			for _, query := range []string{"", "&limit=1000", "&limit=299", "&limit=300", "&limit=7"} {
				limit := 100
				if query != "" {
					fmt.Sscanf(query, "&limit=%d", &limit)
				}
				var got []string
				after, pages := "", 0
				for {
					var p seenPage
					d.get("/channel/messages?topic=t&channel=c&state="+c.state+query+after, &p)
					for _, m := range p.Messages {
						got = append(got, *m.Body)
					}
					pages++
					if p.Next == "" {
						break
					}
					if len(p.Messages) != limit || p.Next != p.Messages[limit-1].ID {
						t.Fatalf("%d messages on a page that is not the last, and %s is next", len(p.Messages), p.Next)
					}
					after = "&after=" + p.Next
				}
				if !slices.Equal(got, c.want) || pages != max(1, (len(c.want)+limit-1)/limit) {
					t.Errorf("%s%s: %d messages on %d pages, want %d", c.state, query, len(got), pages, len(c.want))
				}
			}
		}
	})
}

// A page ends early rather than take memory without bound.
func TestPagesAreBounded(t *testing.T) {
	const large = 64 << 10
	d := newMedium(t).start(t, func(_ *broker.Settings, c *api.Config) { c.MaxMsgSize, c.PageBytes = large, 16*large })
	topic := d.topic("t")
	d.do("/channel/create?topic=t&channel=c", nil)
	for range 20 {
		if err := topic.Publish([][]byte{make([]byte, large)}); err != nil {
			t.Fatal(err)
		}
	}
	const path = "/channel/messages?topic=t&channel=c&state=ready&body=1048576"
	var first, second seenPage
	d.get(path, &first)
	n := len(first.Messages)
	if n < 16 || n > 18 {
		t.Errorf("the first page has %d messages", n)
	}
	d.get(path+"&after="+first.Next, &second)
	if n += len(second.Messages); n != 20 || second.Next != "" {
		t.Errorf("%d messages on two pages, then %q", n, second.Next)
	}
}

func TestBodiesShown(t *testing.T) {
	const long = "0123456789é"
	for _, c := range []struct {
		name, body, query  string
		text               string
		bytes              string // in base64
		truncated, notText bool
	}{
		{name: "text", body: "hello\tworld\nü€😀", text: "hello\tworld\nü€😀"},
		{name: "JSON", body: `{"a":"<b>&"}`, text: `{"a":"<b>&"}`},
		{name: "a carriage return", body: "a\r\n", bytes: "a\r\n", notText: true},
		{name: "a zero", body: "a\x00", bytes: "a\x00", notText: true},
		{name: "DEL", body: "\x7f", bytes: "\x7f", notText: true},
		{name: "a control of C1", body: "\u0085", bytes: "\u0085", notText: true},
		{name: "not UTF-8", body: "a\xffb", bytes: "a\xffb", notText: true},
		{name: "UTF-8 that ends early", body: "a\xc3", bytes: "a\xc3", notText: true},
		{name: "whole", body: long, query: "&body=12", text: long},
		{name: "cut within a character", body: long, query: "&body=11", text: "0123456789", truncated: true},
		{name: "cut before a character", body: long, query: "&body=10", text: "0123456789", truncated: true},
		{name: "cut binary", body: "\xff\xfe\xfd", query: "&body=2", bytes: "\xff\xfe", truncated: true, notText: true},
		{name: "nothing of it", body: long, query: "&body=0", text: "", truncated: true},
		{name: "by default", body: strings.Repeat("x", 1025), text: strings.Repeat("x", 1024), truncated: true},
		{name: "all by default", body: strings.Repeat("x", 1024), text: strings.Repeat("x", 1024)},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := logged(t)
			d.topic("t")
			d.do("/channel/create?topic=t&channel=c", nil)
			d.do("/pub?topic=t", c.body)
			check := func(m seen) {
				t.Helper()
				if m.Size != len(c.body) || m.Truncated != c.truncated || m.Unreadable {
					t.Errorf("%+v", m)
				}
				if text := m.Body != nil; text == c.notText || text && *m.Body != c.text || string(m.Base64) != c.bytes {
					t.Errorf("text %t %v, base64 %q", text, m.Body, m.Base64)
				}
			}
			var p seenPage
			d.get("/channel/messages?topic=t&channel=c&state=ready"+c.query, &p)
			if len(p.Messages) != 1 {
				t.Fatalf("%+v", p)
			}
			check(p.Messages[0])
			var one seen
			d.get("/message?topic=t&id="+p.Messages[0].ID+c.query, &one)
			check(one)
		})
	}
}

func TestMessagesRefused(t *testing.T) {
	const (
		mustID    = "must be a message ID of 16 lower-case hex digits"
		mustState = "INVALID_STATE: must be ready, in_flight, deferred or dead"
		mustLimit = "INVALID_LIMIT: must be a number from 1 to 1000"
		mustBody  = "INVALID_BODY: must be a number from 0 to 1048576"
	)
	d := logged(t)
	d.topic("t")
	d.do("/channel/create?topic=t&channel=c", nil)
	for _, c := range []struct {
		path   string
		status int
		word   string
	}{
		{"/channel/messages", 400, "MISSING_ARG_TOPIC"},
		{"/channel/messages?topic=a/b", 400, "INVALID_ARG_TOPIC"},
		{"/channel/messages?topic=t", 400, "MISSING_ARG_CHANNEL"},
		{"/channel/messages?topic=t&channel=a/b", 400, "INVALID_ARG_CHANNEL"},
		{"/channel/messages?topic=t&channel=c", 400, "MISSING_ARG_STATE"},
		{"/channel/messages?topic=t&channel=c&state=", 400, mustState},
		{"/channel/messages?topic=t&channel=c&state=in%20flight", 400, mustState},
		{"/channel/messages?topic=t&channel=c&state=dead&limit=0", 400, mustLimit},
		{"/channel/messages?topic=t&channel=c&state=dead&limit=1001", 400, mustLimit},
		{"/channel/messages?topic=t&channel=c&state=dead&limit=", 400, mustLimit},
		{"/channel/messages?topic=t&channel=c&state=dead&after=1", 400, "INVALID_AFTER: " + mustID},
		{"/channel/messages?topic=t&channel=c&state=dead&after=", 400, "INVALID_AFTER: " + mustID},
		{"/channel/messages?topic=t&channel=c&state=dead&body=1048577", 400, mustBody},
		{"/channel/messages?topic=t&channel=c&state=dead&body=-1", 400, mustBody},
		{"/channel/messages?topic=t&channel=none&state=dead", 404, "CHANNEL_NOT_FOUND"},
		{"/channel/messages?topic=none&channel=c&state=dead", 404, "TOPIC_NOT_FOUND"},
		{"/message", 400, "MISSING_ARG_ID"},
		{"/message?id=0000000000abcdef", 404, "MESSAGE_NOT_FOUND"},
		{"/message?id=abcdef", 400, "INVALID_ID: " + mustID},
		{"/message?topic=&id=0000000000abcdef", 400, "INVALID_TOPIC"},
		{"/message?topic=a/b", 400, "INVALID_TOPIC"},
		{"/message?topic=t", 400, "MISSING_ARG_ID"},
		{"/message?topic=t&id=0000000000ABCDEF", 400, "INVALID_ID: " + mustID},
		{"/message?topic=t&id=0000000000abcdef&body=x", 400, mustBody},
		{"/message?topic=t&id=0000000000abcdef", 404, "MESSAGE_NOT_FOUND"},
		{"/message?topic=none&id=0000000000abcdef", 404, "TOPIC_NOT_FOUND"},
	} {
		d.expect("GET", c.path, nil, c.status, code(c.word))
	}
	d.expect("GET", "/channel/messages?topic=t&channel=c&state=dead", nil, 200, `{"messages":[]}`)
	d.expect("POST", "/channel/messages?topic=t&channel=c&state=dead", nil, 405, code("METHOD_NOT_ALLOWED"))
	d.expect("POST", "/message?topic=t&id=0000000000abcdef", nil, 405, code("METHOD_NOT_ALLOWED"))
}

// One message stands somewhere else in each channel.
func TestMessageInEachChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := logged(t)
		d.do("/topic/create?topic=t&retention_age=1h", nil)
		for _, channel := range []string{"dead", "done", "held", "later", "ready"} {
			d.do("/channel/create?topic=t&channel="+channel, nil)
		}
		d.do("/pub?topic=t", "x")
		id := ""
		for _, channel := range []string{"dead", "done", "held", "later"} {
			k := d.read("t", channel, "k", time.Minute)
			m := k.take(1)[0]
			id = m.ID.String()
			switch channel {
			case "dead":
				d.do("/channel/policy?topic=t&channel=dead&max_attempts=1", nil)
				k.requeue(m, 0)
			case "done":
				k.Finish([]uint64{number(m)}, func(_ int, err error) { t.Error(err) })
			case "later":
				k.requeue(m, time.Hour)
			}
		}
		d.do("/channel/create?topic=t&channel=late", nil)
		golden(t, "message.json", d.send("GET", "/message?topic=t&id="+id, nil))
	})
}
