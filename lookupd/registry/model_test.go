package registry_test

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// model is a registry that could hardly be simpler: what each peer said, scanned
// whole for every question.
type model struct {
	topics map[string]map[string]bool // and their channels: what is known
	peers  []*said                    // in the order in which they joined, until nothing is left of them
	joined int                        // how many have
	left   int                        // how many have left
	buried uint64
}

// said is what a peer has said.
type said struct {
	remote, identity string // no identity for one like nsqd
	info             protocol.PeerInfo
	number, lefts    int // the how manieth to join, and to leave
	seen, leftAt     time.Time
	state            protocol.PeerState

	superseded, resync, synced, left bool
	fate                             string // of one that has left
	topics                           map[string]*saidTopic
}

type saidTopic struct {
	generation uint64
	paused     bool
	channels   map[string]bool // paused or not
	at         time.Time       // of its tombstone
	upTo       uint64
}

func newModel() *model { return &model{topics: make(map[string]map[string]bool)} }

func (m *model) join(info protocol.PeerInfo, remote string, now time.Time) *said {
	m.joined++
	p := &said{remote: remote, info: info, number: m.joined, seen: now, topics: make(map[string]*saidTopic)}
	if info.Extended {
		p.identity, p.state = info.Instance+"@"+info.BroadcastAddress, info.State
		for _, q := range m.peers {
			if q.identity == p.identity && !q.left {
				q.superseded = true
			}
		}
	}
	m.peers = append(m.peers, p)
	return p
}

func (m *model) heard(p *said, now time.Time) bool {
	was := p.superseded
	p.seen, p.superseded = now, false
	return was
}

// before returns the earlier peers of p's daemon.
func (m *model) before(p *said) (earlier []*said) {
	for _, q := range m.peers {
		if p.identity != "" && q.identity == p.identity && q.number < p.number {
			earlier = append(earlier, q)
		}
	}
	return earlier
}

// replaced returns the peers that p has taken the place of.
func (m *model) replaced(p *said) []*said {
	return slices.DeleteFunc(m.before(p), func(q *said) bool { return !q.left && !q.superseded })
}

func (m *model) anybodyHas(topic string) bool {
	return slices.ContainsFunc(m.peers, func(p *said) bool { return p.topics[topic] != nil })
}

func (m *model) anybodyHasOn(topic, channel string) bool {
	return slices.ContainsFunc(m.peers, func(p *said) bool {
		t := p.topics[topic]
		if t == nil {
			return false
		}
		_, has := t.channels[channel]
		return has
	})
}

func (m *model) create(topic, channel string) {
	if m.topics[topic] == nil {
		m.topics[topic] = make(map[string]bool)
	}
	if channel != "" {
		m.topics[topic][channel] = true
	}
}

func (m *model) register(p *said, reg registry.Registration) bool {
	m.create(reg.Topic, "")
	old := p.topics[reg.Topic]
	t := old
	news := old == nil || reg.Generation > old.generation
	if old != nil && reg.Generation != 0 && reg.Generation < old.generation {
		return false
	}
	if news {
		t = &saidTopic{generation: reg.Generation, channels: make(map[string]bool)}
		buried := []*saidTopic{}
		for _, q := range append(m.before(p), p) {
			if b := q.topics[reg.Topic]; b != nil && b.upTo >= reg.Generation && !b.at.IsZero() {
				buried = append(buried, b)
			}
		}
		if len(buried) > 0 {
			b := slices.MaxFunc(buried, func(a, b *saidTopic) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.upTo, b.upTo)) })
			t.at, t.upTo = b.at, b.upTo
		}
		p.topics[reg.Topic] = t
	}
	if reg.Channel == "" {
		news = news || t.paused != reg.Paused
		t.paused = reg.Paused
	} else {
		m.create(reg.Topic, reg.Channel)
		paused, has := t.channels[reg.Channel]
		news = news || !has || paused != reg.Paused
		t.channels[reg.Channel] = reg.Paused
	}
	if old != nil && old != t {
		m.forgetUnhad(reg.Topic, old)
	}
	return news
}

// forgetUnhad forgets which of the channels that t names nobody has any more, and
// the topic likewise.
func (m *model) forgetUnhad(topic string, t *saidTopic) {
	for channel := range t.channels {
		if !m.anybodyHasOn(topic, channel) {
			delete(m.topics[topic], channel)
		}
	}
	if !m.anybodyHas(topic) {
		delete(m.topics, topic)
	}
}

