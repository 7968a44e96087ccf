package sampler_test

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/sampler"
	"github.com/millrace-mq/millrace/admin/trouble"
)

// watched is a fleet and a Sampler that watches it.
type watched struct {
	*clustertest.Fleet
	*sampler.Sampler
	cluster *cluster.Cluster
	store   *history.Store
	begin   func() // at the first pass, so that a test changes the fleet before anybody has looked
}

// watch watches a played fleet under a fake clock, from the first pass until the test ends.
func watch(t *testing.T, options ...clustertest.Option) *watched {
	t.Helper()
	f := clustertest.NewFleet(t, append(options, clustertest.InMemory())...)
	return watchFleet(t, f)
}

func watchFleet(t *testing.T, f *clustertest.Fleet) *watched {
	t.Helper()
	w := &watched{Fleet: f, cluster: f.Cluster(t), store: history.New(history.Settings{})}
	w.Sampler = sampler.New(sampler.Settings{}, w.cluster, w.store, trouble.NewFinder(trouble.Settings{}), slog.New(slog.NewTextHandler(t.Output(), nil)))
	w.begin = sync.OnceFunc(func() {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		t.Cleanup(func() {
			cancel()
			<-ended
		})
	})
	return w
}

// pass lets time pass, and returns what is known then.
func (w *watched) pass(d time.Duration) *fleet.Snapshot {
	w.begin()
	time.Sleep(d)
	synctest.Wait()
	return w.Latest()
}

// near reports whether a rate is about what it should be.
func near(got, want float64) bool { return math.Abs(got-want) <= 0.05*want+0.5 }

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, clustertest.Nodes(3), clustertest.Stock(1), clustertest.Topics(2))
		for i, n := range w.Nodes {
			n.Change(func(d *clustertest.Daemon) {
				topic := d.Topic(clustertest.TopicName(0))
				topic.Messages, topic.Bytes, topic.Depth = 100, 1000, 7
				c := topic.Channel(clustertest.ChannelName(1))
				c.Depth, c.OnDisk, c.InFlight, c.Deferred = int64(10*(i+1)), 3, 2, 1
				c.Messages, c.Requeued, c.TimedOut = 1<<60, 5, 6
				c.Paused, c.Pause = i == 1, clustertest.Pause{Reason: "deploy", By: "ann"}
				d.Show(c, "dead", []byte("x"))
				c.Clients = []clustertest.Client{{ClientID: "a"}, {ClientID: "b"}}
			})
		}
		if s := w.Latest(); s == nil || !s.At.IsZero() {
			t.Errorf("before the first poll: %+v", s)
		}
		s := w.pass(time.Second)
		if len(s.Nodes) != 3 || len(s.Topics) != 2 || len(s.Lookupds) != 1 || s.At.IsZero() || s.Period != 2*time.Second {
			t.Fatalf("%d nodes, %d topics, %d lookupds, at %v, every %v", len(s.Nodes), len(s.Topics), len(s.Lookupds), s.At, s.Period)
		}
		c := s.Channel(clustertest.TopicName(0), clustertest.ChannelName(1))
		if c == nil || c.Depth != 60 || c.OnDisk != 9 || c.InFlight != 6 || c.Deferred != 3 || c.Dead != 2 || c.Clients != 6 ||
			c.Messages != 3<<60+3 || c.Requeued != 15 || c.TimedOut != 18 || len(c.Nodes) != 3 || !c.Paused || c.Pause == nil || c.Pause.By != "ann" {
			t.Errorf("the channel: %+v", c)
		}
		topic := s.Topic(clustertest.TopicName(0))
		if topic.Messages != 300 || topic.Depth != 21 || topic.Total.Depth != 81 || topic.Total.Messages != 300 || len(topic.Channels) != 2 || len(topic.Nodes) != 3 {
			t.Errorf("the topic: %+v", topic)
		}
		if s.Totals.Depth != 81 || s.Totals.Messages != 300 || s.Totals.Clients != 6 || s.Totals.InFlight != 6 {
			t.Errorf("the totals: %+v", s.Totals)
		}
		n := s.Node("qd-0:4151")
		if n == nil || !n.Up || !n.Millrace || n.State != "ready" || n.DiskSize != 100<<30 || n.Hostname != "host-0" || n.TCPPort != 4150 || n.HTTPPort != 4151 ||
			n.BroadcastAddress != "qd-0" || n.Version != "1.3.0" || n.Health != "OK" || len(n.Topics) != 2 || n.Started.IsZero() || n.Total.Messages != 100 ||
			!slices.Equal(n.Lookups, []string{"lookupd-0:4161"}) || len(n.RemoteAddresses) != 1 || !strings.HasPrefix(n.RemoteAddresses[0], "lookupd-0:4161/") {
			t.Errorf("a node: %+v", n)
		}
		if n := s.Node("qd-2:4151"); n == nil || n.Millrace || n.State != "" || n.DiskSize != 0 || n.Topic(clustertest.TopicName(0)).Durability != "" {
			t.Errorf("stock nsqd: %+v", n)
		}
	})
}

