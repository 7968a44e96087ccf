package registry_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	inactive  = 5 * time.Minute
	tombstone = 45 * time.Second
	away      = 10 * time.Minute
)

var config = registry.Config{Inactive: inactive, Tombstone: tombstone, Away: away}

var start = time.Unix(1_700_000_000, 0)

// world is a registry with a clock and peers called by name.
type world struct {
	*registry.Registry
	now   time.Time
	peers map[string]*registry.Peer
}

func newWorld(peers ...string) *world {
	w := &world{registry.New(config), start, make(map[string]*registry.Peer)}
	for i, name := range peers {
		info := protocol.PeerInfo{BroadcastAddress: name, TCPPort: 4150, HTTPPort: 4151, Version: "1.3.0"}
		w.peers[name] = w.Join(info, fmt.Sprintf("10.0.0.%d:1000", i+1), w.now)
	}
	return w
}

func (w *world) register(peer, topic, channel string) bool {
	return w.Register(w.peers[peer], registry.Registration{Topic: topic, Channel: channel})
}

func (w *world) unregister(peer, topic, channel string) bool {
	return w.Unregister(w.peers[peer], topic, channel, 0)
}

// advance moves the clock and keeps the given peers alive.
func (w *world) advance(d time.Duration, alive ...string) {
	w.now = w.now.Add(d)
	for _, name := range alive {
		w.Seen(w.peers[name], w.now)
	}
}

// found is what a lookup says: "unknown", or the channels, a bar, the peers.
func (w *world) found(topic string) string {
	found, known := w.Lookup(topic, w.now)
	if !known {
		return "unknown"
	}
	var hosts []string
	for _, p := range found.Producers {
		hosts = append(hosts, p.Info.BroadcastAddress)
	}
	slices.Sort(hosts)
	return fmt.Sprint(found.Channels, hosts)
}

func TestWhatALookupFinds(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world)
		want string
	}{
		"nothing said":          {func(*world) {}, "unknown"},
		"a topic":               {func(w *world) { w.register("a", "t", "") }, "[] [a]"},
		"a channel implies its": {func(w *world) { w.register("a", "t", "c") }, "[c] [a]"},
		"twice":                 {func(w *world) { w.register("a", "t", "c"); w.register("a", "t", "c") }, "[c] [a]"},
		"two peers":             {func(w *world) { w.register("a", "t", "c"); w.register("b", "t", "d") }, "[c d] [a b]"},
		"channel taken back": {func(w *world) {
			w.register("a", "t", "c")
			w.unregister("a", "t", "c")
		}, "[c] [a]"},
		"topic taken back": {func(w *world) {
			w.register("a", "t", "c")
			w.register("b", "t", "c")
			w.unregister("a", "t", "")
		}, "[c] [b]"},
		"last topic taken back leaves the names": {func(w *world) {
			w.register("a", "t", "c")
			w.unregister("a", "t", "")
		}, "[c] []"},
		"lost peer leaves the names": {func(w *world) {
			w.register("a", "t", "c")
			leave(w, "a")
		}, "[c] []"},
		"one of three lost": {func(w *world) {
			w.register("a", "t", "")
			w.register("b", "t", "")
			w.register("c", "t", "")
			leave(w, "a")
		}, "[] [b c]"},
		"taken back by one who never had it": {func(w *world) {
			w.register("a", "t", "c")
			w.unregister("b", "t", "c")
			w.unregister("b", "t", "")
		}, "[c] [a]"},
		"created":         {func(w *world) { w.CreateTopic("t") }, "[] []"},
		"channel created": {func(w *world) { w.CreateChannel("t", "c") }, "[c] []"},
		"created beside a peer": {func(w *world) {
			w.register("a", "t", "c")
			w.CreateChannel("t", "c")
		}, "[c] [a]"},
		"topic deleted": {func(w *world) { w.register("a", "t", "c"); w.DeleteTopic("t") }, "unknown"},
		"topic deleted, registered again": {func(w *world) {
			w.register("a", "t", "c")
			w.DeleteTopic("t")
			w.register("a", "t", "d")
		}, "[d] [a]"},
		"topic deleted, taken back late": {func(w *world) {
			w.register("a", "t", "c")
			w.DeleteTopic("t")
			w.unregister("a", "t", "")
			w.unregister("a", "t", "c")
		}, "unknown"},
		"channel deleted": {func(w *world) {
			w.register("a", "t", "c")
			w.register("b", "t", "c")
			w.DeleteChannel("t", "c")
		}, "[] [a b]"},
		"channel deleted, registered again": {func(w *world) {
			w.register("a", "t", "c")
			w.DeleteChannel("t", "c")
			w.register("a", "t", "c")
		}, "[c] [a]"},
		"star is a name": {func(w *world) {
			w.register("a", "t", "c")
			w.DeleteTopic("*")
			w.DeleteChannel("t", "*")
			w.Tombstone("*", "a:4151", 0, w.now)
		}, "[c] [a]"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld("a", "b", "c")
			c.do(w)
			if got := w.found("t"); got != c.want {
				t.Errorf("found %s, want %s", got, c.want)
			}
		})
	}
}

