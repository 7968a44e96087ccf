// Package registry is the memory of a lookupd: which daemons are connected,
// which topics and channels each of them has, and which of these are hidden by
// a tombstone.
//
// It is a value without a clock, a lock or I/O. Callers pass the time in and
// keep two calls from overlapping, except that calls which only read may run
// beside each other. Names are taken as they come: whoever speaks to the
// network checks them first.
//
// Every registration is indexed from both its ends, by topic and by peer, so
// that a lookup costs what one topic holds and a lost peer what that peer had,
// however many others there are.
package registry

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Registry maps topics to the peers that have them. Make one with New.
type Registry struct {
	inactive  time.Duration
	tombstone time.Duration
	topics    map[string]*topic
	peers     map[*Peer]struct{}
	issued    uint64 // the last number given to a peer or a registration
}

// Peer is one connection of a daemon. A daemon that connects twice is two.
type Peer struct {
	// What the daemon said of itself and where it called from. They never
	// change, so they may be read at any time.
	Info          protocol.PeerInfo
	RemoteAddress string

	number uint64 // peers that joined later have a greater one
	seen   time.Time
	left   bool // Leave was called
	topics map[*topic]*registration
}

// topic outlives its producers, as in NSQ: consumers that ask for it learn that
// it exists but that nobody has it now.
type topic struct {
	name      string
	producers []*registration
	channels  map[string]*channel
}

type channel struct {
	name      string
	producers map[*registration]struct{}
}

// registration says that a peer has a topic, and with which channels.
//
// Its tombstone lives and dies with it. When the daemon deletes the topic and
// creates it again, what it registers is another generation, which an older
// tombstone cannot hide.
type registration struct {
	peer       *Peer
	topic      *topic
	generation uint64
	buried     time.Time // when a tombstone was set; zero for never
	index      int       // in topic.producers
	channels   []*channel
}

// New returns an empty registry. A peer not heard of for longer than inactive
// is left out of lookups; a tombstone hides for the duration tombstone.
func New(inactive, tombstone time.Duration) *Registry {
	return &Registry{
		inactive:  inactive,
		tombstone: tombstone,
		topics:    make(map[string]*topic),
		peers:     make(map[*Peer]struct{}),
	}
}

// Join adds a peer that has just been heard of. The caller hands it to Leave
// when its connection ends, and to nothing else after that.
func (r *Registry) Join(info protocol.PeerInfo, remoteAddress string, now time.Time) *Peer {
	p := &Peer{
		Info:          info,
		RemoteAddress: remoteAddress,
		number:        r.issue(),
		seen:          now,
		topics:        make(map[*topic]*registration),
	}
	r.peers[p] = struct{}{}
	return p
}

// Seen notes that the peer is alive.
func (r *Registry) Seen(p *Peer, now time.Time) { p.seen = now }

// Leave removes a peer and what it registered, and reports how many topics it
// has taken from it: limit at most, so that a caller with a lock can let others
// in between two calls. Fewer than limit means that the peer is gone. Nothing
// shows it from the first call on. The topics and channels remain, without it.
func (r *Registry) Leave(p *Peer, limit int) int {
	p.left = true
	delete(r.peers, p)
	n := 0
	for _, reg := range p.topics {
		if n == limit {
			break
		}
		reg.remove()
		n++
	}
	return n
}

// Register notes that the peer has the topic and, unless it is empty, the
// channel. It reports whether either is news. Doing it again changes nothing:
// neither the generation nor a tombstone.
func (r *Registry) Register(p *Peer, topicName, channelName string) bool {
	t := r.topic(topicName)
	reg, known := p.topics[t]
	if !known {
		reg = &registration{peer: p, topic: t, generation: r.issue(), index: len(t.producers)}
		t.producers = append(t.producers, reg)
		p.topics[t] = reg
	}
	if channelName == "" {
		return !known
	}
	c := t.channel(channelName)
	if _, has := c.producers[reg]; has {
		return false
	}
	c.producers[reg] = struct{}{}
	reg.channels = append(reg.channels, c)
	return true
}

