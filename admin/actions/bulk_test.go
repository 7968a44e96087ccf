package actions_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

func many(n int) (all []actions.Target) {
	for i := range n {
		all = append(all, actions.Target{Topic: clustertest.TopicName(i)})
	}
	return all
}

// The results of very many topics are one for each node, and failures are named, as
// many as can be read.
func TestBulk(t *testing.T) {
	const topics = 1100
	b := start(t, noSettings, clustertest.Nodes(2), clustertest.Topics(topics), clustertest.Channels(0))
	for i := range 30 {
		b.Nodes[1].Change(func(d *clustertest.Daemon) { delete(d.Topics, clustertest.TopicName(i)) })
	}
	b.Nodes[0].Change(func(d *clustertest.Daemon) { delete(d.Topics, clustertest.TopicName(7)) }) // since then
	e, err := b.Do(t.Context(), admin, "page", actions.Request{Action: "pause-topic", Targets: many(topics)})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := results(e), "- failed: topic-00007: no node has it\nqd-0 ok (1,099 of 1,099 done)\nqd-1 ok (1,070 of 1,070 done)"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if want := "1,100: topic-00000, topic-00001, topic-00002, topic-00003, topic-00004, topic-00005, topic-00006, topic-00007, topic-00008, topic-00009 and 1,090 more"; e.Detail != want || e.Topic != "" {
		t.Errorf("the entry is about %q, %q", e.Topic, e.Detail)
	}

	b.Nodes[0].FailPath("/topic/unpause", http.StatusInternalServerError, "DISK_FULL")
	got := b.bulk("unpause-topic", topics)
	for _, want := range []string{"qd-0 (0 of 1,099 done) failed: 1,099 failed: topic-", ": DISK_FULL; and 1,089 more\n", "\nqd-1 ok (1,070 of 1,070 done)"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\ndoes not say\n%s", got, want)
		}
	}
}

func (b *bed) bulk(action string, n int) string {
	b.t.Helper()
	e, err := b.Do(b.t.Context(), admin, "page", actions.Request{Action: action, Targets: many(n)})
	if err != nil {
		b.t.Fatal(err)
	}
	return results(e)
}

// A node that does not answer is not asked thousands of times, a time-out each.
func TestBulkGivesUp(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(2), clustertest.Topics(100))
	b.Nodes[1].HandlePath("/topic/pause", hangUp)
	got := b.bulk("pause-topic", 100)
	if !strings.Contains(got, "qd-0 ok (100 of 100 done)") || !strings.Contains(got, "not done: given up after 3 without an answer") {
		t.Error(got)
	}
	if n := b.Nodes[1].Requests("/topic/pause"); n < 3 || n > 6 {
		t.Errorf("it was asked %d times", n)
	}
}

// A topic that one node has lost meanwhile is no failure if another still had it.
func TestBulkAbsent(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(2), clustertest.Topics(20))
	s := b.Snapshot()
	late := start(t, latest(s), clustertest.Nodes(2), clustertest.Topics(20))
	late.Nodes[0].Change(func(d *clustertest.Daemon) { delete(d.Topics, clustertest.TopicName(3)) })
	for i := range 2 {
		late.Nodes[i].Change(func(d *clustertest.Daemon) { delete(d.Topics, clustertest.TopicName(4)) })
	}
	want := "qd-0 (18 of 20 done; 1 not there) failed: 1 failed: topic-00004: it has no such topic\n" +
		"qd-1 (19 of 20 done) failed: 1 failed: topic-00004: it has no such topic"
	if got := late.bulk("pause-topic", 20); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestDeadInBulk(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(2), clustertest.Topics(1))
	r := actions.Request{Action: "revive"}
	for i := range 10 {
		n := b.Nodes[i%2]
		n.Change(func(d *clustertest.Daemon) {
			id := d.Show(d.Topic(topic0).Channel("channel-0"), "dead", fmt.Appendf(nil, "m%d", i))
			r.Targets = append(r.Targets, actions.Target{Topic: topic0, Channel: "channel-0", Node: n.Address(), ID: id})
		})
	}
	r.Targets = append(r.Targets, r.Targets[0], actions.Target{Topic: topic0, Channel: "channel-0", Node: "qd-0:4151", ID: "00000000000000ff"})
	e, err := b.Do(t.Context(), operator, "page", r)
	if err != nil {
		t.Fatal(err)
	}
	want := "qd-0 5 (5 of 6 done) failed: 1 failed: topic-00000/channel-0 00000000000000ff qd-0:4151: it has no such message, or not in a state for it\nqd-1 ok 5 (5 of 5 done)"
	if got := results(e); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
