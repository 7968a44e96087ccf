package actions_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

// withDead is a fleet with messages in a channel of each node; the IDs are those of
// the first node's.
func withDead(t *testing.T, dead int) (b *bed, ids []string) {
	b = start(t, noSettings, clustertest.Nodes(2), clustertest.Topics(1))
	for i, n := range b.Nodes {
		n.Change(func(d *clustertest.Daemon) {
			for range dead {
				id := d.Show(d.Topic(topic0).Channel("channel-0"), "dead", []byte("x"))
				if i == 0 {
					ids = append(ids, id)
				}
			}
			d.Show(d.Topic(topic0).Channel("channel-0"), "deferred", []byte("y"))
		})
	}
	return b, ids
}

func TestDead(t *testing.T) {
	for _, action := range []string{"revive", "delete-dead", "move to=other", "copy to=other"} {
		t.Run(action, func(t *testing.T) {
			name, args, _ := cut(action)
			b, ids := withDead(t, 3)
			b.expect(name+" topic-00000/channel-0!"+ids[0]+args, "qd-0 ok 1\nqd-1 ok (nothing to do: it has no such message, or not in a state for it)")
			b.expect(name+" topic-00000/channel-0@qd-0!"+ids[1]+args, "qd-0 ok 1")
			b.expect(name+" topic-00000/channel-0@qd-1!"+ids[2]+args, "qd-1 failed: it has no such message, or not in a state for it")
			left, state := 1, ""
			if name == "copy" {
				left, state = 3, " state=dead" // they stay
			}
			b.expect(name+" topic-00000/channel-0 all=true"+args+state, fmt.Sprintf("qd-0 ok %d\nqd-1 ok 3", left))
			b.expect(name+" topic-00000/none all=true"+args+state, "qd-0 failed: it has no such channel\nqd-1 failed: it has no such channel")
		})
	}
}

func cut(action string) (name, args string, ok bool) {
	for i, r := range action {
		if r == ' ' {
			return action[:i], action[i:], true
		}
	}
	return action, "", false
}

// rounds has a node do so many at a time.
func rounds(n *clustertest.Node, path string, answers ...string) {
	round := 0
	n.HandlePath(path, func(w http.ResponseWriter, _ *http.Request) {
		answer := answers[min(round, len(answers)-1)]
		round++
		if answer == "" {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, answer)
	})
}

// A node does so many messages at a time; it is asked again until there are no more,
// and not for ever.
func TestUntilNoneIsLeft(t *testing.T) {
	const more = `{"count":100000,"more":true}`
	for _, c := range []struct {
		line    string
		answers []string
		want    string
		asked   int
	}{
		{"move topic-00000/channel-0@qd-0 all=true to=other", []string{more, more, `{"count":7}`}, "qd-0 ok 200007", 3},
		{"move topic-00000/channel-0@qd-0 all=true to=other", []string{more, `{"count":0,"more":true}`},
			"qd-0 100000 failed: after 100,000 messages: the node says that there are more, and does no more", 2},
		{"move topic-00000/channel-0@qd-0 all=true to=other", []string{more, ""},
			"qd-0 100000 failed: after 100,000 messages: uncertain: it may have been done or not (it closed the connection before the end of its answer: EOF); look before you do it again", 2},
		{"move topic-00000/channel-0@qd-0 all=true to=other", []string{`{"count":-1}`},
			"qd-0 failed: uncertain: it may have been done or not (its answer is nonsense); look before you do it again", 1},
		{"copy topic-00000/channel-0@qd-0 all=true state=ready to=other", []string{more, more}, "qd-0 ok 100000 (there are more: a node copies so many at a time)", 1},
		{"copy topic-00000/channel-0@qd-0 all=true state=ready to=other", []string{`{"count":100000,"more":true,"next":"00000000000000aa"}`, `{"count":5}`},
			"qd-0 ok 100005", 2},
		{"move topic-00000/channel-0@qd-0 all=true to=other", []string{`{"count":0,"unreadable":2,"more":true,"next":"00000000000000aa"}`, `{"count":5,"unreadable":1}`},
			"qd-0 ok 5 (3 are damaged, and were left as they are)", 2},
		{"move topic-00000/channel-0@qd-0 all=true to=other", []string{`{"count":0,"more":true,"next":"00000000000000aa"}`, `{"count":0,"more":true,"next":"00000000000000aa"}`},
			"qd-0 failed: the node says that there are more, and does no more", 2},
	} {
		b, _ := withDead(t, 1)
		path := "/message/" + c.line[:4]
		rounds(b.Nodes[0], path, c.answers...)
		b.expect(c.line, c.want)
		calls := b.Nodes[0].Calls(path)
		if len(calls) != c.asked {
			t.Errorf("%s: asked %d times, want %d", c.line, len(calls), c.asked)
		}
		if c.asked == 2 && c.line[:4] == "copy" && calls[1].Query.Get("after") != "00000000000000aa" {
			t.Errorf("it went on after %q", calls[1].Query.Get("after"))
		}
	}
}

// A node copies for one at a time, and says so to others. Who is told so waits.
func TestBusy(t *testing.T) {
	b, _ := withDead(t, 1)
	var underWay, round atomic.Int32
	b.Nodes[0].HandlePath("/message/copy", func(w http.ResponseWriter, r *http.Request) {
		if underWay.Add(1) > 1 {
			t.Error("two were asked for at a time")
		}
		defer underWay.Add(-1)
		switch round.Add(1) {
		case 1:
			fmt.Fprint(w, `{"count":100,"more":true,"next":"00000000000000aa"}`)
		case 2, 3:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"message":"BUSY: messages are being copied for somebody else"}`)
		default:
			fmt.Fprint(w, `{"count":5}`)
		}
	})
	b.expect("copy topic-00000/channel-0@qd-0 topic-00000/channel-1@qd-0 all=true state=dead to=other", "qd-0 ok 110 (2 of 2 done)")
	if after := b.Nodes[0].Calls("/message/copy")[3].Query.Get("after"); after != "00000000000000aa" {
		t.Errorf("it went on after %q", after)
	}
}

// How far it is adds up over what is done to messages of several channels.
func TestProgressAddsUp(t *testing.T) {
	b, _ := withDead(t, 1)
	var seen []int64
	round := 0
	b.Nodes[0].HandlePath("/message/move", func(w http.ResponseWriter, r *http.Request) {
		if e, _ := b.log.Get(1); len(e.Results) > 0 {
			seen = append(seen, e.Results[0].Count)
		}
		round++
		fmt.Fprintf(w, `{"count":100,"more":%v,"next":"%016x"}`, round%3 != 0, round)
	})
	b.expect("move topic-00000/channel-0@qd-0 topic-00000/channel-1@qd-0 all=true to=other", "qd-0 ok 600 (2 of 2 done)")
	if want := []int64{100, 200, 200, 400, 500}; !slices.Equal(seen, want) {
		t.Errorf("%v, want %v", seen, want)
	}
}

// A channel that is deleted in the midst of it is no "nothing to do": much was done.
func TestChannelGoesInTheMidst(t *testing.T) {
	b, _ := withDead(t, 1)
	b.Nodes[0].HandlePath("/message/move", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("after") {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message":"CHANNEL_NOT_FOUND"}`)
			return
		}
		fmt.Fprint(w, `{"count":100,"more":true,"next":"00000000000000aa"}`)
	})
	b.expect("move topic-00000/channel-0 all=true to=other", "qd-0 100 failed: after 100 messages: it has no such channel\nqd-1 ok 1")
}
