package api_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/queue"
)

// limited makes channel c of topic t, which delivers messages twice at most.
func (d *daemon) limited() {
	d.do("/topic/create?topic=t", nil)
	d.do("/channel/create?topic=t&channel=c&max_attempts=2", nil)
}

// bury publishes a message and has it die by REQ. It returns its ID.
func (d *daemon) bury(body string) string {
	d.t.Helper()
	d.do("/pub?topic=t", body)
	k := d.read("t", "c", "k", time.Minute)
	defer k.close()
	var m protocol.Message
	for range 2 {
		m = k.take(1)[0]
		k.requeue(m, 0)
	}
	return m.ID.String()
}

// Whatever brings a message back for the last time, it dies of it.
func TestReasonsOfDeath(t *testing.T) {
	for name, end := range map[string]struct {
		reason string
		by     func(k *reader, m protocol.Message)
	}{
		"time":          {"timed out", func(*reader, protocol.Message) { time.Sleep(time.Minute + time.Second) }},
		"REQ":           {"requeued", func(k *reader, m protocol.Message) { k.requeue(m, 0) }},
		"REQ for later": {"requeued", func(k *reader, m protocol.Message) { k.requeue(m, time.Hour) }},
		"disconnection": {"disconnected", func(k *reader, _ protocol.Message) { k.close() }},
	} {
		t.Run(name, func(t *testing.T) {
			atLevels(t, func(t *testing.T, d *daemon) {
				d.limited()
				d.do("/pub?topic=t", "x")
				k := d.read("t", "c", "k", time.Minute)
				k.requeue(k.take(1)[0], 0)
				m := k.take(1)[0]
				if m.Attempts != 2 {
					t.Fatalf("attempts are %d", m.Attempts)
				}
				before := time.Now().UnixNano()
				end.by(k, m)
				dead := d.look("dead")
				if len(dead) != 1 {
					t.Fatalf("dead are %+v", dead)
				}
				got := dead[0]
				if got.ID != m.ID.String() || got.Reason != end.reason || got.Attempts != 2 || *got.Body != "x" ||
					got.Died < before || got.Died > time.Now().UnixNano() {
					t.Errorf("%+v", got)
				}
				if name == "REQ for later" {
					time.Sleep(2 * time.Hour)
				}
				for _, state := range []string{"ready", "in_flight", "deferred"} {
					if left := d.look(state); len(left) != 0 {
						t.Errorf("%s: %+v", state, left)
					}
				}
			})
		})
	}
}

// What a consumer held when the daemon stopped counts as delivered.
func TestDeadByAStop(t *testing.T) {
	m := newMedium(t)
	d := m.start(t, nil)
	d.do("/topic/create?topic=t", nil)
	d.do("/channel/create?topic=t&channel=c&max_attempts=1", nil)
	d.do("/pub?topic=t", "x")
	d.read("t", "c", "k", time.Minute).take(1)
	d.broker.Refuse()
	d.broker.Halt()
	d.stop()

	d = m.start(t, nil)
	k := d.read("t", "c", "k", time.Minute)
	defer k.close()
	k.SetReady(1)
	var run queue.Run
	for {
		if ok, err := k.Next(&run, 1<<20); ok || err != nil {
			t.Fatalf("delivered once more: %v, %v", ok, err)
		}
		if len(d.look("dead")) > 0 {
			break
		}
		select {
		case <-k.Awake():
		case <-time.After(10 * time.Second):
			t.Fatal("it does not die")
		}
	}
	if dead := d.look("dead"); dead[0].Reason != "daemon stopped" || dead[0].Attempts != 1 {
		t.Errorf("%+v", dead)
	}
}

func TestRevived(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		d.limited()
		one, two := d.bury("one"), d.bury("two")
		d.bury("three")
		d.expect("POST", "/message/revive?topic=t&channel=c&id="+two, nil, 200, `{"count":1}`)
		d.expect("POST", "/message/revive?topic=t&channel=c&id="+two, nil, 404, code("MESSAGE_NOT_FOUND: no dead message has this ID"))
		k := d.read("t", "c", "k", time.Minute)
		m := k.take(1)[0]
		if string(m.Body) != "two" || m.Attempts != 1 {
			t.Errorf("%s comes for the %dth time", m.Body, m.Attempts)
		}
		k.finish([]protocol.Message{m})
		d.expect("POST", "/message/revive?topic=t&channel=c&all=true", nil, 200, `{"count":2}`)
		d.expect("POST", "/message/revive?topic=t&channel=c&all=true", nil, 200, `{"count":0}`)
		d.expect("POST", "/message/revive?topic=t&channel=c&id="+one, nil, 404, code("MESSAGE_NOT_FOUND: no dead message has this ID"))
		if got := k.bodies(2); fmt.Sprint(got) != "[one three]" {
			t.Errorf("%q", got)
		}
		expectDeaths(t, d, 0, 3, 3, 0)
	})
}

