package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
)

// copied is what /message/copy and /message/move answer.
type copied struct {
	Count, Unreadable int
	More              bool
	Next              string
}

// transfer copies or moves messages of channel c of topic t.
func (d *daemon) transfer(act, query string) (c copied) {
	d.t.Helper()
	w := d.send("POST", "/message/"+act+"?topic=t&channel=c&"+query, nil)
	if err := json.Unmarshal(w.Body.Bytes(), &c); err != nil || w.Code != 200 {
		d.t.Fatalf("%s %s: %d %s", act, query, w.Code, w.Body)
	}
	return c
}

// bodiesOf are the bodies of the messages of a channel that are in a state.
func (d *daemon) bodiesOf(topic, channel, state string) []string {
	d.t.Helper()
	bodies := []string{}
	for _, s := range d.page(topic, channel, state) {
		if s.Body == nil {
			d.t.Errorf("%s of %s has no body: %+v", s.ID, topic, s)
			continue
		}
		bodies = append(bodies, *s.Body)
	}
	return bodies
}

// A copy of one message is a new one, wherever the first is; which stays there.
func TestCopyOfOne(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		spread(d)
		d.create("to")
		stats := func() string {
			return d.send("GET", "/stats?format=json&include_mem=false&topic=t", nil).Body.String()
		}
		time.Sleep(time.Second)
		var want []string
		for _, state := range []string{"ready", "in_flight", "deferred", "dead"} {
			for _, m := range d.look(state) {
				before := stats()
				if got := d.transfer("copy", "to=to&id="+m.ID); got != (copied{Count: 1}) {
					t.Errorf("%s: %+v", state, got)
				}
				want = append(want, *m.Body)
				if after := stats(); strings.Split(after, `"node"`)[0] != strings.Split(before, `"node"`)[0] {
					t.Errorf("%s: was %s\nis  %s", state, before, after)
				}
				last := d.page("to", "c", "ready")
				if c := last[len(last)-1]; c.ID == m.ID || c.Attempts != 0 || c.Timestamp != m.Timestamp+int64(time.Second) || c.Size != m.Size {
					t.Errorf("%+v is copied as %+v", m, c)
				}
			}
		}
		if got := d.bodiesOf("to", "c", "ready"); len(want) != 7 || !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// A message that its channel has finished is in the log for as long as that has it.
func TestCopyOfFinished(t *testing.T) {
	d := logged(t)
	d.do("/topic/create?topic=t&retention_age=1h", nil)
	d.do("/channel/create?topic=t&channel=c", nil)
	d.do("/pub?topic=t", "x")
	id := d.look("ready")[0].ID
	d.drain("t")
	if got := d.transfer("copy", "to=t&id="+id); got != (copied{Count: 1}) { // to where it was, too
		t.Errorf("%+v", got)
	}
	if got := d.bodiesOf("t", "c", "ready"); !slices.Equal(got, []string{"x"}) {
		t.Errorf("%q", got)
	}
}

// All of a state are copied in the order of their IDs, to topics of any level.
func TestCopyOfAll(t *testing.T) {
	for _, level := range []string{"memory", "disk", "fsync"} {
		t.Run(level, func(t *testing.T) {
			atLevels(t, func(t *testing.T, d *daemon) {
				spread(d)
				d.do("/pub?topic=t&defer=30000", "m")
				if level == "memory" || d.topic("t").Level() != broker.Memory {
					d.do("/topic/create?topic=dead&durability="+level, nil)
				}
				for _, state := range []string{"ready", "deferred", "dead"} {
					var want []string
					for _, m := range d.look(state) {
						want = append(want, *m.Body)
					}
					if got := d.transfer("copy", "all=true&state="+state+"&to="+state); got != (copied{Count: len(want)}) {
						t.Errorf("%s: %+v, want %d", state, got, len(want))
					}
					d.do("/channel/create?channel=c&topic="+state, nil)
					if got := d.bodiesOf(state, "c", "ready"); !slices.Equal(got, want) || len(want) == 0 {
						t.Errorf("%s: %q, want %q", state, got, want)
					}
					if got := d.bodiesOf("t", "c", state); !slices.Equal(got, want) {
						t.Errorf("%s: left are %q", state, got)
					}
				}
			})
		})
	}
}

// Messages in line again and such that were never delivered are mixed, and more than
// are found, read and published at a time.
func TestCopyOfMany(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		d.create("t")
		const all = 9000
		var lines []string
		for i := range all {
			lines = append(lines, fmt.Sprintf("%d", i))
		}
		for part := range slices.Chunk(lines, 3000) {
			d.do("/mpub?topic=t", strings.Join(part, "\n"))
		}
		k := d.read("t", "c", "k", time.Minute)
		for i, m := range k.take(6000) {
			if i%2 == 0 {
				k.requeue(m, 0)
			}
		}
		want := make(map[string]bool)
		for i := range all {
			want[lines[i]] = i%2 == 0 || i >= 6000
		}
		got := d.transfer("copy", "all=true&state=ready&to=to")
		if got != (copied{Count: 6000}) {
			t.Errorf("%+v", got)
		}
		d.do("/channel/create?topic=to&channel=c", nil)
		last := -1
		bodies := d.drain("to")
		for _, body := range bodies {
			var i int
			if _, err := fmt.Sscan(body, &i); err != nil || !want[body] || i <= last {
				t.Fatalf("%s comes after %d", body, last)
			}
			last = i
		}
		if len(bodies) != 6000 {
			t.Errorf("%d messages", len(bodies))
		}
	})
}

