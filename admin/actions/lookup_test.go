package actions_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

func TestCreate(t *testing.T) {
	for _, c := range []struct{ line, want, lookupd, node0 string }{
		{"create-topic new", "lookupd-0 ok", "/topic/create topic=new", ""},
		{"create-topic new@qd-0", "qd-0 ok", "", "/topic/create topic=new"},
		{"create-topic new durability=fsync", "lookupd-0 ok\nqd-0 ok\nqd-1 ok", "/topic/create topic=new", "/topic/create durability=fsync&topic=new"},
		{"create-channel topic-00000/new", "lookupd-0 ok\nqd-0 ok", "/channel/create channel=new&topic=topic-00000", "/channel/create channel=new&topic=topic-00000"},
		{"create-channel topic-00000/new start=earliest max_attempts=5", "lookupd-0 ok\nqd-0 ok",
			"/channel/create channel=new&topic=topic-00000", "/channel/create channel=new&max_attempts=5&start=earliest&topic=topic-00000"},
		{"create-channel none/new", "lookupd-0 ok", "/channel/create channel=new&topic=none", ""},
	} {
		t.Run(c.line, func(t *testing.T) {
			b := start(t, noSettings, clustertest.Nodes(2), clustertest.Topics(1), clustertest.Spread(1))
			b.expect(c.line, c.want)
			b.told(b.Lookupds[0], c.lookupd)
			b.told(b.Nodes[0], c.node0)
		})
	}
}

func TestCreateWithoutLookupds(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(2), clustertest.Lookupds(0))
	b.expect("create-channel new/c", "qd-0 failed: it has no such topic\nqd-1 failed: it has no such topic")
	b.expect("create-topic new", "qd-0 ok\nqd-1 ok")
	b.expect("create-channel new/c", "qd-0 ok\nqd-1 ok")
	b.Nodes[0].Change(func(d *clustertest.Daemon) {
		if d.Topics["new"] == nil || d.Topics["new"].Channels["c"] == nil {
			t.Error("it is not there")
		}
	})
}

// Lookupds forget before nodes delete: a consumer that is thrown out must not find its
// way back.
func TestDelete(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(2), clustertest.Topics(2))
	b.Lookupds[0].Create("inactive", "c")
	b.Lookupds[0].HandlePath("/topic/delete", func(w http.ResponseWriter, _ *http.Request) {
		if b.Requests("/topic/delete") > 0 {
			t.Error("a node has deleted the topic, and the lookupd still knows it")
		}
	})
	b.expect("delete-channel topic-00000/channel-0", "lookupd-0 ok\nqd-0 ok\nqd-1 ok")
	b.expect("delete-topic topic-00000", "lookupd-0 ok\nqd-0 ok\nqd-1 ok")
	b.told(b.Lookupds[0], "/channel/delete channel=channel-0&topic=topic-00000\n/topic/delete topic=topic-00000")
	b.told(b.Nodes[0], "/channel/delete channel=channel-0&topic=topic-00000\n/topic/delete topic=topic-00000")
	b.expect("delete-topic topic-00000", "- failed: topic-00000: no node has it, and no lookupd knows it")
	b.Lookupds[0].Heal()
	b.expect("delete-topic inactive", "lookupd-0 ok")
	b.expect("delete-topic topic-00001@qd-0", "qd-0 ok")
	if n := b.Nodes[1].Requests("/topic/delete"); n != 1 {
		t.Errorf("the other node was asked %d times", n)
	}

	b.Lookupds[0].Down() // is no reason to keep what is to be deleted
	got := b.do("delete-topic topic-00001")
	if !strings.HasPrefix(got, "lookupd-0 failed: uncertain: ") || !strings.HasSuffix(got, "\nqd-1 ok") {
		t.Error(got)
	}
}

