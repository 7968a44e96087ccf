package sampler_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

func TestClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, clustertest.Nodes(3), clustertest.Stock(1), clustertest.Topics(2))
		topic, channel := clustertest.TopicName(0), clustertest.ChannelName(0)
		active := time.Now().Add(-time.Second)
		for i, n := range w.Nodes {
			n.Change(func(d *clustertest.Daemon) {
				d.Topic(topic).Channel(channel).Clients = []clustertest.Client{{
					ClientID: "worker", Hostname: fmt.Sprintf("w-%d", i), RemoteAddress: "192.0.2.1:50000", UserAgent: "agent/1", State: 3,
					ReadyCount: 10, InFlightCount: 4, MessageCount: 1<<64 - 1, FinishCount: 7, RequeueCount: 2, ConnectTime: active.Unix(), SampleRate: 50,
					TLS: true, TLSVersion: "TLS1.3", TLSCipherSuite: "S", Snappy: true, Authed: true, AuthIdentity: "me", TopologyZone: "z", TopologyRegion: "r",
					Connection: "42", TimeoutCount: 3, LastActive: active.UnixNano(), NextTimeout: active.Add(time.Minute).UnixNano(), HeldNS: 5e6,
				}}
				d.Topic(topic).Channel(channel).Depth = 5
				d.Topic(topic).Channel("other").Clients = []clustertest.Client{{ClientID: "another"}}
				d.Producers = []clustertest.Client{
					{ClientID: "p", RemoteAddress: "192.0.2.2:1", PubCounts: []clustertest.PubCount{{Topic: topic, Count: 1 << 60}}},
					{ClientID: "elsewhere", RemoteAddress: "192.0.2.2:2", PubCounts: []clustertest.PubCount{{Topic: clustertest.TopicName(1), Count: 2}}},
				}
			})
		}
		w.pass(time.Second)

		got, results := w.Clients(t.Context(), topic, channel, "")
		if len(got) != 3 || len(results) != 3 || !results[0].OK {
			t.Fatalf("%+v, %+v", got, results)
		}
		if c := got[0]; c.Node != "qd-0:4151" || c.ID != "worker" || c.Hostname != "w-0" || c.RemoteAddress != "192.0.2.1:50000" || c.UserAgent != "agent/1" ||
			c.State != 3 || c.Ready != 10 || c.InFlight != 4 || c.Messages != 1<<64-1 || c.Finished != 7 || c.Requeued != 2 || c.Connected.Unix() != active.Unix() ||
			c.SampleRate != 50 || !c.TLS || c.TLSVersion != "TLS1.3" || c.CipherSuite != "S" || !c.Snappy || c.Deflate || !c.Authed || c.AuthIdentity != "me" ||
			c.Zone != "z" || c.Region != "r" || c.Connection != "42" || c.TimedOut != 3 || !c.LastActive.Equal(active) || !c.NextTimeout.Equal(active.Add(time.Minute)) ||
			c.Holds != 5*time.Millisecond || c.Topic != topic || c.Channel != channel {
			t.Errorf("%+v", c)
		}
		if c := got[2]; c.Node != "qd-2:4151" || c.Connection != "" || !c.LastActive.IsZero() || c.Holds != 0 {
			t.Errorf("stock nsqd: %+v", c)
		}
		if got, _ := w.Clients(t.Context(), topic, "", ""); len(got) != 3 || got[0].ID != "p" || len(got[0].Published) != 1 || got[0].Published[0].Count != 1<<60 {
			t.Errorf("producers: %+v", got)
		}
		if got, results := w.Clients(t.Context(), topic, channel, "qd-1:4151"); len(got) != 1 || got[0].Node != "qd-1:4151" || len(results) != 1 {
			t.Errorf("on one node: %+v, %+v", got, results)
		}
		if got, results := w.Clients(t.Context(), "", "", "qd-1:4151"); len(got) != 4 || len(results) != 1 {
			t.Errorf("all of one node: %+v, %+v", got, results)
		}
		if got, results := w.Clients(t.Context(), "", "", "evil:1"); len(got) != 0 || len(results) != 0 {
			t.Errorf("of a node that is not known: %+v, %+v", got, results)
		}

		w.Nodes[0].FailPath("/stats", 500, "INTERNAL_ERROR")
		w.pass(3 * time.Second)
		got, results = w.Clients(t.Context(), topic, channel, "")
		if len(got) != 2 || results[0].OK || results[0].Error != "INTERNAL_ERROR" || !results[1].OK {
			t.Errorf("one of them fails: %+v, %+v", got, results)
		}
	})
}