// One request does a hundred thousand at most, and says where the next goes on.
func TestCopyInParts(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		d.create("t")
		const all = 100_001
		d.publishMany("t", all)
		got := d.transfer("copy", "all=true&state=ready&to=to")
		if got.Count != 100_000 || !got.More || got.Next == "" {
			t.Fatalf("%+v", got)
		}
		if rest := d.transfer("copy", "all=true&state=ready&to=to&after="+got.Next); rest != (copied{Count: 1}) {
			t.Errorf("%+v", rest)
		}
		if n, _ := d.published("to"); n != all {
			t.Errorf("%d were published", n)
		}
	})
}

// publishMany publishes n messages with numbers in them.
func (d *daemon) publishMany(topic string, n int) {
	d.t.Helper()
	var bodies [][]byte
	for i := range n {
		bodies = append(bodies, fmt.Appendf(nil, "%d", i))
	}
	for part := range slices.Chunk(bodies, 10_000) {
		if err := d.topic(topic).Publish(part); err != nil {
			d.t.Fatal(err)
		}
	}
}

// published is what has come to a topic, and what is waiting in it.
func (d *daemon) published(topic string) (messages, depth int) {
	d.t.Helper()
	var stats struct {
		Topics []struct {
			Depth    int
			Messages int `json:"message_count"`
		}
	}
	d.get("/stats?format=json&include_mem=false&topic="+topic, &stats)
	if len(stats.Topics) == 0 {
		return 0, 0
	}
	return stats.Topics[0].Messages, stats.Topics[0].Depth
}

// die makes n messages of t/c dead, with numbers in them.
func (d *daemon) die(n int) {
	d.t.Helper()
	d.create("t")
	d.do("/channel/policy?topic=t&channel=c&max_attempts=1", nil)
	d.publishMany("t", n)
	k := d.read("t", "c", "k", time.Minute)
	for _, m := range k.take(n) {
		k.requeue(m, 0)
	}
	k.close()
}

