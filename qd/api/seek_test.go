package api_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

const (
	badPlace = "must be earliest, latest, a message ID of 16 hex digits, or a time (RFC 3339, or milliseconds or nanoseconds since 1970)"
	badStart = "INVALID_START: " + badPlace
)

func TestSeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := logged(t)
		d.do("/topic/create?topic=t&retention_age=24h", nil)
		d.do("/channel/create?topic=t&channel=c", nil)
		k := d.read("t", "c", "k", time.Minute)
		d.do("/mpub?topic=t", "0\n1\n2")
		first := k.take(3)
		k.finish(first)
		time.Sleep(time.Hour)
		at := time.Now()
		d.do("/mpub?topic=t", "3\n4")
		k.finish(k.take(2))
		for _, c := range []struct {
			to   string
			want []string
		}{
			{"earliest", []string{"0", "1", "2", "3", "4"}},
			{"latest", nil},
			{first[1].ID.String(), []string{"1", "2", "3", "4"}},
			{at.UTC().Format(time.RFC3339), []string{"3", "4"}},
			{at.Add(-time.Nanosecond).UTC().Format(time.RFC3339Nano), []string{"3", "4"}},
			{fmt.Sprint(at.UnixMilli()), []string{"3", "4"}},
			{fmt.Sprint(at.UnixNano()), []string{"3", "4"}},
			{fmt.Sprint(at.Add(time.Nanosecond).UnixNano()), nil},
			{"0", []string{"0", "1", "2", "3", "4"}},
		} {
			d.expect("POST", "/channel/seek?topic=t&channel=c&to="+c.to, nil, 200, "")
			if got := k.bodies(len(c.want)); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("after a move to %s: %q, want %q", c.to, got, c.want)
			}
			if left := d.look("ready"); len(left) != 0 {
				t.Errorf("after a move to %s, there are %d more", c.to, len(left))
			}
		}
	})
}

func TestSeekRefused(t *testing.T) {
	d := logged(t)
	for _, create := range []string{"t", "m&durability=memory"} {
		d.do("/topic/create?topic="+create, nil)
	}
	for _, topic := range []string{"t", "m"} {
		d.do("/channel/create?topic="+topic+"&channel=c", nil)
		d.do("/pub?topic="+topic, "x")
	}
	for query, want := range map[string]struct {
		status int
		word   string
	}{
		"channel=c&to=latest":                   {400, "MISSING_ARG_TOPIC"},
		"topic=a/b&channel=c&to=latest":         {400, "INVALID_ARG_TOPIC"},
		"topic=t&to=latest":                     {400, "MISSING_ARG_CHANNEL"},
		"topic=t&channel=a/b&to=latest":         {400, "INVALID_ARG_CHANNEL"},
		"topic=t&channel=c":                     {400, "MISSING_ARG_TO"},
		"topic=t&channel=c&to=":                 {400, "INVALID_TO: " + badPlace},
		"topic=t&channel=c&to=yesterday":        {400, "INVALID_TO: " + badPlace},
		"topic=t&channel=c&to=-1":               {400, "INVALID_TO: " + badPlace},
		"topic=t&channel=c&to=2026-01-01":       {400, "INVALID_TO: " + badPlace},
		"topic=t&channel=c&to=00000000ABCDEF00": {400, "INVALID_TO: " + badPlace},
		"topic=t&channel=c&to=0000000000abcdef": {404, "MESSAGE_NOT_FOUND"},
		"topic=t&channel=none&to=latest":        {404, "CHANNEL_NOT_FOUND"},
		"topic=none&channel=c&to=latest":        {404, "TOPIC_NOT_FOUND"},
		"topic=m&channel=c&to=latest":           {409, needsLog},
	} {
		d.expect("POST", "/channel/seek?"+query, nil, want.status, code(want.word))
	}
	d.expect("GET", "/channel/seek?topic=t&channel=c&to=latest", nil, 405, code("METHOD_NOT_ALLOWED"))
	for _, topic := range []string{"t", "m"} {
		if got := d.drain(topic); fmt.Sprint(got) != "[x]" {
			t.Errorf("%s: %q", topic, got)
		}
	}
}

func TestChannelCreatedAtAPlace(t *testing.T) {
	d := logged(t)
	d.do("/topic/create?topic=t&retention_age=1h", nil)
	d.do("/channel/create?topic=t&channel=c", nil)
	d.do("/mpub?topic=t", "0\n1\n2\n3")
	third := d.look("ready")[2].ID
	for _, c := range []struct {
		start  string
		status int
		answer string
		depth  int // -1: not created
	}{
		{"earliest", 200, "", 4},
		{"latest", 200, "", 0},
		{third, 200, "", 2},
		{"2001-01-01T00:00:00Z", 200, "", 4},
		{"4102444800000", 200, "", 0},
		{"", 400, code(badStart), -1},
		{"first", 400, code(badStart), -1},
		{"7fffffffffffffff", 404, code("MESSAGE_NOT_FOUND"), -1},
	} {
		d.expect("POST", "/channel/create?topic=t&channel=new&start="+c.start, nil, c.status, c.answer)
		depth := -1
		d.topic("t").View(func(core *queue.Topic) {
			if n := core.Channel("new"); n != nil {
				depth = n.Depth()
			}
		})
		if depth != c.depth {
			t.Errorf("start=%s: depth %d, want %d", c.start, depth, c.depth)
		}
		d.send("POST", "/channel/delete?topic=t&channel=new", nil)
	}
	d.expect("POST", "/channel/create?topic=t&channel=c&start=latest", nil, 200, "")
	if n := len(d.look("ready")); n != 4 {
		t.Errorf("a channel that was there has been moved: %d are ready", n)
	}
	d.do("/topic/create?topic=m&durability=memory", nil)
	d.expect("POST", "/channel/create?topic=m&channel=new&start=latest", nil, 409, code(needsLog))
	d.expect("POST", "/channel/create?topic=none&channel=new&start=latest", nil, 404, code("TOPIC_NOT_FOUND"))
	d.expect("POST", "/channel/create?topic=t&channel=new&start=earliest&max_attempts=2", nil, 200, "")
	d.expect("GET", "/channel/policy?topic=t&channel=new", nil, 200, `{"topic_name":"t","channel_name":"new","max_attempts":2}`)
}