// Rates are what comes and goes in a second, on qd and on nsqd, which does not count what
// it has finished.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, clustertest.Nodes(2), clustertest.Stock(1), clustertest.Topics(1), clustertest.Channels(2))
		for _, n := range w.Nodes {
			n.Change(func(d *clustertest.Daemon) {
				topic := d.Topic(clustertest.TopicName(0))
				topic.PerSecond = 100
				topic.Channel(clustertest.ChannelName(0)).Depth = 1 << 30
				topic.Channel(clustertest.ChannelName(0)).PerSecond = 300
				topic.Channel(clustertest.ChannelName(1)).RequeuedPerSecond = 10
				topic.Channel(clustertest.ChannelName(1)).TimedOutPerSecond = 5
			})
		}
		if s := w.pass(time.Second); s.Totals.In >= 0 || s.Totals.Out >= 0 {
			t.Errorf("rates are known after one poll: %+v", s.Totals.Rates)
		}
		s := w.pass(20 * time.Second)
		want := fleet.Rates{In: 200, Out: 600, Requeue: 20, Timeout: 10}
		for what, got := range map[string]fleet.Rates{"totals": s.Totals.Rates, "topic": s.Topics[0].Total.Rates} {
			if !near(got.In, want.In) || !near(got.Out, want.Out) || !near(got.Requeue, want.Requeue) || !near(got.Timeout, want.Timeout) {
				t.Errorf("%s: %+v, want %+v", what, got, want)
			}
		}
		c := s.Topics[0].Channels[0]
		if !near(c.In, 200) || !near(c.Out, 600) || !near(c.Nodes[1].Out, 300) || !near(s.Nodes[0].Total.In, 100) {
			t.Errorf("a channel: %+v, on a node: %+v", c.Rates, c.Nodes[1].Rates)
		}
		for key, in := range map[history.Key]float64{
			{}: 200, {Node: "qd-1:4151"}: 100, {Topic: clustertest.TopicName(0)}: 200,
			{Topic: clustertest.TopicName(0), Channel: clustertest.ChannelName(1)}: 200,
		} {
			if got := w.store.Value(key, history.In, s.At); !near(got, in) {
				t.Errorf("history of %+v: %v come in a second, want %v", key, got, in)
			}
		}
		if got := w.store.Value(history.Key{Topic: clustertest.TopicName(0)}, history.Out, s.At); !near(got, 600) {
			t.Errorf("history of the topic: %v go in a second, want 600", got)
		}
	})
}

// A daemon that restarts, or misses polls, makes neither a dip nor a spike.
func TestRatesAcrossTrouble(t *testing.T) {
	for name, hit := range map[string]func(*clustertest.Node){
		"restart":       func(n *clustertest.Node) { n.Restart() },
		"a missed poll": func(n *clustertest.Node) { n.Down(); time.Sleep(3 * time.Second); n.Heal() },
		"a refusal":     func(n *clustertest.Node) { n.Fail(503, "BUSY"); time.Sleep(5 * time.Second); n.Heal() },
		"hanging": func(n *clustertest.Node) {
			n.Hang()
			time.Sleep(7 * time.Second)
			n.Heal()
		},
		"half an answer": func(n *clustertest.Node) {
			n.AnswerPath("/stats", 200, `{"version":"1.3.0","start_time":1,"topics":[{"topic_name":"topic-00000","message_count":1}`)
			time.Sleep(3 * time.Second)
			n.Heal()
		},
		"down, then restarted": func(n *clustertest.Node) {
			n.Down()
			time.Sleep(4 * time.Second)
			n.Restart()
			n.Heal()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, clustertest.Nodes(2), clustertest.Stock(1), clustertest.Topics(1), clustertest.Channels(1))
				for _, n := range w.Nodes {
					n.Change(func(d *clustertest.Daemon) {
						d.Topic(clustertest.TopicName(0)).PerSecond = 100
						d.Topic(clustertest.TopicName(0)).Channel(clustertest.ChannelName(0)).Depth = 1 << 20
						d.Topic(clustertest.TopicName(0)).Channel(clustertest.ChannelName(0)).PerSecond = 200
					})
				}
				w.pass(31 * time.Second)
				for _, n := range w.Nodes {
					changed := make(chan struct{})
					go func() {
						defer close(changed)
						hit(n)
					}()
					for range 60 {
						s := w.pass(500 * time.Millisecond)
						if !near(s.Totals.In, 200) || !near(s.Totals.Out, 400) {
							t.Errorf("%s, %v: in %v, out %v; want 200 and 400", n.Address(), s.At, s.Totals.In, s.Totals.Out)
						}
						if in := w.store.Value(history.Key{}, history.In, s.At); !near(in, 200) {
							t.Errorf("%s, %v: history says %v, want 200", n.Address(), s.At, in)
						}
					}
					<-changed
				}
			})
		})
	}
}

