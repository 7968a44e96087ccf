package actions_test

import (
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

const (
	topic0   = "topic-00000"
	channel0 = "topic-00000/channel-0"
)

// What is the same for all nodes is asked of all that have the topic, and of no other.
func TestEverywhere(t *testing.T) {
	for _, c := range []struct{ line, want, node0 string }{
		{"pause-topic topic-00000", "qd-0 ok\nqd-1 ok", "/topic/pause by=anna&topic=topic-00000"},
		{"pause-topic topic-00000 reason=new_schema until=2999-01-01T00:00:00Z", "qd-0 ok\nqd-1 ok",
			"/topic/pause by=anna&reason=new schema&topic=topic-00000&until=2999-01-01T00:00:00Z"},
		{"unpause-topic topic-00000", "qd-0 ok\nqd-1 ok", "/topic/unpause topic=topic-00000"},
		{"pause-channel topic-00000/channel-0", "qd-0 ok\nqd-1 ok", "/channel/pause by=anna&channel=channel-0&topic=topic-00000"},
		{"unpause-channel topic-00000/channel-0", "qd-0 ok\nqd-1 ok", "/channel/unpause channel=channel-0&topic=topic-00000"},
		{"empty-topic topic-00000", "qd-0 ok\nqd-1 ok", "/topic/empty topic=topic-00000"},
		{"empty-channel topic-00000/channel-0", "qd-0 ok\nqd-1 ok", "/channel/empty channel=channel-0&topic=topic-00000"},
		{"seek topic-00000/channel-0 to=earliest", "qd-0 ok\nqd-1 ok", "/channel/seek channel=channel-0&to=earliest&topic=topic-00000"},
		{"topic-policy topic-00000 retention_age=24h max_messages=5", "qd-0 ok\nqd-1 ok", "/topic/policy max_messages=5&retention_age=24h&topic=topic-00000"},
		{"channel-policy topic-00000/channel-0 max_attempts=3", "qd-0 ok\nqd-1 ok", "/channel/policy channel=channel-0&max_attempts=3&topic=topic-00000"},
		{"pause-topic topic-00000@qd-0", "qd-0 ok", "/topic/pause by=anna&topic=topic-00000"},
		{"drain-node @qd-0 timeout=5m", "qd-0 ok", "/drain timeout=5m"},
		{"pause-topic none", "- failed: none: no node has it", ""},
		{"pause-channel topic-00000/none", "qd-0 failed: it has no such channel\nqd-1 failed: it has no such channel",
			"/channel/pause by=anna&channel=none&topic=topic-00000"},
		{"disconnect @qd-0!17", "qd-0 failed: it has no such connection: it has gone", "/client/disconnect connection=17"},
	} {
		t.Run(c.line, func(t *testing.T) {
			b := start(t, noSettings, clustertest.Nodes(3), clustertest.Topics(1), clustertest.Spread(2))
			b.expect(c.line, c.want)
			b.told(b.Nodes[0], c.node0)
			b.told(b.Nodes[2], "")
			b.told(b.Lookupds[0], "")
			if n := b.changed.Load(); n != 1 {
				t.Errorf("it was told %d times that something has changed", n)
			}
		})
	}
}

// A topic or channel that is younger than the snapshot is found all the same.
func TestYoungerThanTheSnapshot(t *testing.T) {
	for _, lookupds := range []int{0, 1} {
		b := start(t, fixed(t, clustertest.Nodes(2)), clustertest.Nodes(2), clustertest.Lookupds(lookupds))
		b.Nodes[1].Change(func(d *clustertest.Daemon) { d.Topic("young").Channel("c") })
		want := "qd-1 ok"
		if lookupds == 0 {
			want = "qd-0 ok (nothing to do: it has no such topic)\nqd-1 ok"
		}
		b.expect("pause-topic young", want)
		b.expect("pause-channel young/c", want)
	}
}

// nsqd has no endpoint for what is ours, and overlooks what it does not know.
func TestStockNode(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(2), clustertest.Stock(1), clustertest.Topics(1))
	for _, c := range []struct{ line, want string }{
		{"pause-topic topic-00000 for=5m", "qd-0 ok\nqd-1 ok (this node is an nsqd: it keeps no reason, and does not resume by itself)"},
		{"pause-topic topic-00000 reason=x", "qd-0 ok\nqd-1 ok (this node is an nsqd: it keeps no reason)"},
		{"pause-topic topic-00000", "qd-0 ok\nqd-1 ok"},
		{"unpause-topic topic-00000", "qd-0 ok\nqd-1 ok"},
		{"seek topic-00000/channel-0 to=latest", "qd-0 ok\nqd-1 failed: this node is an nsqd and cannot seek"},
		{"topic-policy topic-00000 max_bytes=1", "qd-0 ok\nqd-1 failed: this node is an nsqd and cannot have settings of a topic"},
		{"drain-node @qd-1", "qd-1 failed: this node is an nsqd and cannot drain: pause its topics, and stop it when they are empty"},
		{"disconnect @qd-1!1", "qd-1 failed: this node is an nsqd and cannot disconnect a client"},
		{"revive topic-00000/channel-0 all=true", "qd-0 ok\nqd-1 failed: this node is an nsqd and cannot keep dead messages"},
		{"create-topic new max_messages=1", "lookupd-0 ok\nqd-0 ok\nqd-1 ok (this node is an nsqd, and has no settings of a topic)"},
	} {
		b.expect(c.line, c.want)
	}
}