func (m *model) unregister(p *said, topic, channel string, generation uint64) bool {
	if m.topics[topic] == nil {
		return false
	}
	t := p.topics[topic]
	if t != nil && 0 < generation && generation < t.generation {
		return false
	}
	if channel == "" {
		delete(p.topics, topic)
		if t != nil && generation > 0 {
			m.forgetUnhad(topic, t)
		}
		if (generation > 0 || protocol.Ephemeral(topic)) && !m.anybodyHas(topic) {
			delete(m.topics, topic)
			m.dropEmpty()
		}
		return t != nil
	}
	had := false
	if t != nil {
		_, had = t.channels[channel]
		delete(t.channels, channel)
	}
	if (generation > 0 || protocol.Ephemeral(channel)) && !m.anybodyHasOn(topic, channel) {
		delete(m.topics[topic], channel)
	}
	return had
}

func (m *model) deleteTopic(topic string) bool {
	known := m.topics[topic] != nil
	delete(m.topics, topic)
	for _, p := range m.peers {
		if p.topics[topic] != nil {
			delete(p.topics, topic)
			p.robbed()
		}
	}
	m.dropEmpty()
	return known
}

func (m *model) deleteChannel(topic, channel string) bool {
	known := m.topics[topic][channel]
	delete(m.topics[topic], channel)
	for _, p := range m.peers {
		if t := p.topics[topic]; t != nil {
			if _, has := t.channels[channel]; has {
				delete(t.channels, channel)
				p.robbed()
			}
		}
	}
	return known
}

func (p *said) robbed() { p.resync = p.identity != "" && !p.left }

// dropEmpty drops those who have left and of whom nothing is left.
func (m *model) dropEmpty() {
	m.peers = slices.DeleteFunc(m.peers, func(p *said) bool { return p.left && len(p.topics) == 0 })
}

func (m *model) tombstone(topic, node string, generation uint64, now time.Time) (n int) {
	for _, p := range m.peers {
		t := p.topics[topic]
		if t != nil && p.info.BroadcastAddress+":1" == node && (generation == 0 || t.generation <= generation) {
			t.at, t.upTo = now, max(t.generation, generation)
			n++
		}
	}
	m.buried += uint64(n)
	return n
}

// leave begins to take leave of p, and goes on.
func (m *model) leave(p *said, now time.Time, limit int) int {
	if p.fate != "gone" && !slices.Contains(m.peers, p) {
		return 0
	}
	if !p.left {
		p.left, p.leftAt, p.superseded, p.resync = true, now, false, false
		p.fate = m.fate(p)
		m.uncover(p)
		m.left++
		p.lefts = m.left
	}
	switch p.fate {
	case "gone": // how many steps it takes cannot be seen
		clear(p.topics)
		m.dropEmpty()
		return -1
	case "away":
		m.dropEmpty()
		return 0
	}
	return m.dissolve(p, limit, p.fate == "replaced")
}

// uncover shows the last connection of p's daemon that is left.
func (m *model) uncover(p *said) {
	var last *said
	for _, q := range m.peers {
		if p.identity != "" && !p.synced && q.identity == p.identity && !q.left {
			last = q
		}
	}
	if last != nil {
		last.superseded = false
	}
}

func (m *model) fate(p *said) string {
	if p.identity == "" {
		return "gone"
	}
	if slices.ContainsFunc(m.peers, func(q *said) bool {
		return q.identity == p.identity && q.number > p.number && q.synced && !q.left
	}) {
		return "replaced"
	}
	if !p.synced && len(m.replaced(p)) > 0 {
		return "forgotten"
	}
	return "away"
}

func (m *model) sync(p *said, limit int) (n int) {
	for _, q := range m.replaced(p) {
		if taken := m.dissolve(q, limit-n, true); taken > 0 {
			n += taken
			q.robbed()
		}
	}
	if n < limit && p.identity != "" {
		p.synced = true
	}
	return n
}

func (m *model) expire(now time.Time, limit int) (n int) {
	gone := slices.Clone(m.peers)
	slices.SortFunc(gone, func(a, b *said) int { return cmp.Compare(a.lefts, b.lefts) })
	for _, p := range gone {
		if p.left && now.Sub(p.leftAt) >= away {
			n += m.dissolve(p, limit-n, false)
		}
	}
	return n
}

// dissolve takes the last of p's topics from it.
func (m *model) dissolve(p *said, limit int, deleted bool) (n int) {
	names := slices.Sorted(maps.Keys(p.topics))
	slices.Reverse(names)
	for _, topic := range names[:min(limit, len(names))] {
		t := p.topics[topic]
		delete(p.topics, topic)
		if deleted {
			m.forgetUnhad(topic, t)
		}
		n++
	}
	m.dropEmpty()
	return n
}