// Unregister notes that the peer no longer has the channel or, if that is
// empty, the topic with all its channels. An ephemeral name that no peer has
// any more is forgotten. It reports whether the peer had it.
func (r *Registry) Unregister(p *Peer, topicName, channelName string) bool {
	t, exists := r.topics[topicName]
	if !exists {
		return false
	}
	reg := p.topics[t]
	if channelName != "" {
		return t.unregister(reg, channelName)
	}
	if reg != nil {
		reg.remove()
	}
	if len(t.producers) == 0 && protocol.Ephemeral(topicName) {
		r.DeleteTopic(topicName)
	}
	return reg != nil
}

// CreateTopic makes the topic known even before a peer has it.
func (r *Registry) CreateTopic(name string) { r.topic(name) }

func (r *Registry) topic(name string) *topic {
	t, known := r.topics[name]
	if !known {
		t = &topic{name: name}
		r.topics[name] = t
	}
	return t
}

// CreateChannel makes the channel, and its topic, known even before a peer has
// it. Daemons that create the topic ask for its channels and create them too.
func (r *Registry) CreateChannel(topicName, channelName string) {
	r.topic(topicName).channel(channelName)
}

// DeleteTopic forgets the topic, its channels and who had them, until a peer
// registers it again. It reports whether the topic was known.
func (r *Registry) DeleteTopic(name string) bool {
	t, known := r.topics[name]
	if !known {
		return false
	}
	for _, reg := range t.producers {
		delete(reg.peer.topics, t)
	}
	delete(r.topics, name)
	return true
}

// DeleteChannel forgets the channel and who had it, and reports whether it was
// known.
func (r *Registry) DeleteChannel(topicName, channelName string) bool {
	t, known := r.topics[topicName]
	if !known {
		return false
	}
	c, known := t.channels[channelName]
	if !known {
		return false
	}
	for reg := range c.producers {
		reg.drop(c)
	}
	delete(t.channels, channelName)
	return true
}

// Tombstone hides what the daemon at node has registered of the topic from
// lookups for the tombstone's lifetime, and reports how many registrations
// that are. The node is the daemon's broadcast address and HTTP port, with an
// IPv6 address in brackets or, as NSQ writes it, bare.
func (r *Registry) Tombstone(topicName, node string, now time.Time) int {
	t, known := r.topics[topicName]
	if !known {
		return 0
	}
	n := 0
	for _, reg := range t.producers {
		if reg.peer.at(node) {
			reg.buried = now
			n++
		}
	}
	return n
}

func (r *Registry) issue() uint64 {
	r.issued++
	return r.issued
}

func (p *Peer) at(node string) bool {
	host, port := p.Info.BroadcastAddress, strconv.Itoa(p.Info.HTTPPort)
	return node == net.JoinHostPort(host, port) || node == host+":"+port
}

// String names the peer in logs.
func (p *Peer) String() string {
	return net.JoinHostPort(p.Info.BroadcastAddress, strconv.Itoa(p.Info.TCPPort))
}

func (t *topic) channel(name string) *channel {
	c, known := t.channels[name]
	if !known {
		c = &channel{name: name, producers: make(map[*registration]struct{})}
		if t.channels == nil {
			t.channels = make(map[string]*channel)
		}
		t.channels[name] = c
	}
	return c
}

// unregister takes reg, which may be nil, from the channel.
func (t *topic) unregister(reg *registration, channelName string) bool {
	c, known := t.channels[channelName]
	if !known {
		return false
	}
	_, had := c.producers[reg]
	if had {
		delete(c.producers, reg)
		reg.drop(c)
	}
	if len(c.producers) == 0 && protocol.Ephemeral(channelName) {
		delete(t.channels, channelName)
	}
	return had
}

// remove takes the registration out of every index.
func (reg *registration) remove() {
	for _, c := range reg.channels {
		delete(c.producers, reg)
	}
	t := reg.topic
	last := len(t.producers) - 1
	moved := t.producers[last]
	t.producers[reg.index], moved.index = moved, reg.index
	t.producers[last] = nil // a removed peer must not stay reachable
	t.producers = t.producers[:last]
	delete(reg.peer.topics, t)
}

// drop takes c out of the registration's own list alone.
func (reg *registration) drop(c *channel) {
	i := slices.Index(reg.channels, c)
	reg.channels = slices.Delete(reg.channels, i, i+1)
}

func (reg *registration) tombstoned(now time.Time, lifetime time.Duration) bool {
	return !reg.buried.IsZero() && now.Sub(reg.buried) < lifetime
}

func byNumber(a, b *Peer) int { return cmp.Compare(a.number, b.number) }