// Many who look at the same cost a node one reading a period, one who gives up ends it for
// nobody else, and what nobody looks at any more is not read.
func TestClientsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, clustertest.Topics(1))
		w.pass(time.Second)
		topic, channel := clustertest.TopicName(0), clustertest.ChannelName(0)
		w.Nodes[0].Change(func(d *clustertest.Daemon) {
			d.Topic(topic).Channel(channel).Clients = []clustertest.Client{{ClientID: "a"}}
		})
		w.Nodes[0].Slow("/stats", 500*time.Millisecond)
		before := w.Requests("/stats")
		var lookers sync.WaitGroup
		for i := range 100 {
			lookers.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if i%2 == 0 {
					time.AfterFunc(100*time.Millisecond, cancel)
				}
				got, results := w.Clients(ctx, topic, channel, "")
				if i%2 == 0 && (len(got) != 0 || results[0].OK) || i%2 == 1 && len(got) != 1 {
					t.Errorf("looker %d: %+v, %+v", i, got, results)
				}
				if len(got) > 0 {
					got[0].ID = "mine" // nobody else's
				}
			})
		}
		lookers.Wait()
		if got, _ := w.Clients(t.Context(), topic, channel, ""); len(got) != 1 || got[0].ID != "a" {
			t.Errorf("a moment later: %+v", got)
		}
		if n := w.Requests("/stats") - before; n > 2 { // one of them the poll's
			t.Errorf("%d requests", n)
		}
		before = w.Requests("/stats")
		w.pass(time.Minute)
		if n := w.Requests("/stats") - before; n > 31 {
			t.Errorf("%d requests in a minute without lookers", n)
		}
	})
}

// Why a consumer gets nothing.
func TestIdle(t *testing.T) {
	worker := clustertest.Client{ClientID: "w", RemoteAddress: "192.0.2.1:1", State: 3, ReadyCount: 5}
	with := func(do func(*clustertest.Client)) clustertest.Client {
		c := worker
		do(&c)
		return c
	}
	for name, tt := range map[string]struct {
		client clustertest.Client
		set    func(*clustertest.Topic, *clustertest.Channel)
		say    string
	}{
		"works":          {worker, nil, ""},
		"channel paused": {worker, func(_ *clustertest.Topic, c *clustertest.Channel) { c.Paused, c.Pause.Reason = true, "deploy" }, "the channel is paused (deploy)"},
		"topic paused": {worker, func(t *clustertest.Topic, c *clustertest.Channel) {
			t.Paused, t.Depth, c.Depth = true, 9, 0
		}, "the topic is paused: nothing comes to the channel"},
		"topic paused, but there is a backlog": {worker, func(t *clustertest.Topic, _ *clustertest.Channel) { t.Paused, t.Depth = true, 9 }, ""},
		"RDY 0":                                {with(func(c *clustertest.Client) { c.ReadyCount = 0 }), nil, "its RDY is 0"},
		"full":                                 {with(func(c *clustertest.Client) { c.InFlightCount = 5 }), nil, "it holds 5 of the 5 messages that its RDY allows"},
		"holds more":                           {with(func(c *clustertest.Client) { c.InFlightCount, c.ReadyCount = 5, 2 }), nil, "it holds 5 of the 2"},
		"nothing to deliver":                   {worker, func(_ *clustertest.Topic, c *clustertest.Channel) { c.Depth = 0 }, "there is nothing to deliver"},
		"closing":                              {with(func(c *clustertest.Client) { c.State = 4 }), nil, "it is closing"},
		"sample":                               {with(func(c *clustertest.Client) { c.SampleRate = 7 }), nil, "7 of 100"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, clustertest.Topics(1), clustertest.Channels(1))
				topic, channel := clustertest.TopicName(0), clustertest.ChannelName(0)
				w.Nodes[0].Change(func(d *clustertest.Daemon) {
					c := d.Topic(topic).Channel(channel)
					c.Depth, c.Clients = 100, []clustertest.Client{tt.client}
					if tt.set != nil {
						tt.set(d.Topic(topic), c)
					}
				})
				w.pass(time.Second)
				got, _ := w.Clients(t.Context(), topic, channel, "")
				if len(got) != 1 || !strings.Contains(got[0].Idle, tt.say) || (tt.say == "") != (got[0].Idle == "") {
					t.Fatalf("%+v, want %q", got, tt.say)
				}
				w.Nodes[0].Change(func(d *clustertest.Daemon) { d.Topic(topic).Channel(channel).Clients[0].MessageCount += 3 })
				w.pass(3 * time.Second)
				if got, _ := w.Clients(t.Context(), topic, channel, ""); got[0].Idle != "" {
					t.Errorf("it was given something since, and idles because %q", got[0].Idle)
				}
			})
		})
	}
}
