package registry_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// model is a registry that could hardly be simpler: flat maps, scanned whole.
type model struct {
	topics   map[string]bool
	channels map[[2]string]bool      // topic, channel
	has      map[[2]string]time.Time // peer, topic: when a tombstone was set
	hasOn    map[[3]string]bool      // peer, topic, channel
	seen     map[string]time.Time
}

func newModel() *model {
	return &model{
		topics:   make(map[string]bool),
		channels: make(map[[2]string]bool),
		has:      make(map[[2]string]time.Time),
		hasOn:    make(map[[3]string]bool),
		seen:     make(map[string]time.Time),
	}
}

func (m *model) register(peer, topic, channel string) {
	m.topics[topic] = true
	if _, had := m.has[[2]string{peer, topic}]; !had {
		m.has[[2]string{peer, topic}] = time.Time{}
	}
	if channel != "" {
		m.channels[[2]string{topic, channel}] = true
		m.hasOn[[3]string{peer, topic, channel}] = true
	}
}

func (m *model) unregister(peer, topic, channel string) {
	if channel != "" {
		delete(m.hasOn, [3]string{peer, topic, channel})
		for k := range m.hasOn {
			if k[1] == topic && k[2] == channel {
				return
			}
		}
		if protocol.Ephemeral(channel) {
			delete(m.channels, [2]string{topic, channel})
		}
		return
	}
	m.forget(func(p, t string) bool { return p == peer && t == topic })
	for k := range m.has {
		if k[1] == topic {
			return
		}
	}
	if protocol.Ephemeral(topic) {
		m.deleteTopic(topic)
	}
}

func (m *model) leave(peer string) {
	m.forget(func(p, _ string) bool { return p == peer })
	delete(m.seen, peer)
}

func (m *model) deleteTopic(topic string) {
	m.forget(func(_, t string) bool { return t == topic })
	maps.DeleteFunc(m.channels, func(k [2]string, _ bool) bool { return k[0] == topic })
	delete(m.topics, topic)
}

func (m *model) deleteChannel(topic, channel string) {
	delete(m.channels, [2]string{topic, channel})
	maps.DeleteFunc(m.hasOn, func(k [3]string, _ bool) bool { return k[1] == topic && k[2] == channel })
}

func (m *model) forget(which func(peer, topic string) bool) {
	maps.DeleteFunc(m.has, func(k [2]string, _ time.Time) bool { return which(k[0], k[1]) })
	maps.DeleteFunc(m.hasOn, func(k [3]string, _ bool) bool { return which(k[0], k[1]) })
}

func (m *model) tombstone(topic, peer string, now time.Time) {
	if _, had := m.has[[2]string{peer, topic}]; had {
		m.has[[2]string{peer, topic}] = now
	}
}

// state is everything that can be asked of the model, as sorted lines.
func (m *model) state(now time.Time) string {
	var lines []string
	for topic := range m.topics {
		lines = append(lines, "topic "+topic)
	}
	for c := range m.channels {
		lines = append(lines, fmt.Sprintf("channel %s %s", c[0], c[1]))
	}
	for k, buried := range m.has {
		hidden := !buried.IsZero() && now.Sub(buried) < tombstone
		lines = append(lines, fmt.Sprintf("has %s %s %v", k[0], k[1], hidden))
		if !hidden && now.Sub(m.seen[k[0]]) <= inactive {
			lines = append(lines, fmt.Sprintf("finds %s %s", k[1], k[0]))
		}
	}
	for k := range m.hasOn {
		lines = append(lines, fmt.Sprintf("on %s %s %s", k[0], k[1], k[2]))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// state asks the registry the same, each index from its own end.
func state(r *registry.Registry, peers map[string]*registry.Peer, now time.Time) string {
	var lines []string
	for _, topic := range r.Topics("", 1000) {
		lines = append(lines, "topic "+topic)
		found, _ := r.Lookup(topic, now)
		for _, c := range found.Channels {
			lines = append(lines, fmt.Sprintf("channel %s %s", topic, c))
		}
		for _, p := range found.Producers {
			lines = append(lines, fmt.Sprintf("finds %s %s", topic, p.Info.BroadcastAddress))
		}
		for _, reg := range r.Registrations(topic, now) {
			for _, c := range reg.Channels {
				lines = append(lines, fmt.Sprintf("on %s %s %s", reg.Peer.Info.BroadcastAddress, topic, c))
			}
		}
	}
	for name, p := range peers {
		for _, t := range r.PeerTopics(p, "", 1000, now) {
			lines = append(lines, fmt.Sprintf("has %s %s %v", name, t.Name, t.Tombstoned))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func leave(r *registry.Registry, p *registry.Peer, now time.Time) {
	for r.Leave(p, now, 1) == 1 {
	}
}

func TestAgainstAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	pick := func(names ...string) string { return names[rnd.IntN(len(names))] }

	r, m, now := registry.New(config), newModel(), start
	peers := make(map[string]*registry.Peer)
	for step := range 5_000 {
		peer := pick("p", "q", "r", "s")
		topic := pick("t", "u", "v", "w#ephemeral", "x#ephemeral")
		channel := pick("c", "d", "e#ephemeral")
		p, joined := peers[peer]
		if !joined {
			p = r.Join(protocol.PeerInfo{BroadcastAddress: peer, HTTPPort: 1}, "", now)
			peers[peer], m.seen[peer] = p, now
		}
		op := rnd.IntN(22)
		switch {
		case op < 4:
			r.Register(p, registry.Registration{Topic: topic, Channel: channel})
			m.register(peer, topic, channel)
		case op < 7:
			r.Register(p, registry.Registration{Topic: topic})
			m.register(peer, topic, "")
		case op < 9:
			r.Unregister(p, topic, channel, 0)
			m.unregister(peer, topic, channel)
		case op < 11:
			r.Unregister(p, topic, "", 0)
			m.unregister(peer, topic, "")
		case op < 13:
			r.Tombstone(topic, peer+":1", 0, now)
			m.tombstone(topic, peer, now)
		case op < 15:
			now = now.Add(time.Duration(rnd.Int64N(int64(tombstone))))
		case op < 17:
			r.Seen(p, now)
			m.seen[peer] = now
		case op == 17:
			r.DeleteTopic(topic)
			m.deleteTopic(topic)
		case op == 18:
			r.DeleteChannel(topic, channel)
			m.deleteChannel(topic, channel)
		case op == 19:
			r.CreateChannel(topic, channel)
			m.topics[topic], m.channels[[2]string{topic, channel}] = true, true
		case op == 20:
			r.CreateTopic(topic)
			m.topics[topic] = true
		default:
			leave(r, p, now)
			m.leave(peer)
			delete(peers, peer)
		}
		if got, want := state(r, peers, now), m.state(now); got != want {
			t.Fatalf("step %d, operation %d on %s %s %s, says\n%s\nwant\n%s", step, op, peer, topic, channel, got, want)
		}
	}
	for name, p := range peers {
		leave(r, p, now)
		delete(peers, name)
	}
	for _, topic := range r.Topics("", 1000) {
		if left := r.Registrations(topic, now); len(left) != 0 {
			t.Errorf("%s is left with %v", topic, left)
		}
	}
}