func TestTombstone(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(2), clustertest.Lookupds(2), clustertest.Topics(1))
	b.Lookupds[0].FailPath("/topic/tombstone", 500, "INTERNAL_ERROR")
	b.Lookupds[1].FailPath("/topic/tombstone", 500, "INTERNAL_ERROR")
	b.expect("tombstone topic-00000@qd-0", "lookupd-0 failed: INTERNAL_ERROR\nlookupd-1 failed: INTERNAL_ERROR\n"+
		"qd-0 failed: not deleted: no lookupd hides it")
	b.told(b.Nodes[0], "")
	b.Lookupds[1].Heal()
	b.expect("tombstone topic-00000@qd-0", "lookupd-0 failed: INTERNAL_ERROR\nlookupd-1 ok\nqd-0 ok")
	b.told(b.Nodes[0], "/topic/delete topic=topic-00000")
	b.told(b.Nodes[1], "")

	alone := start(t, noSettings, clustertest.Lookupds(0), clustertest.Topics(1))
	alone.expect("tombstone topic-00000@qd-0", "NO_LOOKUPDS: there are no lookupds that could hide the topic: delete it on the node")
	alone.expect("forget topic-00000", "NO_LOOKUPDS: there are no lookupds that could forget anything")
}

func TestForget(t *testing.T) {
	b := start(t, noSettings, clustertest.Lookupds(2), clustertest.Topics(1))
	b.Lookupds[0].Create("old", "c")
	b.expect("forget topic-00000", "IN_USE: topic-00000 is on qd-0:4151: delete it, do not forget it")
	b.expect("forget topic-00000/channel-0", "IN_USE: topic-00000/channel-0 is on qd-0:4151: delete it, do not forget it")
	b.Lookupds[0].Create(topic0, "gone")
	b.expect("forget topic-00000/gone", "lookupd-0 ok\nlookupd-1 ok")
	b.expect("forget old/c", "lookupd-0 ok\nlookupd-1 ok (nothing to do: it has no such topic)")
	b.expect("forget old", "lookupd-0 ok\nlookupd-1 ok (nothing to do: it has no such topic)")
	b.expect("forget old", "lookupd-0 failed: it has no such topic\nlookupd-1 failed: it has no such topic")

	// One that has come into use since the snapshot.
	young := start(t, fixed(t), clustertest.Topics(1))
	young.expect("forget topic-00000", "lookupd-0 failed: it is on qd-0:4151 now: not forgotten")
	young.told(young.Lookupds[0], "")
}

func TestConfirmation(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"pause-topic t", ""},
		{"delete-topic t", "t"},
		{"delete-topic t@qd-0", "t"},
		{"empty-channel t/c", "c"},
		{"tombstone t@qd-0", "t"},
		{"drain-node @qd-0", "qd-0:4151"},
		{"delete-dead t/c all=true", "c"},
		{"delete-topic t u", "2"},
		{"delete-topic", ""},
	} {
		r := request(c.line)
		a, _ := actions.Find(r.Action)
		if got := actions.Confirmation(a, r.Targets); got != c.want {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
}

// A topic that a lookupd does not hide on a node is not deleted there, though others are.
func TestTombstoneOfEach(t *testing.T) {
	b := start(t, noSettings, clustertest.Topics(2))
	b.Lookupds[0].HandlePath("/topic/tombstone", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("topic") == topic0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	b.expect("tombstone topic-00000@qd-0 topic-00001@qd-0", "lookupd-0 (1 of 2 done) failed: 1 failed: topic-00000 qd-0:4151: refused without a word (status 500)\n"+
		"qd-0 (1 of 2 done) failed: 1 failed: topic-00000 qd-0:4151: not deleted: no lookupd hides it")
	b.told(b.Nodes[0], "/topic/delete topic=topic-00001")
}

// What no lookupd could tell is not said to be so.
func TestLookupdsCannotSay(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(1))
	b.Lookupds[0].FailPath("/lookup", http.StatusInternalServerError, "INTERNAL_ERROR")
	b.Lookupds[0].Create("old")
	b.expect("pause-topic old", "- failed: old: no node has it, as far as is known: lookupd-0:4161 could not be asked")
	b.expect("delete-topic old", "lookupd-0 ok")
}

// Topics that only lookupds know are deleted, however many they are.
func TestDeleteInactive(t *testing.T) {
	b := start(t, noSettings)
	line := "delete-topic"
	for i := range 20 {
		name := clustertest.TopicName(i)
		b.Lookupds[0].Create(name)
		line += " " + name
	}
	b.expect(line, "lookupd-0 ok (20 of 20 done)")
}
