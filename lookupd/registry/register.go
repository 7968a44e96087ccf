package registry

import (
	"math/bits"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Registration is what a peer says that it has.
type Registration struct {
	Topic, Channel string // no channel is the topic alone
	Generation     uint64 // of the topic; 0 for a peer that has none to say
	Paused         bool   // the channel or, without one, the topic
}

// Register notes that the peer has the topic and, unless it is empty, the channel.
// It reports whether anything was news. Doing it again changes nothing: neither
// the generation nor a tombstone.
func (r *Registry) Register(p *Peer, reg Registration) (news bool) {
	t := r.create(reg.Topic)
	i, had := t.find(p.slot)
	var old []uint64
	switch {
	case !had:
		t.insert(i, row{generation: reg.Generation, slot: p.slot})
		p.topics.insert(&r.topics, t.id)
		r.inherit(p, t, i)
		news = true
	case reg.Generation == 0 || reg.Generation == t.rows[i].generation:
	case reg.Generation < t.rows[i].generation:
		return false
	default:
		old = t.channelsOf(i)
		t.clear(i)
		t.rows[i].generation, t.rows[i].paused = reg.Generation, false
		r.inherit(p, t, i)
		news = true
	}
	if reg.Channel != "" {
		news = t.register(i, r.createChannel(t, reg.Channel), reg.Paused) || news
	} else if t.rows[i].paused != reg.Paused {
		t.rows[i].paused, news = reg.Paused, true
	}
	r.forgetChannels(t, old)
	return news
}

// Most is how much a peer may have registered; 0 is any number.
type Most struct {
	Topics   int
	Channels int // of one topic
}

// Excess is what there would be too much of.
type Excess uint8

const (
	None Excess = iota
	Topics
	Channels // of the topic
)

// Over reports of what the peer has as much as it may, so that reg must not be Registered.
// What it has already may always be.
func (r *Registry) Over(p *Peer, reg Registration, most Most) Excess {
	if most == (Most{}) {
		return None
	}
	var i int
	var had bool
	id, known := r.ids[reg.Topic]
	if known {
		i, had = r.topics.at(id).find(p.slot)
	}
	if !had && most.Topics > 0 && p.topics.n >= most.Topics {
		return Topics
	}
	if !had {
		return None
	}
	t := r.topics.at(id)
	if reg.Channel == "" || most.Channels == 0 || reg.Generation > t.rows[i].generation { // the last takes all of them away
		return None
	}
	if place, known := t.findChannel(reg.Channel); known && t.has(i, t.channels[place].column) {
		return None
	}
	n := 0
	for k := range t.columns {
		n += bits.OnesCount64(t.columns[k].has[i])
	}
	if n < most.Channels {
		return None
	}
	return Channels
}

// inherit buries row i, which is new, if there is a tombstone for its generation:
// its own, or one of an earlier peer of the same daemon, even one that is shown: it
// may be an old connection that still had something to say, and is about to end.
// The latest counts.
func (r *Registry) inherit(p *Peer, t *topic, i int) {
	if len(r.tombstones) == 0 {
		return
	}
	own := burial{t.id, p.slot}
	var latest grave
	for _, q := range r.identities[p.identity] {
		g, buried := r.tombstones[burial{t.id, q.slot}]
		if buried && q.number <= p.number && g.upTo >= t.rows[i].generation && g.after(latest) {
			latest = g
		}
	}
	t.rows[i].buried = latest != grave{}
	if t.rows[i].buried {
		r.tombstones[own] = latest
	} else {
		delete(r.tombstones, own)
	}
}

// Unregister notes that the peer no longer has the channel or, if that is empty,
// the topic with all its channels, and reports whether it had. A generation says
// that it was deleted up to that one: a later one stays, and what nobody else has
// is forgotten. Without (0), an ephemeral name that nobody has is.
func (r *Registry) Unregister(p *Peer, topicName, channelName string, generation uint64) (had bool) {
	id, exists := r.ids[topicName]
	if !exists {
		return false
	}
	t := r.topics.at(id)
	i, had := t.find(p.slot)
	if had && generation != 0 && generation < t.rows[i].generation {
		return false
	}
	if channelName != "" {
		return r.unregisterChannel(t, i, had, channelName, generation != 0)
	}
	if had {
		p.topics.remove(&r.topics, t.id)
		r.takeOut(t, i, generation != 0)
	}
	if generation != 0 || protocol.Ephemeral(topicName) {
		r.forgetUnhad(t)
	}
	return had
}

// unregisterChannel takes the channel from row i, if the peer has the topic.
func (r *Registry) unregisterChannel(t *topic, i int, hasTopic bool, name string, deleted bool) (had bool) {
	place, known := t.findChannel(name)
	if !known {
		return false
	}
	column := t.channels[place].column
	if had = hasTopic && t.has(i, column); had {
		t.unregister(i, column)
	}
	if deleted || protocol.Ephemeral(name) {
		words := make([]uint64, len(t.columns))
		k, bit := at(column)
		words[k] = bit
		r.forgetChannels(t, words)
	}
	return had
}

// CreateTopic makes the topic known even before a peer has it.
func (r *Registry) CreateTopic(name string) { r.create(name) }

func (r *Registry) create(name string) *topic {
	if id, known := r.ids[name]; known {
		return r.topics.at(id)
	}
	t := r.topics.take()
	t.name = strings.Clone(name) // it is often part of something longer
	r.ids[t.name] = t.id
	r.names.insert(&r.topics, t.id)
	return t
}

// CreateChannel makes the channel, and its topic, known even before a peer has
// it. Daemons that create the topic ask for its channels and create them too.
func (r *Registry) CreateChannel(topicName, channelName string) {
	r.createChannel(r.create(topicName), channelName)
}

func (r *Registry) createChannel(t *topic, name string) (column uint32) {
	column, added := t.addChannel(name)
	if added {
		r.channels++
	}
	return column
}

// DeleteTopic forgets the topic, its channels and who had them, until a peer
// registers it again. It reports whether the topic was known.
func (r *Registry) DeleteTopic(name string) bool {
	id, known := r.ids[name]
	if !known {
		return false
	}
	r.forget(r.topics.at(id))
	return true
}

// DeleteChannel forgets the channel and who had it, and reports whether it was
// known.
func (r *Registry) DeleteChannel(topicName, channelName string) bool {
	id, known := r.ids[topicName]
	if !known {
		return false
	}
	t := r.topics.at(id)
	place, known := t.findChannel(channelName)
	if !known {
		return false
	}
	for i, row := range t.rows {
		if t.has(i, t.channels[place].column) {
			r.slots[row.slot].loses()
		}
	}
	t.dropChannel(place)
	r.channels--
	return true
}

// loses notes that somebody else has taken something from the peer.
func (p *Peer) loses() { p.resync = p.known() && !p.left }

// Tombstone hides what the daemon at node has registered of the topic for the
// tombstone's lifetime, and reports how many registrations that are. The node is
// the daemon's broadcast address and HTTP port, with an IPv6 address in brackets
// or, as NSQ writes it, bare. Unless it is 0, a generation says that nothing later
// than that is meant, and that all up to it are.
func (r *Registry) Tombstone(topicName, node string, generation uint64, now time.Time) int {
	id, known := r.ids[topicName]
	if !known {
		return 0
	}
	host, port, ok := splitNode(node)
	if !ok {
		return 0
	}
	t := r.topics.at(id)
	n := 0
	for i := range t.rows {
		row := &t.rows[i]
		p := r.slots[row.slot]
		if p.gone() || !p.at(host, port) || generation != 0 && row.generation > generation {
			continue
		}
		row.buried = true
		r.tombstones[burial{id, row.slot}] = grave{now, max(row.generation, generation)}
		n++
	}
	r.buried += uint64(n)
	return n
}

// splitNode takes host:port apart. The host may be bare although it has colons.
func splitNode(node string) (host string, port int, ok bool) {
	i := strings.LastIndexByte(node, ':')
	if i < 0 {
		return "", 0, false
	}
	port, err := strconv.Atoi(node[i+1:])
	return node[:i], port, err == nil && strconv.Itoa(port) == node[i+1:]
}

// at reports whether the host, bare or in brackets, and the port are the peer's.
func (p *Peer) at(host string, port int) bool {
	if port != p.Info.HTTPPort {
		return false
	}
	return host == p.Info.BroadcastAddress || host == bracketed(p.Info.BroadcastAddress)
}

func bracketed(host string) string { return strings.TrimSuffix(net.JoinHostPort(host, ""), ":") }

// takeOut removes row i, which its peer does not list any more. If it was deleted,
// so are those of its channels that nobody else has.
func (r *Registry) takeOut(t *topic, i int, deleted bool) {
	var had []uint64
	if deleted {
		had = t.channelsOf(i)
	}
	if t.rows[i].buried {
		delete(r.tombstones, burial{t.id, t.rows[i].slot})
	}
	t.remove(i)
	r.forgetChannels(t, had)
}

// forgetUnhad forgets the topic if nobody has it, connected or away.
func (r *Registry) forgetUnhad(t *topic) {
	for _, row := range t.rows {
		if !r.slots[row.slot].gone() {
			return
		}
	}
	r.forget(t)
}

// forgetChannels forgets those of the given columns that nobody has.
func (r *Registry) forgetChannels(t *topic, words []uint64) {
	for i := 0; i < len(t.rows) && some(words); i++ {
		if r.slots[t.rows[i].slot].gone() {
			continue
		}
		for k := range words {
			words[k] &^= t.columns[k].has[i]
		}
	}
	if !some(words) {
		return
	}
	for place := len(t.channels) - 1; place >= 0; place-- {
		if k, bit := at(t.channels[place].column); k < len(words) && words[k]&bit != 0 {
			t.dropChannel(place)
			r.channels--
		}
	}
}

// forget removes the topic from everything.
func (r *Registry) forget(t *topic) {
	for _, row := range t.rows {
		p := r.slots[row.slot]
		p.topics.remove(&r.topics, t.id)
		p.loses()
		if row.buried {
			delete(r.tombstones, burial{t.id, row.slot})
		}
		if p.left && p.topics.n == 0 {
			r.drop(p)
		}
	}
	r.channels -= len(t.channels)
	r.names.remove(&r.topics, t.id)
	delete(r.ids, t.name)
	r.topics.giveBack(t.id)
}
