package registry

import (
	"slices"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Listing is what consumers are told of a topic.
type Listing struct {
	Channels  []string // sorted, whoever has them
	Producers []Producer
}

// Producer is a daemon that has a topic.
type Producer struct {
	*Peer
	State          protocol.PeerState // empty if the daemon has not said
	Paused         bool               // the topic is paused there
	PausedChannels []string           // sorted
}

// Lookup returns the topic's channels, and the peers that have it and are neither
// hidden nor inactive, nor their registrations buried. It reports whether the
// topic is known: one may be without there being a peer.
func (r *Registry) Lookup(topicName string, now time.Time) (found Listing, known bool) {
	id, known := r.ids[topicName]
	if !known {
		return Listing{}, false
	}
	t := r.topics.at(id)
	found.Channels = channelNames(t)
	found.Producers = make([]Producer, 0, len(t.rows))
	for i, row := range t.rows {
		if p := r.slots[row.slot]; r.active(p, now) && !r.tombstoned(t, row, now) {
			found.Producers = append(found.Producers, Producer{p, p.state, row.paused, t.pausedChannels(i)})
		}
	}
	return found, true
}

// Channels returns the topic's channels, sorted; none for an unknown topic.
func (r *Registry) Channels(topicName string) []string {
	id, known := r.ids[topicName]
	if !known {
		return []string{}
	}
	return channelNames(r.topics.at(id))
}

func channelNames(t *topic) []string {
	names := make([]string, len(t.channels))
	for i, c := range t.channels {
		names[i] = c.name
	}
	return names
}

func (t *topic) pausedChannels(i int) (names []string) {
	for _, c := range t.columns {
		if c.paused != nil && c.paused[i] != 0 {
			return t.namesOf(i, t.isPaused)
		}
	}
	return nil
}

// namesOf returns the names of row i's channels that are as asked for.
func (t *topic) namesOf(i int, is func(i int, column uint32) bool) (names []string) {
	for _, c := range t.channels {
		if is(i, c.column) {
			names = append(names, c.name)
		}
	}
	return names
}

// Topics returns limit names of topics at most, in order, that are greater than
// after. All are greater than "".
func (r *Registry) Topics(after string, limit int) []string {
	names := make([]string, 0, min(limit, r.names.n))
	for t := range r.names.after(&r.topics, after) {
		if len(names) == limit {
			break
		}
		names = append(names, t.name)
	}
	return names
}

// Nodes returns limit peers at most that are connected, and neither hidden nor
// inactive, in the order in which they joined, after the one with the number after.
func (r *Registry) Nodes(after uint64, limit int, now time.Time) []*Peer {
	peers := make([]*Peer, 0, min(limit, len(r.joined)))
	first, _ := slices.BinarySearchFunc(r.joined, after+1, byNumber)
	for _, p := range r.joined[first:] {
		if len(peers) == limit {
			break
		}
		if r.active(p, now) {
			peers = append(peers, p)
		}
	}
	return peers
}

// Peers returns all connected peers, hidden and inactive ones too, in the order in
// which they joined.
func (r *Registry) Peers() []*Peer { return slices.Clone(r.joined) }

// LastSeen returns when the peer was last heard of.
func (r *Registry) LastSeen(p *Peer) time.Time { return p.seen }

// State returns what the peer last said about taking publishes, empty if nothing.
func (r *Registry) State(p *Peer) protocol.PeerState { return p.state }

// Superseded reports whether the peer is hidden by a later connection of the same
// daemon.
func (r *Registry) Superseded(p *Peer) bool { return p.superseded }

// PeerTopic is a topic that a peer has registered.
type PeerTopic struct {
	Name       string
	Tombstoned bool // hidden from lookups now
	Paused     bool
}

// PeerTopics returns limit of the topics at most that the peer has registered and
// that are greater than after, in order; none once it has left.
func (r *Registry) PeerTopics(p *Peer, after string, limit int, now time.Time) []PeerTopic {
	if p.left {
		return []PeerTopic{}
	}
	topics := make([]PeerTopic, 0, min(limit, p.topics.n))
	for t := range p.topics.after(&r.topics, after) {
		if len(topics) == limit {
			break
		}
		i, _ := t.find(p.slot)
		topics = append(topics, PeerTopic{t.name, r.tombstoned(t, t.rows[i], now), t.rows[i].paused})
	}
	return topics
}

// Available returns the peers that take publishes, in the order in which they
// joined: connected, neither hidden nor inactive, and neither draining nor failing.
// Given a topic, it leaves out those whose registration of it is buried; given a
// region or a zone, those of others.
func (r *Registry) Available(topicName, region, zone string, now time.Time) []*Peer {
	peers := []*Peer{}
	for _, p := range r.joined {
		takes := r.active(p, now) && (p.state == "" || p.state == protocol.PeerReady)
		near := (region == "" || region == p.Info.TopologyRegion) && (zone == "" || zone == p.Info.TopologyZone)
		if takes && near && !r.buriedAt(p, topicName, now) {
			peers = append(peers, p)
		}
	}
	return peers
}

func (r *Registry) buriedAt(p *Peer, topicName string, now time.Time) bool {
	id, known := r.ids[topicName]
	if !known || len(r.tombstones) == 0 {
		return false
	}
	t := r.topics.at(id)
	i, has := t.find(p.slot)
	return has && r.tombstoned(t, t.rows[i], now)
}

// Record is all that there is to say of a registration.
type Record struct {
	Peer                 *Peer
	LastSeen             time.Time
	Away                 bool // the peer has left, and this is remembered
	Superseded           bool // hidden by a later connection of the same daemon
	Generation           uint64
	Paused               bool
	Tombstoned           bool      // hidden from lookups now
	TombstonedAt         time.Time // zero unless there has been a tombstone
	TombstonedGeneration uint64    // the last one that it hides
	Channels             []string  // sorted
	PausedChannels       []string  // sorted
}

// Registrations returns all that is registered of the topic, hidden or not.
func (r *Registry) Registrations(topicName string, now time.Time) []Record {
	id, known := r.ids[topicName]
	if !known {
		return nil
	}
	t := r.topics.at(id)
	all := make([]Record, 0, len(t.rows))
	for i, row := range t.rows {
		p := r.slots[row.slot]
		if p.gone() {
			continue
		}
		g := r.tombstones[burial{id, row.slot}]
		all = append(all, Record{
			Peer:                 p,
			LastSeen:             p.seen,
			Away:                 p.left,
			Superseded:           p.superseded,
			Generation:           row.generation,
			Paused:               row.paused,
			Tombstoned:           r.tombstoned(t, row, now),
			TombstonedAt:         g.at,
			TombstonedGeneration: g.upTo,
			Channels:             t.namesOf(i, t.has),
			PausedChannels:       t.namesOf(i, t.isPaused),
		})
	}
	return all
}

// Counts is how much there is.
type Counts struct {
	// Connected peers, each in one of these.
	Ready, Draining, Failing, Unsaid int // by state; the unsaid have said none
	Inactive                         int // silent for too long, whatever they last said
	Superseded                       int // hidden by a later connection of the same daemon

	Away             int // peers that have left and are remembered
	Topics, Channels int
	Registrations    int    // of topics, by connected peers
	Tombstones       uint64 // registrations that were buried since the start
}

// Counts returns them. It looks at each peer, and at nothing else.
func (r *Registry) Counts(now time.Time) Counts {
	c := Counts{Away: len(r.away), Topics: len(r.ids), Channels: r.channels, Tombstones: r.buried}
	for _, p := range r.joined {
		c.Registrations += p.topics.n
		switch {
		case p.superseded:
			c.Superseded++
		case !r.active(p, now):
			c.Inactive++
		case p.state == protocol.PeerDraining:
			c.Draining++
		case p.state == protocol.PeerFailing:
			c.Failing++
		case p.state == protocol.PeerReady:
			c.Ready++
		default:
			c.Unsaid++
		}
	}
	return c
}

func (r *Registry) active(p *Peer, now time.Time) bool {
	return !p.left && !p.superseded && now.Sub(p.seen) <= r.config.Inactive
}

func (r *Registry) tombstoned(t *topic, row row, now time.Time) bool {
	return row.buried && now.Sub(r.tombstones[burial{t.id, row.slot}].at) < r.config.Tombstone
}
