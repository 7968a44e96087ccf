package registry

import (
	"maps"
	"slices"
	"time"
)

// Lookup returns the topic's channels, and the peers that have it and are
// neither inactive nor hidden by a tombstone. Neither is sorted. It reports
// whether the topic is known: one may be without there being a peer.
func (r *Registry) Lookup(topicName string, now time.Time) (channels []string, producers []*Peer, known bool) {
	t, known := r.topics[topicName]
	if !known {
		return nil, nil, false
	}
	producers = make([]*Peer, 0, len(t.producers))
	for _, reg := range t.producers {
		if r.active(reg.peer, now) && !reg.tombstoned(now, r.tombstone) {
			producers = append(producers, reg.peer)
		}
	}
	return r.Channels(topicName), producers, true
}

// Channels returns the topic's channels, unsorted; none for an unknown topic.
func (r *Registry) Channels(topicName string) []string {
	t, known := r.topics[topicName]
	if !known {
		return []string{}
	}
	return slices.AppendSeq(make([]string, 0, len(t.channels)), maps.Keys(t.channels))
}

// Topics returns every topic, unsorted.
func (r *Registry) Topics() []string {
	return slices.AppendSeq(make([]string, 0, len(r.topics)), maps.Keys(r.topics))
}

// Active returns the peers heard of lately, in the order in which they joined.
func (r *Registry) Active(now time.Time) []*Peer {
	return slices.DeleteFunc(r.Peers(), func(p *Peer) bool { return !r.active(p, now) })
}

// Peers returns all peers, inactive ones too, in the order in which they
// joined.
func (r *Registry) Peers() []*Peer {
	return slices.SortedFunc(maps.Keys(r.peers), byNumber)
}

// LastSeen returns when the peer was last heard of.
func (r *Registry) LastSeen(p *Peer) time.Time { return p.seen }

// PeerTopic is a topic that a peer has registered.
type PeerTopic struct {
	Name       string
	Tombstoned bool // hidden from lookups now
}

// PeerTopics returns what the peer has registered, unsorted; nothing once it
// has left.
func (r *Registry) PeerTopics(p *Peer, now time.Time) []PeerTopic {
	topics := make([]PeerTopic, 0, len(p.topics))
	for t, reg := range p.topics {
		topics = append(topics, PeerTopic{t.name, reg.tombstoned(now, r.tombstone)})
	}
	return topics
}

// Registration is what a peer has registered of a topic, as Registrations
// tells it.
type Registration struct {
	Peer     *Peer
	LastSeen time.Time
	// Generation is greater for a later registration of the same topic.
	Generation   uint64
	Tombstoned   bool      // hidden from lookups now
	TombstonedAt time.Time // zero unless there has been a tombstone
	Channels     []string
}

// Registrations returns all that is registered of the topic, hidden or not.
func (r *Registry) Registrations(topicName string, now time.Time) []Registration {
	t, known := r.topics[topicName]
	if !known {
		return nil
	}
	all := make([]Registration, 0, len(t.producers))
	for _, reg := range t.producers {
		if reg.peer.left {
			continue
		}
		channels := make([]string, 0, len(reg.channels))
		for _, c := range reg.channels {
			channels = append(channels, c.name)
		}
		all = append(all, Registration{
			Peer:         reg.peer,
			LastSeen:     reg.peer.seen,
			Generation:   reg.generation,
			Tombstoned:   reg.tombstoned(now, r.tombstone),
			TombstonedAt: reg.buried,
			Channels:     channels,
		})
	}
	return all
}

func (r *Registry) active(p *Peer, now time.Time) bool {
	return !p.left && now.Sub(p.seen) <= r.inactive
}
