// Package registry is the memory of a lookupd: which daemons are connected,
// which topics and channels each of them has, and which of these are hidden.
//
// It is a value without a clock, a lock or I/O. Callers pass the time in, which
// must not go back, and keep two calls from overlapping, except that calls which
// only read may run beside each other. Names are taken as they come: whoever
// speaks to the network checks them first.
//
// # Daemons and peers
//
// A [Peer] is one connection of a daemon. A daemon that speaks the extension of
// protocol.PeerInfo has an identity: the instance of its data path, its broadcast
// address and its TCP port. Of a daemon without an instance, such as nsqd,
// nothing is known but its connections; it is treated exactly as NSQ does.
//
//   - When a peer joins, earlier connected peers of its identity are superseded:
//     hidden, until they are heard of again, or the later one leaves without having come
//     to Synced and no other is there. One that is heard of must be another daemon
//     with the same identity, and is shown again, as NSQ shows both.
//   - A peer with an identity that leaves is away: hidden, but what it had is
//     remembered for Config.Away. It is not if an earlier one's is that knows more,
//     because this one has not come to Synced. Without an identity, it is forgotten.
//   - Synced says that a peer has named everything. What earlier peers of its
//     identity had, those that are away or superseded, is dissolved; what it has
//     not named was deleted while nobody listened here. The same happens to an
//     earlier one that leaves later.
//   - A connected peer that loses registrations because of somebody else
//     (DeleteTopic, DeleteChannel, Synced) is to be asked for all of them again.
//
// # Generations and tombstones
//
// A registration of a topic has the generation that its peer said, 0 for none. A
// lower one than what this peer has registered is stale and changes nothing, a
// higher one replaces what there is with its channels, and the same, or 0, adds to
// it. A tombstone buries a registration up to a generation: its own, or a higher
// one if the tombstone says so. It hides that of the peer, and those that later
// peers of the same identity make, until its lifetime is over or a higher
// generation is registered.
//
// # Names
//
// A topic or channel is known from when somebody registers or creates it, even
// when nobody has it any more, as in NSQ. It is forgotten
//
//   - by DeleteTopic and DeleteChannel;
//   - when a peer has deleted it (Unregister with a generation, Synced, a higher
//     generation of its topic) and nobody else has it, connected or away;
//   - if it is ephemeral, when a peer has unregistered it and nobody has it.
//
// # How it is kept
//
// A topic has a row of 16 bytes for each peer, in the order of the peers' slots,
// and a bit in each row for each of its channels. A peer has its topics' numbers
// in the order of their names. Neither holds pointers, so that a million
// registrations cost a collection next to nothing; nothing is sorted when asked
// for, and a registration is found from either end without looking at others.
package registry

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Config is how long things last.
type Config struct {
	// Inactive is the silence after which a peer is left out of what consumers
	// and publishers are told; positive.
	Inactive time.Duration
	// Tombstone is how long one hides; 0 makes tombstones hide nothing.
	Tombstone time.Duration
	// Away is how long what a daemon with an identity had is remembered after it
	// has left; 0 or more. A tombstone is remembered no longer than that either.
	Away time.Duration
}

// Registry maps topics to the peers that have them. Make one with New.
type Registry struct {
	config   Config
	topics   table
	ids      map[string]uint32 // of topics by name
	names    index             // all topics
	channels int               // of all topics

	joined     []*Peer // connected ones, in the order in which they joined
	away       []*Peer // in the order in which they left
	slots      []*Peer // connected, away and being taken apart; nil for a free one
	freeSlots  []uint32
	identities map[identity][]*Peer // connected and away, in the order in which they joined
	issued     uint64               // the last peer's number

	tombstones map[burial]grave
	buried     uint64 // registrations, since the start
}

// identity is what tells a daemon from others. That of nsqd is zero.
type identity struct {
	instance, address string
	port              int
}

// Peer is one connection of a daemon.
type Peer struct {
	// What the daemon said of itself and where it called from. They never
	// change, so they may be read at any time.
	Info          protocol.PeerInfo
	RemoteAddress string
	// JSON is the same, as HTTP answers tell it.
	JSON Rendered

	number     uint64 // peers that joined later have a greater one
	slot       uint32 // in Registry.slots; not reused while anything is left of the peer
	identity   identity
	seen       time.Time
	state      protocol.PeerState
	superseded bool // hidden until it is heard of
	resync     bool // others have changed what it registered
	synced     bool // it has named everything
	left       bool // Leave was called
	leftAt     time.Time
	fate       fate
	topics     index
}

// burial names a registration that has a tombstone.
type burial struct{ topic, slot uint32 }

// grave is a tombstone.
type grave struct {
	at   time.Time
	upTo uint64 // the last generation that it hides
}