// A node that hangs delays no other and blanks nothing.
func TestHangingNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, clustertest.Nodes(3), clustertest.Topics(1))
		for _, n := range w.Nodes {
			n.Change(func(d *clustertest.Daemon) { d.Topic(clustertest.TopicName(0)).Publish(10, 1) })
		}
		w.pass(3 * time.Second)
		w.Nodes[1].Hang()
		var oldest time.Duration
		for range 100 {
			s := w.pass(300 * time.Millisecond)
			oldest = max(oldest, time.Since(s.At), time.Since(s.Node("qd-0:4151").Seen))
			if n := s.Node("qd-1:4151"); n == nil || len(n.Topics) != 1 || s.Topics[0].Messages != 30 {
				t.Fatalf("its last figures are gone: %+v", n)
			}
		}
		if oldest > 4*time.Second {
			t.Errorf("the others' figures were %v old", oldest)
		}
		s := w.Latest()
		n := s.Node("qd-1:4151")
		if n.Up || !strings.Contains(n.Error, "no answer within 5s") || time.Since(n.Seen) < 25*time.Second {
			t.Errorf("the node: up %v, %q, seen %v ago", n.Up, n.Error, time.Since(n.Seen))
		}
		if !slices.ContainsFunc(s.Troubles, func(x fleet.Trouble) bool { return x.Kind == "node-down" && x.Node == n.Address }) {
			t.Errorf("troubles: %+v", s.Troubles)
		}
		w.Nodes[1].Heal()
		if s := w.pass(8 * time.Second); !s.Node("qd-1:4151").Up || s.Node("qd-1:4151").Error != "" {
			t.Errorf("it answers again: %+v", s.Node("qd-1:4151"))
		}
		if marks := w.store.Series(history.Key{}, time.Now().Add(-time.Minute), time.Now(), 10).Marks; len(marks) != 2 {
			t.Errorf("marks: %+v", marks)
		}
	})
}

// One poll a period, whoever looks; and the lookupds are asked as often.
func TestManyWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, clustertest.Nodes(2), clustertest.Topics(1))
		topic, channel := clustertest.TopicName(0), clustertest.ChannelName(0)
		w.pass(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var watchers sync.WaitGroup
		for range 50 {
			watchers.Go(func() {
				for ctx.Err() == nil {
					changed := w.Changed()
					_ = w.Latest()
					_, _ = w.Clients(ctx, topic, channel, "")
					select {
					case <-changed:
					case <-ctx.Done():
					}
				}
			})
		}
		before := w.Requests("/stats")
		w.pass(20 * time.Second)
		cancel()
		watchers.Wait()
		// Each of the two: ten polls, and ten looks at clients.
		if n := w.Requests("/stats") - before; n < 38 || n > 42 {
			t.Errorf("%d requests in ten periods, want 40", n)
		}
		if n := w.Lookupds[0].Requests("/nodes"); n < 10 || n > 12 {
			t.Errorf("the lookupd was asked %d times", n)
		}
	})
}

func TestPoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, clustertest.Topics(1))
		w.pass(4100 * time.Millisecond)
		w.Nodes[0].Change(func(d *clustertest.Daemon) { d.Topic("new") })
		changed := w.Changed()
		for range 10 {
			w.Poke()
		}
		began := time.Now()
		<-changed
		if s := w.Latest(); time.Since(began) > 300*time.Millisecond || s.Topic("new") == nil {
			t.Errorf("after %v the topic is %+v", time.Since(began), s.Topic("new"))
		}
		polls := w.Requests("/stats")
		for range 100 { // however often: four times a second at most
			w.Poke()
			time.Sleep(10 * time.Millisecond)
		}
		if n := w.Requests("/stats") - polls; n > 5 {
			t.Errorf("%d polls in a second", n)
		}
	})
}