func TestDeleted(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		d.limited()
		d.bury("one")
		two := d.bury("two")
		d.bury("three")
		d.expect("POST", "/message/delete?topic=t&channel=c&id="+two, nil, 200, `{"count":1}`)
		d.expect("POST", "/message/delete?topic=t&channel=c&id="+two, nil, 404, code("MESSAGE_NOT_FOUND: no dead message has this ID"))
		expectDeaths(t, d, 2, 3, 0, 1)
		d.expect("POST", "/message/delete?topic=t&channel=c&all=true", nil, 200, `{"count":2}`)
		d.expect("POST", "/message/delete?topic=t&channel=c&all=true", nil, 200, `{"count":0}`)
		expectDeaths(t, d, 0, 3, 0, 3)
	})
}

// Only the dead are deleted.
func TestTheLivingAreNotDeleted(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		spread(d)
		for _, state := range []string{"ready", "in_flight", "deferred"} {
			for _, m := range d.look(state) {
				for _, act := range []string{"revive", "delete"} {
					d.expect("POST", "/message/"+act+"?topic=t&channel=c&id="+m.ID, nil, 404, code("MESSAGE_NOT_FOUND: no dead message has this ID"))
				}
			}
		}
		expectDeaths(t, d, 1, 1, 0, 0)
	})
}

// expectDeaths checks what /stats says of channel c of topic t.
func expectDeaths(t *testing.T, d *daemon, dead, buried, revived, deleted int) {
	t.Helper()
	var stats struct {
		Topics []struct {
			Channels []struct {
				Dead    int `json:"dead_count"`
				Buried  int `json:"buried_count"`
				Revived int `json:"revived_count"`
				Deleted int `json:"deleted_count"`
			}
		}
	}
	d.get("/stats?format=json&topic=t&channel=c", &stats)
	if c := stats.Topics[0].Channels[0]; c.Dead != dead || c.Buried != buried || c.Revived != revived || c.Deleted != deleted {
		t.Errorf("%+v, want %d dead, %d buried, %d revived, %d deleted", c, dead, buried, revived, deleted)
	}
	if n := len(d.look("dead")); n != dead {
		t.Errorf("%d are shown as dead, want %d", n, dead)
	}
}

func TestDeadRefused(t *testing.T) {
	d := logged(t)
	d.limited()
	id := d.bury("x")
	for query, want := range map[string]struct {
		status int
		word   string
	}{
		"channel=c&id=" + id:                    {400, "MISSING_ARG_TOPIC"},
		"topic=a/b&channel=c&id=" + id:          {400, "INVALID_ARG_TOPIC"},
		"topic=t&id=" + id:                      {400, "MISSING_ARG_CHANNEL"},
		"topic=t&channel=a/b&id=" + id:          {400, "INVALID_ARG_CHANNEL"},
		"topic=t&channel=c":                     {400, "MISSING_ARG_ID"},
		"topic=t&channel=c&id=" + id[1:]:        {400, "INVALID_ID: must be a message ID of 16 lower-case hex digits"},
		"topic=t&channel=c&all=":                {400, "INVALID_ALL: must be true, or left out"},
		"topic=t&channel=c&all=false":           {400, "INVALID_ALL: must be true, or left out"},
		"topic=t&channel=c&all=true&id=" + id:   {400, "INVALID_ALL: cannot be together with id"},
		"topic=t&channel=none&all=true":         {404, "CHANNEL_NOT_FOUND"},
		"topic=none&channel=c&id=" + id:         {404, "TOPIC_NOT_FOUND"},
		"topic=t&channel=c&id=0000000000abcdef": {404, "MESSAGE_NOT_FOUND: no dead message has this ID"},
	} {
		for _, act := range []string{"revive", "delete"} {
			d.expect("POST", "/message/"+act+"?"+query, nil, want.status, code(want.word))
		}
	}
	d.expect("GET", "/message/delete?topic=t&channel=c&all=true", nil, 405, code("METHOD_NOT_ALLOWED"))
	expectDeaths(t, d, 1, 1, 0, 0)
}