func TestMove(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		d.die(5)
		d.do("/pub?topic=t", "alive")
		dead := d.look("dead")
		if got := d.transfer("move", "to=to&id="+dead[2].ID); got != (copied{Count: 1}) {
			t.Errorf("%+v", got)
		}
		d.expect("POST", "/message/move?topic=t&channel=c&to=to&id="+dead[2].ID, nil, 404, code("MESSAGE_NOT_FOUND: no dead message has this ID"))
		if got := d.transfer("move", "to=to&all=true&state=dead"); got != (copied{Count: 4}) {
			t.Errorf("%+v", got)
		}
		if got := d.transfer("move", "to=to&all=true"); got != (copied{}) {
			t.Errorf("%+v", got)
		}
		d.do("/channel/create?topic=to&channel=c", nil)
		if got := d.bodiesOf("to", "c", "ready"); !slices.Equal(got, []string{"2", "0", "1", "3", "4"}) {
			t.Errorf("%q", got)
		}
		if got := d.bodiesOf("t", "c", "ready"); !slices.Equal(got, []string{"alive"}) {
			t.Errorf("left are %q", got)
		}
		expectDeaths(t, d, 0, 5, 0, 5)
	})
}

// What was moved is not found again after a restart, nor a crash.
func TestMovedForGood(t *testing.T) {
	m := newMedium(t)
	d := m.start(t, nil)
	d.die(3)
	if got := d.transfer("move", "to=to&all=true"); got != (copied{Count: 3}) {
		t.Errorf("%+v", got)
	}
	crashed := m.disk.Kill()
	d.stop()
	m.disk = crashed
	d = m.start(t, nil)
	for _, state := range []string{"ready", "deferred", "dead"} {
		if got := d.look(state); len(got) != 0 {
			t.Errorf("%s again: %+v", state, got)
		}
	}
	if _, depth := d.published("to"); depth != 3 {
		t.Errorf("%d are there", depth)
	}
}

// What cannot be read stays where it is, and is counted.
func TestCopyOfDamaged(t *testing.T) {
	m := newMedium(t)
	d := m.start(t, nil)
	d.create("t")
	for _, body := range []string{"one", "needle", "three"} {
		d.do("/pub?topic=t", body)
	}
	d.do("/channel/policy?topic=t&channel=c&max_attempts=1", nil)
	k := d.read("t", "c", "k", time.Minute)
	for _, m := range k.take(3) {
		k.requeue(m, 0)
	}
	damage(t, m.disk, "needle")
	spoilt := d.look("dead")[1]
	if !spoilt.Unreadable {
		t.Fatalf("%+v", spoilt)
	}
	for _, act := range []string{"copy", "move"} {
		d.expect("POST", "/message/"+act+"?topic=t&channel=c&to=to&id="+spoilt.ID, nil, 409,
			code("MESSAGE_UNREADABLE: the message is damaged on disk, so its body cannot be read"))
	}
	d.expectTopics("t")
	for range 2 {
		if got := d.transfer("copy", "to=to&all=true&state=dead"); got != (copied{Count: 2, Unreadable: 1}) {
			t.Errorf("%+v", got)
		}
	}
	if got := d.transfer("move", "to=to&all=true"); got != (copied{Count: 2, Unreadable: 1}) {
		t.Errorf("%+v", got)
	}
	if left := d.look("dead"); len(left) != 1 || left[0].ID != spoilt.ID {
		t.Errorf("left are %+v", left)
	}
}

// Of a topic of level memory whose messages have spilled, the answer says how many
// could not be had.
func TestCopyOfSpilled(t *testing.T) {
	d := start(t, func(s *broker.Settings, _ *api.Config) { s.MemoryMessages = 1000 })
	d.create("t")
	d.publishMany("t", 100_000)
	var c struct{ Spilled int }
	for deadline := time.Now().Add(time.Minute); c.Spilled == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var stats struct {
			Topics []struct {
				Channels []struct {
					Spilled int `json:"backend_depth"`
				}
			}
		}
		d.get("/stats?format=json&topic=t", &stats)
		c.Spilled = stats.Topics[0].Channels[0].Spilled
	}
	got := d.transfer("copy", "to=to&all=true&state=ready")
	if got.More || got.Unreadable == 0 || got.Count == 0 || got.Count+got.Unreadable < 100_000 {
		t.Errorf("%+v of 100000, of which %d had spilled", got, c.Spilled)
	}
}
