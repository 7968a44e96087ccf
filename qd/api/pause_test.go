package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/stats"
)

// pauses are why topic t and its channel c are paused, by /stats.
func (d *daemon) pauses() (topic, channel *queue.Pause) {
	d.t.Helper()
	var all stats.Daemon
	d.get("/stats?format=json&topic=t&include_mem=false", &all)
	if len(all.Topics) != 1 || len(all.Topics[0].Channels) != 1 {
		d.t.Fatalf("%+v", all.Topics)
	}
	t := all.Topics[0]
	c := t.Channels[0]
	if t.Paused != (t.Pause != nil) || c.Paused != (c.Pause != nil) {
		d.t.Errorf("paused %v: %+v, channel %v: %+v", t.Paused, t.Pause, c.Paused, c.Pause)
	}
	return t.Pause, c.Pause
}

func TestPause(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		d.do("/topic/create?topic=t", nil)
		d.do("/channel/create?topic=t&channel=c", nil)
		began := time.Now()
		d.do("/topic/pause?topic=t&reason=tests&by=ann&for=90m", nil)
		d.do("/channel/pause?topic=t&channel=c&until="+began.Add(2*time.Hour).Format(time.RFC3339), nil)
		d.do("/pub?topic=t", "held")
		topic, channel := d.pauses()
		if want := (queue.Pause{Reason: "tests", By: "ann", Since: began.UnixNano(), Until: began.Add(90 * time.Minute).UnixNano()}); topic == nil || *topic != want {
			t.Errorf("the topic: %+v, want %+v", topic, want)
		}
		if want := (queue.Pause{Since: began.UnixNano(), Until: began.Add(2 * time.Hour).UnixNano()}); channel == nil || *channel != want {
			t.Errorf("the channel: %+v, want %+v", channel, want)
		}
		if got := d.drain("t"); got != nil {
			t.Errorf("%q come from a paused topic", got)
		}

		time.Sleep(90*time.Minute - time.Nanosecond)
		synctest.Wait()
		if topic, _ := d.pauses(); topic == nil {
			t.Error("the topic goes on too soon")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if topic, channel := d.pauses(); topic != nil || channel == nil {
			t.Errorf("after 90 minutes, the topic: %+v, the channel: %+v", topic, channel)
		}
		if got := d.drain("t"); got != nil {
			t.Errorf("%q come from a paused channel", got)
		}
		// Who pauses it again says what counts, and that is for ever if he does not say until when.
		d.do("/channel/pause?topic=t&channel=c&by=bob", nil)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if _, channel := d.pauses(); channel == nil || channel.By != "bob" || channel.Until != 0 {
			t.Errorf("the channel: %+v", channel)
		}
		d.do("/channel/unpause?topic=t&channel=c", nil)
		if got := d.drain("t"); fmt.Sprint(got) != "[held]" {
			t.Errorf("%q", got)
		}
		// A pause that has been ended has no end any more.
		d.do("/channel/pause?topic=t&channel=c&for=1h", nil)
		d.do("/channel/unpause?topic=t&channel=c", nil)
		d.do("/channel/pause?topic=t&channel=c", nil)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if _, channel := d.pauses(); channel == nil {
			t.Error("the end of an earlier pause has ended this one")
		}
	})
}

// How much may be said about a pause; what may not be said is in testdata/table.
func TestPauseWords(t *testing.T) {
	d := start(t, nil)
	d.do("/topic/create?topic=t", nil)
	for _, test := range []struct {
		name  string
		bytes int
	}{{"reason", 500}, {"by", 200}} {
		path := func(words string) string {
			return "/topic/pause?topic=t&" + url.Values{test.name: {words}}.Encode()
		}
		refused := code(fmt.Sprintf("INVALID_%s: must be a line of text of at most %d bytes, without control characters",
			strings.ToUpper(test.name), test.bytes))
		d.expect("POST", path(strings.Repeat("ä", test.bytes/2)), nil, 200, "")
		d.expect("POST", path(strings.Repeat("ä", test.bytes/2)+"x"), nil, 400, refused)
		d.expect("POST", path(strings.Repeat("x", 10*test.bytes)), nil, 400, refused)
	}
}