func TestAPeerThatLeavesInStepsIsGoneAtOnce(t *testing.T) {
	w := newWorld("a", "b")
	topics := []string{"t", "u", "v"}
	for _, topic := range topics {
		w.register("a", topic, "c")
		w.register("b", topic, "")
	}
	for step, want := range []int{2, 1, 0} {
		if n := w.Leave(w.peers["a"], w.now, 2); n != want {
			t.Errorf("step %d removed %d, want %d", step, n, want)
		}
		for _, topic := range topics {
			if got := w.found(topic); got != "[c] [b]" {
				t.Errorf("after step %d %s is %s", step, topic, got)
			}
			if regs := w.Registrations(topic, w.now); len(regs) != 1 {
				t.Errorf("after step %d %s has %v", step, topic, regs)
			}
		}
		if got := w.Nodes(0, 10, w.now); len(got) != 1 {
			t.Errorf("after step %d %v are active", step, got)
		}
	}
}

func TestEphemeralNamesAreForgotten(t *testing.T) {
	const topic, channel = "t#ephemeral", "c#ephemeral"
	w := newWorld("a", "b")
	w.register("a", topic, channel)
	w.register("b", topic, channel)

	w.unregister("a", topic, channel)
	if got := w.found(topic); got != "[c#ephemeral] [a b]" {
		t.Errorf("with the channel on b: %s", got)
	}
	w.unregister("b", topic, channel)
	if got := w.found(topic); got != "[] [a b]" {
		t.Errorf("with the channel nowhere: %s", got)
	}
	w.unregister("a", topic, "")
	if got := w.found(topic); got != "[] [b]" {
		t.Errorf("with the topic on b: %s", got)
	}
	w.unregister("b", topic, "")
	if got := w.found(topic); got != "unknown" {
		t.Errorf("with the topic nowhere: %s", got)
	}
}

func TestWhatIsNews(t *testing.T) {
	w := newWorld("a")
	for i, c := range []struct {
		got, want bool
	}{
		{w.register("a", "t", ""), true},
		{w.register("a", "t", ""), false},
		{w.register("a", "t", "c"), true},
		{w.register("a", "t", "c"), false},
		{w.unregister("a", "t", "c"), true},
		{w.unregister("a", "t", "c"), false},
		{w.unregister("a", "t", ""), true},
		{w.unregister("a", "t", ""), false},
		{w.unregister("a", "never", ""), false},
		{w.DeleteChannel("t", "c"), true},
		{w.DeleteChannel("t", "c"), false},
		{w.DeleteChannel("never", "c"), false},
		{w.DeleteTopic("t"), true},
		{w.DeleteTopic("t"), false},
	} {
		if c.got != c.want {
			t.Errorf("call %d said %v, want %v", i, c.got, c.want)
		}
	}
}