// What a daemon said, what it may have done, and what it certainly did not.
func TestFailures(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(3), clustertest.Topics(1))
	b.Nodes[0].FailPath("/topic/empty", 500, "DISK_FAILED: no space left")
	b.Nodes[1].HandlePath("/topic/empty", hangUp)
	b.expect("empty-topic topic-00000", "qd-0 failed: DISK_FAILED: no space left\n"+
		"qd-1 failed: uncertain: it may have been done or not (it closed the connection before the end of its answer: EOF); look before you do it again\n"+
		"qd-2 ok")
	if n := b.Nodes[1].Requests("/topic/empty"); n != 1 {
		t.Errorf("it was asked %d times", n)
	}

	s := b.Snapshot()
	s.Nodes[2].Address = "qd-9:4151" // nobody is there
	s.Topics[0].Nodes[2].Node = "qd-9:4151"
	gone := start(t, latest(s), clustertest.Nodes(2), clustertest.Topics(1))
	gone.expect("empty-topic topic-00000", "qd-0 ok\nqd-1 ok\nqd-9 failed: it cannot be reached, nothing was done: dial tcp: qd-9:4151: connection refused")
}

func TestNodeIsPausedWhole(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(2), clustertest.Topics(5))
	b.do("pause-topic topic-00002@qd-0 reason=mine")
	b.expect("pause-node @qd-0 reason=move", "qd-0 ok (4 topics paused; 1 topic so already)")
	b.Nodes[0].Change(func(d *clustertest.Daemon) {
		for name, topic := range d.Topics {
			want := "move"
			if name == "topic-00002" {
				want = "mine"
			}
			if !topic.Paused || topic.Pause.Reason != want || topic.Pause.By != "anna" {
				t.Errorf("%s is paused %v, %+v", name, topic.Paused, topic.Pause)
			}
		}
	})
	b.told(b.Nodes[1], "")
	b.expect("unpause-node @qd-0", "qd-0 ok (5 topics resumed)")
	b.Nodes[0].FailPath("/stats", 500, "INTERNAL_ERROR")
	b.expect("pause-node @qd-0", "qd-0 failed: its topics are not known, nothing was done: INTERNAL_ERROR")
	b.Nodes[0].Heal()
	b.Nodes[0].FailPath("/topic/pause", 500, "DISK_FULL")
	got := b.do("pause-node @qd-0")
	if !strings.HasPrefix(got, "qd-0 failed: 0 topics paused; 5 failed: topic-") || strings.Count(got, "DISK_FULL") != 5 {
		t.Error(got)
	}
}
