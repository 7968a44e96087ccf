package api_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
)

func TestCopyRefused(t *testing.T) {
	const (
		mustID    = "must be a message ID of 16 lower-case hex digits"
		mustOther = "INVALID_TO: must be another topic than the messages are in, unless one is named by id"
		mustKeep  = "INVALID_TO: must not be an #ephemeral topic, which drops what it has no memory for: copy the messages instead"
		mustState = "INVALID_STATE: must be ready, deferred or dead"
		mustDead  = "INVALID_STATE: must be dead, or left out: no others are moved"
		id        = "0000000000abcdef"
	)
	d := logged(t)
	d.create("t")
	d.do("/pub?topic=t", "x")
	alive := d.look("ready")[0].ID
	for _, c := range []struct {
		act, query string
		status     int
		word       string
	}{
		{"copy", "", 400, "MISSING_ARG_TOPIC"},
		{"copy", "topic=a/b", 400, "INVALID_ARG_TOPIC"},
		{"copy", "topic=t", 400, "MISSING_ARG_CHANNEL"},
		{"copy", "topic=t&channel=c", 400, "MISSING_ARG_TO"},
		{"copy", "topic=t&channel=c&to=a/b&id=" + id, 400, "INVALID_TO: must be the name of a topic"},
		{"copy", "topic=t&channel=c&to=", 400, "INVALID_TO: must be the name of a topic"},
		{"copy", "topic=t&channel=c&to=u", 400, "MISSING_ARG_ID"},
		{"copy", "topic=t&channel=c&to=u&id=1", 400, "INVALID_ID: " + mustID},
		{"copy", "topic=t&channel=c&to=u&all=yes", 400, "INVALID_ALL: must be true, or left out"},
		{"copy", "topic=t&channel=c&to=u&all=true&id=" + id, 400, "INVALID_ALL: cannot be together with id"},
		{"copy", "topic=t&channel=c&to=u&all=true", 400, "MISSING_ARG_STATE"},
		{"copy", "topic=t&channel=c&to=u&all=true&state=in_flight", 400, mustState},
		{"copy", "topic=t&channel=c&to=u&all=true&state=", 400, mustState},
		{"copy", "topic=t&channel=c&to=u&all=true&state=dead&after=1", 400, "INVALID_AFTER: " + mustID},
		{"copy", "topic=t&channel=c&to=t&all=true&state=dead", 400, mustOther},
		{"move", "topic=t&channel=c&to=t&all=true", 400, mustOther},
		{"move", "topic=t&channel=c&to=u%23ephemeral&all=true", 400, mustKeep},
		{"move", "topic=t&channel=c&to=u%23ephemeral&id=" + id, 400, mustKeep},
		{"move", "topic=t&channel=c&to=u&all=true&state=ready", 400, mustDead},
		{"move", "topic=t&channel=c&to=u&all=true&state=", 400, mustDead},
		{"copy", "topic=none&channel=c&to=u&id=" + id, 404, "TOPIC_NOT_FOUND"},
		{"copy", "topic=t&channel=none&to=u&id=" + id, 404, "CHANNEL_NOT_FOUND"},
		{"copy", "topic=t&channel=none&to=u&all=true&state=dead", 404, "CHANNEL_NOT_FOUND"},
		{"copy", "topic=t&channel=c&to=u&id=" + id, 404, "MESSAGE_NOT_FOUND"},
		{"move", "topic=t&channel=c&to=u&id=" + id, 404, "MESSAGE_NOT_FOUND: no dead message has this ID"},
		{"move", "topic=t&channel=c&to=u&id=" + alive, 404, "MESSAGE_NOT_FOUND: no dead message has this ID"},
	} {
		d.expect("POST", "/message/"+c.act+"?"+c.query, nil, c.status, code(c.word))
	}
	d.expect("POST", "/message/move?topic=t&channel=c&to=u&all=true", nil, 200, `{"count":0}`)
	d.expect("GET", "/message/copy?topic=t&channel=c&to=u&id="+alive, nil, 405, code("METHOD_NOT_ALLOWED"))
	d.expectTopics("t") // none of them has made the other one
}

// A daemon that takes no messages takes none that way, and drops none.
func TestCopyDuringADrain(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		d.die(1)
		d.create("to")
		d.do("/channel/create?topic=t&channel=none", nil)
		d.do("/drain?timeout=1h", nil)
		const draining = "DRAINING: this daemon takes no more messages; publish to another"
		for _, query := range []string{"all=true&state=dead", "id=" + d.look("dead")[0].ID} {
			for _, act := range []string{"copy", "move"} {
				d.expect("POST", "/message/"+act+"?topic=t&channel=c&to=to&"+query, nil, 503, code(draining))
			}
		}
		d.expect("POST", "/message/move?topic=t&channel=c&to=to&all=true", nil, 503, code(draining))
		d.expect("POST", "/message/move?topic=t&channel=none&to=to&all=true", nil, 503, code(draining)) // though there is nothing to move
		d.broker.Refuse()
		d.expect("POST", "/message/move?topic=t&channel=c&to=to&all=true", nil, 503, code("EXITING"))
		if n, _ := d.published("to"); n != 0 || len(d.look("dead")) != 1 {
			t.Errorf("%d were published", n)
		}
	})
}

// rights lets each action be done with some topics.
type rights map[access.Action]string

func (r rights) Allow(_ context.Context, _ access.Who, action access.Action, topic, channel string) error {
	if slices.Contains(strings.Fields(r[action]), topic) {
		return nil
	}
	return fmt.Errorf("%s %s %s", action, topic, channel)
}

// Who copies must be allowed to consume the one topic and to publish to the other,
// and who moves to change the first one, too.
func TestCopyAsksThePolicy(t *testing.T) {
	p := make(rights)
	d := newMedium(t).start(t, func(_ *broker.Settings, c *api.Config) { c.Policy = p })
	for action := access.Stats; action.Valid(); action++ {
		p[action] = "t to"
	}
	d.die(2)
	id := d.look("dead")[0].ID
	for _, tt := range []struct {
		act, consume, publish, change string
		asks                          string // what is refused; empty: nothing
	}{
		{"copy", "", "to", "t", "look t c"},
		{"copy", "t", "t", "t", "publish to "},
		{"copy", "t", "to", "", ""},
		{"move", "t", "to", "", "manage t c"},
		{"move", "", "to", "t", "look t c"},
		{"move", "t", "", "t", "publish to "},
		{"move", "t", "to", "t", ""},
	} {
		p[access.Look], p[access.Publish], p[access.Manage] = tt.consume, tt.publish, tt.change
		path := "/message/" + tt.act + "?topic=t&channel=c&to=to&id=" + id
		if tt.asks == "" {
			d.expect("POST", path, nil, 200, `{"count":1}`)
		} else {
			d.expect("POST", path, nil, 403, code("FORBIDDEN: "+tt.asks))
		}
	}
}