func TestSilentPeersAreLeftOut(t *testing.T) {
	w := newWorld("a", "b")
	w.register("a", "t", "")
	w.register("b", "t", "")

	w.advance(inactive, "b")
	if got := w.found("t"); got != "[] [a b]" {
		t.Errorf("at the limit: %s", got)
	}
	w.advance(time.Nanosecond)
	if got := w.found("t"); got != "[] [b]" {
		t.Errorf("beyond it: %s", got)
	}
	if active := w.Nodes(0, 10, w.now); len(active) != 1 || active[0] != w.peers["b"] {
		t.Errorf("active: %v", active)
	}
	if all := w.Peers(); len(all) != 2 || all[0] != w.peers["a"] {
		t.Errorf("all: %v", all)
	}
	w.advance(0, "a")
	if got := w.found("t"); got != "[] [a b]" {
		t.Errorf("heard of again: %s", got)
	}
}

func TestTombstones(t *testing.T) {
	w := newWorld("a", "b")
	w.register("a", "t", "c")
	w.register("b", "t", "c")
	w.register("a", "other", "")

	if n := w.Tombstone("t", "a:9999", 0, w.now); n != 0 {
		t.Errorf("%d hidden by another's port", n)
	}
	if n := w.Tombstone("t", "a:4151", 0, w.now); n != 1 {
		t.Errorf("%d hidden", n)
	}
	if got := w.found("t"); got != "[c] [b]" {
		t.Errorf("hidden: %s", got)
	}
	if got := w.found("other"); got != "[] [a]" {
		t.Errorf("another topic: %s", got)
	}
	if topics := w.PeerTopics(w.peers["a"], "", 10, w.now); fmt.Sprint(topics) != "[{other false false} {t true false}]" {
		t.Errorf("a has %v", topics)
	}

	w.register("a", "t", "d") // a new channel of the same topic
	w.advance(tombstone - 1)
	if got := w.found("t"); got != "[c d] [b]" {
		t.Errorf("just before the end: %s", got)
	}
	w.advance(1)
	if got := w.found("t"); got != "[c d] [a b]" {
		t.Errorf("at the end: %s", got)
	}
}

func TestATombstoneHidesOneGeneration(t *testing.T) {
	for name, again := range map[string]func(w *world){
		"deleted by the daemon": func(w *world) { w.unregister("a", "t", "") },
		"deleted in lookupd":    func(w *world) { w.DeleteTopic("t") },
		"reconnected": func(w *world) {
			old := w.peers["a"]
			leave(w, "a")
			w.peers["a"] = w.Join(old.Info, "10.0.0.1:1001", w.now)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld("a")
			w.register("a", "t", "c")
			w.Tombstone("t", "a:4151", 0, w.now)
			again(w)
			w.register("a", "t", "c")
			if got := w.found("t"); got != "[c] [a]" {
				t.Errorf("after it was created again: %s", got)
			}
			reg := w.Registrations("t", w.now)[0]
			if reg.Tombstoned || !reg.TombstonedAt.IsZero() {
				t.Errorf("there is still a tombstone: %+v", reg)
			}
		})
	}
}

func TestTombstoneNodeSpellings(t *testing.T) {
	for _, node := range []string{"[::1]:4151", "::1:4151"} {
		w := newWorld("::1")
		w.register("::1", "t", "")
		if n := w.Tombstone("t", node, 0, w.now); n != 1 {
			t.Errorf("%s hid %d", node, n)
		}
	}
}

func TestRendered(t *testing.T) {
	p := registry.New(config).Join(protocol.PeerInfo{
		BroadcastAddress: "a", Hostname: `h"<`, TCPPort: 1, HTTPPort: 2, Version: "v", TopologyZone: "z", Instance: "i",
	}, "10.0.0.1:3", start)
	const remote = `"10.0.0.1:3"`
	const facts = `"hostname":"h\"\u003c","broadcast_address":"a","tcp_port":1,"http_port":2,"version":"v","topology_zone":"z","topology_region":""`
	if p.JSON.Remote != remote || p.JSON.Facts != facts {
		t.Errorf("%+v", p.JSON)
	}
}

// leave takes the peer apart, by single registrations.
func leave(w *world, peer string) {
	for w.Leave(w.peers[peer], w.now, 1) == 1 {
	}
}
