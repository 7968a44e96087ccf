package actions_test

import (
	"encoding/base64"
	"testing"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

func TestPublish(t *testing.T) {
	for _, c := range []struct {
		line, want string
		node       int
		told       string
	}{
		{"publish topic-00000 body=hello_you", "qd-1 ok 1", 1, "/pub topic=topic-00000 hello you"}, // who has the topic comes first
		{"publish topic-00000@qd-0 body=hello", "qd-0 ok 1", 0, "/pub topic=topic-00000 hello"},
		{"publish none body=hello", "qd-0 ok 1", 0, "/pub topic=none hello"},
		{"publish none body=hello delay=1500us", "qd-0 ok 1", 0, "/pub defer=2&topic=none hello"},
		{"publish none body=hello delay=90s", "qd-0 ok 1", 0, "/pub defer=90000&topic=none hello"},
		{"publish none body=hello delay=250", "qd-0 ok 1", 0, "/pub defer=250&topic=none hello"},
		{"publish none encoding=hex body=68_65_6c_6C", "qd-0 ok 1", 0, "/pub topic=none hell"},
		{"publish none encoding=base64 body=" + base64.StdEncoding.EncodeToString([]byte("\x00\xff!!")), "qd-0 ok 1", 0, "/pub topic=none \x00\xff!!"},
	} {
		t.Run(c.line, func(t *testing.T) {
			b := start(t, noSettings, clustertest.Nodes(2))
			b.Nodes[1].Change(func(d *clustertest.Daemon) { d.Topic(topic0) })
			b.expect(c.line, c.want)
			b.told(b.Nodes[c.node], c.told)
			b.told(b.Nodes[1-c.node], "")
		})
	}
}

// The next node is tried while it is certain that there is no message yet, and no
// longer: two of them would be worse than none.
func TestPublishElsewhere(t *testing.T) {
	s := clustertest.NewFleet(t, clustertest.Nodes(3), clustertest.InMemory()).Snapshot()
	b := start(t, latest(s), clustertest.Nodes(3))
	b.Nodes[0].FailPath("/pub", 503, "DRAINING: it is going")
	b.expect("publish t body=x", "qd-1 ok 1 (qd-0:4151: DRAINING: it is going)")
	b.Nodes[1].HandlePath("/pub", hangUp)
	b.expect("publish t body=x", "qd-1 failed: qd-0:4151: DRAINING: it is going; "+
		"uncertain: it may have been done or not (it closed the connection before the end of its answer: EOF); look before you do it again")
	if n := b.Nodes[2].Requests("/pub"); n != 0 {
		t.Errorf("another was asked %d times, though there may be a message", n)
	}
	b.expect("publish t@qd-0 body=x", "qd-0 failed: DRAINING: it is going")
	b.Nodes[1].Heal()
	b.Nodes[1].FailPath("/pub", 400, "INVALID_TOPIC")
	b.expect("publish t body=x", "qd-1 failed: qd-0:4151: DRAINING: it is going; INVALID_TOPIC")
	s.Nodes[0].State, s.Nodes[1].Up = "draining", false
	b.expect("publish t body=x", "qd-2 ok 1")
	s.Nodes[2].Tombstoned = []string{"t"}
	b.expect("publish t body=x", "- failed: t: no node is up that takes publishes")
	s.Nodes[2].Tombstoned, s.Nodes[2].Health = nil, "NOK - disk"
	b.expect("publish t body=x", "- failed: t: no node is up that takes publishes")
}

// Neither the log nor what it tells has the body.
func TestBodyIsNotLogged(t *testing.T) {
	b := start(t, noSettings)
	e, err := b.Do(t.Context(), operator, "page", request("publish t body=secret delay=5s"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "body=6 bytes, delay=5s"; e.Detail != want {
		t.Errorf("%q, want %q", e.Detail, want)
	}
}
