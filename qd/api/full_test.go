package api_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
)

// A topic that is as full as it may be refuses its publishers, and nobody else.
func TestTopicFull(t *testing.T) {
	for _, durability := range []string{"memory", "disk"} {
		t.Run(durability, func(t *testing.T) {
			d := logged(t)
			for _, name := range []string{"t", "other"} {
				d.do("/topic/create?topic="+name+"&durability="+durability, nil)
				d.do("/channel/create?topic="+name+"&channel=c", nil)
			}
			d.do("/topic/policy?topic=t&max_messages=3", nil)
			d.do("/mpub?topic=t", "a\nb")
			full := code("TOPIC_FULL: topic t has reached its limit of 3 messages")
			d.expect("POST", "/mpub?topic=t", "c\nd", 429, full) // not a part of it
			d.expect("POST", "/pub?topic=t", "c", 200, "OK")
			for _, path := range []string{"/pub?topic=t", "/mpub?topic=t", "/pub?topic=t&defer=1000"} {
				d.expect("POST", path, "x", 429, full)
			}
			d.expect("POST", "/pub?topic=other", "x", 200, "OK")
			d.expect("GET", "/ping", nil, 200, "OK")
			if got := d.drain("t"); fmt.Sprint(got) != "[a b c]" {
				t.Errorf("%q", got)
			}
			d.expect("POST", "/pub?topic=t", "x", 200, "OK")

			d.do("/topic/policy?topic=t&max_messages=0&max_bytes=1", nil)
			d.expect("POST", "/pub?topic=t", "y", 429, code("TOPIC_FULL: topic t has reached its limit of 1 bytes"))
		})
	}
}

// With too little room on the disk, publishes are refused by name, health says
// why, consumers go on, and it all ends when there is room again.
func TestSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const floor = 1 << 20
		m := newMedium(t)
		d := m.start(t, func(s *broker.Settings, _ *api.Config) { s.MinFree = floor })
		for _, create := range []string{"t", "m&durability=memory"} {
			d.do("/topic/create?topic="+create, nil)
		}
		d.do("/channel/create?topic=t&channel=c", nil)
		d.do("/pub?topic=t", "before")
		d.expect("GET", "/ping", nil, 200, "OK")

		m.disk.SetCapacity(floor)
		time.Sleep(2 * time.Second)
		w := d.send("POST", "/pub?topic=t", "x")
		sentence := fmt.Sprintf("disk of %s has ", m.path)
		if got := w.Body.String(); w.Code != 503 || !strings.HasPrefix(got, `{"message":"DISK_FULL: `+sentence) || !strings.Contains(got, "min-free-disk") {
			t.Fatalf("%d %s", w.Code, got)
		}
		refused := w.Body.String()
		for _, path := range []string{"/mpub?topic=t", "/pub?topic=t&defer=1000", "/pub?topic=new", "/pub?topic=new&defer=1000"} {
			d.expect("POST", path, "x", 503, refused)
		}
		d.expectTopics("m", "t") // a refused publish leaves none
		for _, path := range []string{"/pub?topic=m", "/pub?topic=e%23ephemeral"} {
			d.expect("POST", path, "x", 200, "OK")
		}
		ping := d.send("GET", "/ping", nil)
		if got := ping.Body.String(); ping.Code != 500 || !strings.HasPrefix(got, "NOK - "+sentence) {
			t.Errorf("%d %s", ping.Code, got)
		}
		d.expect("GET", "/ready", nil, 503, strings.Replace(ping.Body.String(), "NOK - ", "FAILING: ", 1))
		d.expect("GET", "/live", nil, 200, "OK")
		var stats struct{ Health string }
		d.get("/stats?format=json", &stats)
		if stats.Health != ping.Body.String() {
			t.Errorf("health is %q", stats.Health)
		}
		if got := d.drain("t"); fmt.Sprint(got) != "[before]" {
			t.Errorf("%q", got)
		}

		m.disk.SetCapacity(1 << 30)
		time.Sleep(2 * time.Second)
		d.expect("GET", "/ping", nil, 200, "OK")
		d.expect("GET", "/ready", nil, 200, "OK")
		d.expect("POST", "/pub?topic=t", "after", 200, "OK")
		if got := d.drain("t"); fmt.Sprint(got) != "[after]" {
			t.Errorf("%q", got)
		}
	})
}

// From its first moment, a daemon knows that it has too little room.
func TestNoRoomAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMedium(t).start(t, func(s *broker.Settings, _ *api.Config) { s.MinFree = 1 << 60 })
		synctest.Wait()
		if w := d.send("GET", "/ping", nil); w.Code != 500 || !strings.Contains(w.Body.String(), "below the floor of 1152921504606846976") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// A disk that is full to the last byte is called so, whatever the floor is.
func TestNoSpaceLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMedium(t)
		d := m.start(t, nil)
		d.topic("t")
		d.do("/pub?topic=t", "before")
		m.disk.SetCapacity(1)
		w := d.send("POST", "/pub?topic=t", "more")
		if got := w.Body.String(); w.Code != 503 || !strings.HasPrefix(got, `{"message":"DISK_FULL: topic t: writing its log: `) {
			t.Errorf("%d %s", w.Code, got)
		}
		m.disk.SetCapacity(1 << 30)
		time.Sleep(3 * time.Second)
		if got := d.drain("t"); fmt.Sprint(got) != "[before]" {
			t.Errorf("%q", got)
		}
	})
}

// A disk that fails is named, and an error with its own code keeps it.
func TestDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMedium(t)
		d := m.start(t, nil)
		d.topic("t")
		d.do("/topic/create?topic=full&max_messages=1", nil)
		d.do("/pub?topic=full", "x")
		synctest.Wait() // qd.json is written behind the answers, and would be the first to fail
		m.disk.FailAlways(0)
		for range 2 {
			w := d.send("POST", "/pub?topic=t", "x")
			got := w.Body.String()
			if w.Code != 500 || !strings.HasPrefix(got, `{"message":"DISK_FAILED: topic t: writing its log: `) || !strings.Contains(got, syscall.EIO.Error()) {
				t.Errorf("%d %s", w.Code, got)
			}
		}
		if w := d.send("GET", "/ping", nil); w.Code != 500 || !strings.Contains(w.Body.String(), "NOK - topic t: writing its log: ") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		d.expect("POST", "/pub?topic=full", "x", 429, code("TOPIC_FULL: topic full has reached its limit of 1 messages"))
		m.disk.Heal()
		time.Sleep(3 * time.Second)
		d.expect("POST", "/pub?topic=t", "y", 200, "OK")
		d.expect("GET", "/ping", nil, 200, "OK")
		d.broker.Refuse()
		m.disk.FailAlways(0)
		d.expect("POST", "/pub?topic=t", "z", 503, code("EXITING"))
		m.disk.Heal()
	})
}
