package registry_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	manyTopics  = 100_000
	manyPeers   = 1_000
	perPeer     = 1_000  // topics of one peer: ten peers for each topic
	guestTopics = 10_000 // of one more
	step        = 500
	page        = 1_000
)

var topicNames = func() []string {
	names := make([]string, manyTopics)
	for i := range names {
		names[i] = fmt.Sprintf("team-%d.service-%04d.topic", i%7, i*7919%manyTopics)
	}
	return names
}()

func topicName(i int) string { return topicNames[i%manyTopics] }

// large is a registry of 100,000 topics with two channels each, on 1,000 daemons
// that have a thousand of them each, or as many as said.
func large(perPeer int) (*registry.Registry, []*registry.Peer) {
	r := registry.New(config)
	peers := make([]*registry.Peer, manyPeers)
	for i := range peers {
		peers[i] = r.Join(who(fmt.Sprintf("host-%d", i), "i"), "10.0.0.1:1000", start)
		for j := range perPeer {
			register(r, peers[i], i*perPeer+j)
		}
	}
	return r, peers
}

func who(host, instance string) protocol.PeerInfo {
	return protocol.PeerInfo{
		BroadcastAddress: host, HTTPPort: 4151, TCPPort: 4150, Version: protocol.Version,
		Extended: instance != "", Instance: instance,
	}
}

func register(r *registry.Registry, p *registry.Peer, topic int) {
	name := topicName(topic)
	r.Register(p, registry.Registration{Topic: name, Channel: "archive", Generation: 1})
	r.Register(p, registry.Registration{Topic: name, Channel: "metrics", Generation: 1})
}

// guest is a daemon that joins with its topics, in no order.
func guest(r *registry.Registry, instance string, topics []int) *registry.Peer {
	p := r.Join(who("guest", instance), "", start)
	for _, i := range topics {
		register(r, p, i)
	}
	return p
}

func someOf(n int) []int { return rand.Perm(manyTopics)[:n] }

func BenchmarkLookup(b *testing.B) {
	r, _ := large(perPeer)
	everywhere(r, "everywhere")
	for _, n := range []int{10, manyPeers} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				name := "everywhere"
				if n == 10 {
					name = topicName(rand.Int())
				}
				if found, _ := r.Lookup(name, start); len(found.Producers) != n {
					b.Fatal(len(found.Producers))
				}
			}
		})
	}
}

func everywhere(r *registry.Registry, topic string) {
	for _, p := range r.Peers() {
		r.Register(p, registry.Registration{Topic: topic, Channel: "archive", Generation: 1})
		r.Register(p, registry.Registration{Topic: topic, Channel: "metrics", Generation: 1})
	}
}

// A page of a thousand names, and of those of a daemon with ten thousand.
func BenchmarkPage(b *testing.B) {
	r, _ := large(perPeer)
	p := guest(r, "i", someOf(guestTopics))
	b.Run("topics", func(b *testing.B) {
		for b.Loop() {
			r.Topics(topicName(rand.Int()), page)
		}
	})
	b.Run("peer", func(b *testing.B) {
		for b.Loop() {
			r.PeerTopics(p, topicName(rand.Int()), page, start)
		}
	})
	b.Run("nodes", func(b *testing.B) {
		for b.Loop() {
			r.Nodes(0, page, start)
		}
	})
	b.Run("available", func(b *testing.B) {
		for b.Loop() {
			r.Available("", "", "", start)
		}
	})
}

// A daemon registers ten thousand topics with two channels each; the figure is for
// one registration of either kind.
func BenchmarkRegister(b *testing.B) {
	r, _ := large(perPeer)
	for _, again := range []bool{false, true} {
		b.Run(map[bool]string{false: "new", true: "again"}[again], func(b *testing.B) {
			topics := someOf(guestTopics)
			p := guest(r, "", topics)
			n := 0
			for b.Loop() {
				if !again {
					b.StopTimer()
					r.Leave(p, start, guestTopics+1)
					p = r.Join(who("guest", ""), "", start)
					b.StartTimer()
				}
				for _, i := range topics {
					register(r, p, i)
				}
				n += 2 * guestTopics
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/registration")
			r.Leave(p, start, guestTopics+1)
		})
	}
}

// Five hundred registrations are taken out under one lock.
func BenchmarkStep(b *testing.B) {
	r, _ := large(perPeer)
	topics := someOf(step)
	for _, c := range []struct {
		name, instance string
		synced         bool
		do             func(p *registry.Peer) int
	}{
		{"leave", "", false, func(p *registry.Peer) int { return r.Leave(p, start, step) }},
		{"expire", "i", true, func(*registry.Peer) int { return r.Expire(start.Add(away), step) }},
		{"synced", "i", true, func(*registry.Peer) int {
			return r.Synced(r.Join(who("guest", "i"), "", start), step)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				p := guest(r, c.instance, topics)
				if c.synced {
					r.Synced(p, step)
					r.Leave(p, start, step)
				}
				b.StartTimer()
				if n := c.do(p); n != step {
					b.Fatal(n)
				}
			}
		})
	}
}

// A topic with two channels goes that a thousand daemons have, and a channel.
func BenchmarkDelete(b *testing.B) {
	r, _ := large(perPeer)
	for name, do := range map[string]func(topic string) bool{
		"topic":   r.DeleteTopic,
		"channel": func(topic string) bool { return r.DeleteChannel(topic, "archive") },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				topic := topicName(rand.Int()) + "+"
				everywhere(r, topic)
				b.StartTimer()
				if !do(topic) {
					b.Fatal(topic)
				}
				b.StopTimer()
				r.DeleteTopic(topic)
				b.StartTimer()
			}
		})
	}
}

// What it takes in memory, and in a collection.
func BenchmarkMemory(b *testing.B) {
	for _, perPeer := range []int{perPeer, 10 * perPeer} {
		b.Run(fmt.Sprint(perPeer), func(b *testing.B) {
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				r, peers := large(perPeer)
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(manyPeers*perPeer), "B/registration")
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
				began := time.Now()
				runtime.GC()
				b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ms/GC")
				runtime.KeepAlive(r)
				runtime.KeepAlive(peers)
			}
		})
	}
}