// after reports whether g counts rather than h, where both are set.
func (g grave) after(h grave) bool {
	return g.at.After(h.at) || g.at.Equal(h.at) && g.upTo > h.upTo
}

// New returns an empty registry.
func New(c Config) *Registry {
	return &Registry{
		config:     c,
		ids:        make(map[string]uint32),
		identities: make(map[identity][]*Peer),
		tombstones: make(map[burial]grave),
	}
}

// Configure has everything last as long as c says from now on, what there is too.
func (r *Registry) Configure(c Config) { r.config = c }

// Join adds a peer that has just been heard of. The caller hands it to Leave when
// its connection ends, and afterwards to nothing else that changes.
func (r *Registry) Join(info protocol.PeerInfo, remoteAddress string, now time.Time) *Peer {
	r.issued++
	p := &Peer{
		Info:          info,
		RemoteAddress: remoteAddress,
		JSON:          render(info, remoteAddress),
		number:        r.issued,
		seen:          now,
	}
	r.joined = append(r.joined, p)
	r.takeSlot(p)
	if !info.Extended || info.Instance == "" {
		return p
	}
	p.identity = identity{info.Instance, info.BroadcastAddress, info.TCPPort}
	p.state = info.State
	for _, earlier := range r.identities[p.identity] {
		earlier.superseded = !earlier.left
	}
	r.identities[p.identity] = append(r.identities[p.identity], p)
	return p
}

// Seen notes that the peer has said something. It reports whether the peer was
// superseded until now: either two daemons share an identity, or this is what an
// old connection still had in it.
func (r *Registry) Seen(p *Peer, now time.Time) (shared bool) {
	p.seen = now
	shared, p.superseded = p.superseded, false
	return shared
}

// HasTwin reports whether a later connection that says it is the same daemon has been
// heard of after since, such as when the peer came back from being superseded.
// One that lives has; what was cut off only seems to, if its last bytes are read late.
func (r *Registry) HasTwin(p *Peer, since time.Time) bool {
	return slices.ContainsFunc(r.identities[p.identity], func(q *Peer) bool {
		return !q.left && q.number > p.number && q.seen.After(since)
	})
}

// Resync reports whether the peer is to be asked for everything again, because
// somebody else has changed what it registered. It says so once.
func (r *Registry) Resync(p *Peer) bool {
	wanted := p.resync
	p.resync = false
	return wanted
}

// SetState notes whether the daemon takes publishes.
func (r *Registry) SetState(p *Peer, s protocol.PeerState) { p.state = s }

// Number is greater for a peer that joined later, and never 0. It may be read at
// any time.
func (p *Peer) Number() uint64 { return p.number }

// String names the peer in logs.
func (p *Peer) String() string {
	return net.JoinHostPort(p.Info.BroadcastAddress, strconv.Itoa(p.Info.TCPPort))
}

// known reports whether the peer is more than its connections.
func (p *Peer) known() bool { return p.identity.instance != "" }

// gone reports whether what is left of the peer counts for nothing, and is only
// waiting to be taken apart.
func (p *Peer) gone() bool { return p.left && !p.known() }

// earlier reports whether q, of the same identity, is a connection that p has
// taken the place of.
func (p *Peer) earlier(q *Peer) bool {
	return q.number < p.number && (q.left || q.superseded)
}

func (r *Registry) takeSlot(p *Peer) {
	if n := len(r.freeSlots); n > 0 {
		p.slot, r.freeSlots = r.freeSlots[n-1], r.freeSlots[:n-1]
		r.slots[p.slot] = p
		return
	}
	// #nosec G115 -- slots and columns are of what is in memory: far fewer than 2^32
	p.slot = uint32(len(r.slots))
	r.slots = append(r.slots, p)
}

// drop forgets a peer that has left and has no registrations. There is none such
// between calls.
func (r *Registry) drop(p *Peer) {
	r.slots[p.slot] = nil
	r.freeSlots = append(r.freeSlots, p.slot)
	if !p.known() {
		return
	}
	remove(&r.away, p)
	same := r.identities[p.identity]
	if remove(&same, p); len(same) == 0 {
		delete(r.identities, p.identity)
		return
	}
	r.identities[p.identity] = same
}

// remove takes p out of peers; from the front, where the oldest are, for nothing.
func remove(peers *[]*Peer, p *Peer) {
	switch i := slices.Index(*peers, p); {
	case i == 0:
		(*peers)[0] = nil
		*peers = (*peers)[1:]
	case i > 0:
		*peers = slices.Delete(*peers, i, i+1)
	}
}

func byNumber(p *Peer, number uint64) int { return cmp.Compare(p.number, number) }
