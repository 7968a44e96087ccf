package registry_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	manyTopics = 100_000
	manyPeers  = 1_000
	perPeer    = 1_000 // topics of one peer: ten peers for each topic
)

func topicName(i int) string { return fmt.Sprintf("topic-%06d", i%manyTopics) }

// large is a registry of 100,000 topics on 1,000 daemons, a channel each.
func large() (*registry.Registry, []*registry.Peer) {
	r := registry.New(config)
	peers := make([]*registry.Peer, manyPeers)
	for i := range peers {
		peers[i] = r.Join(protocol.PeerInfo{BroadcastAddress: fmt.Sprintf("host-%d", i), HTTPPort: 4151}, "", start)
		for j := range perPeer {
			r.Register(peers[i], registry.Registration{Topic: topicName(i*perPeer + j), Channel: "channel"})
		}
	}
	return r, peers
}

func BenchmarkLookup(b *testing.B) {
	r, _ := large()
	i := 0
	for b.Loop() {
		if found, _ := r.Lookup(topicName(i), start); len(found.Producers) != 10 {
			b.Fatal(len(found.Producers))
		}
		i++
	}
}

// A daemon with 10,000 topics comes and goes.

func BenchmarkReturn(b *testing.B) {
	r, _ := large()
	for b.Loop() {
		p := joinGuest(r)
		b.StopTimer()
		r.Leave(p, start, guestTopics+1)
		b.StartTimer()
	}
}

func BenchmarkLoss(b *testing.B) {
	r, _ := large()
	for b.Loop() {
		b.StopTimer()
		p := joinGuest(r)
		b.StartTimer()
		r.Leave(p, start, guestTopics+1)
	}
}

const guestTopics = 10_000

func joinGuest(r *registry.Registry) *registry.Peer {
	p := r.Join(protocol.PeerInfo{BroadcastAddress: "guest"}, "", start)
	for i := range guestTopics {
		r.Register(p, registry.Registration{Topic: topicName(i), Channel: "channel"})
	}
	return p
}

func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		r, peers := large()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(manyPeers*perPeer), "B/registration")
		runtime.KeepAlive(r)
		runtime.KeepAlive(peers)
	}
}
