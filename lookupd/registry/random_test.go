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

// conn is a connection in both worlds.
type conn struct {
	*registry.Peer
	said    *said
	leaving bool
}

// walk does the same to a registry and to the model, at random, and compares what
// they answer and everything that they list.
type walk struct {
	*rand.Rand
	t     *testing.T
	r     *registry.Registry
	m     *model
	now   time.Time
	conns []*conn
	did   []string
}

var (
	someTopics   = []string{"t", "u", "v", "w#ephemeral", "x#ephemeral"}
	someChannels = []string{"", "c", "d", "e#ephemeral"}
	someStates   = []protocol.PeerState{"", protocol.PeerReady, protocol.PeerDraining, protocol.PeerFailing}
)

func pick[T any](w *walk, from []T) T { return from[w.IntN(len(from))] }

func TestAgainstAModel(t *testing.T) {
	for range 4 {
		seed := rand.Uint64()
		w := &walk{rand.New(rand.NewPCG(seed, 0)), t, registry.New(config), newModel(), start, nil, nil}
		for range 1000 {
			w.step()
			if got, want := w.state(w.listed), w.state(w.modelled); got != want {
				t.Fatalf("seed %d: after\n%s\nit says\n%s\nwant\n%s", seed, w.recently(), only(got, want), only(want, got))
			}
			if err := w.r.Audit(); err != nil {
				t.Fatalf("seed %d: after\n%s\n%v", seed, w.recently(), err)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func (w *walk) recently() string { return strings.Join(w.did[max(0, len(w.did)-20):], "\n") }

// only returns the lines of a that b has not.
func only(a, b string) string {
	others := strings.Split(b, "\n")
	lines := slices.DeleteFunc(strings.Split(a, "\n"), func(line string) bool { return slices.Contains(others, line) })
	return strings.Join(lines, "\n")
}

// same compares the answers to an operation, which it notes.
func (w *walk) same(got, want any, format string, args ...any) {
	w.did = append(w.did, fmt.Sprintf(format, args...)+fmt.Sprint(" = ", want))
	if got != want {
		w.t.Errorf("after\n%s\nthe last said %v", w.recently(), got)
	}
}

// operations are what may happen, the more likely the more often they stand here.
var operations = []func(w *walk){
	(*walk).join, (*walk).join,
	(*walk).register, (*walk).register, (*walk).register, (*walk).register, (*walk).register, (*walk).register,
	(*walk).unregister, (*walk).unregister, (*walk).unregister,
	(*walk).sync, (*walk).sync, (*walk).leave, (*walk).leave, (*walk).expire,
	(*walk).hear, (*walk).tombstone, (*walk).admin, (*walk).pass,
}

func (w *walk) step() {
	if len(w.conns) == 0 {
		w.join()
	}
	pick(w, operations)(w)
}

func (w *walk) join() {
	if len(w.conns) > 7 {
		return
	}
	info := protocol.PeerInfo{BroadcastAddress: pick(w, []string{"a", "b"}), TCPPort: 2, HTTPPort: 1}
	info.TopologyRegion, info.TopologyZone = pick(w, []string{"", "r"}), pick(w, []string{"", "z"})
	if w.IntN(4) > 0 {
		info.Extended, info.Instance, info.State = true, pick(w, []string{"i", "j"}), pick(w, someStates)
	}
	remote := fmt.Sprint("conn", w.m.joined+1)
	w.conns = append(w.conns, &conn{w.r.Join(info, remote, w.now), w.m.join(info, remote, w.now), false})
	w.did = append(w.did, fmt.Sprintf("%s joins as %s%s", remote, info.Instance, info.BroadcastAddress))
}

// speaker is a connection that says something, and so has been heard of, as a
// caller would have it; but not always, for the registry does not rely on it.
func (w *walk) speaker() *conn {
	c := pick(w, w.conns)
	for range 10 {
		if !c.leaving {
			break
		}
		c = pick(w, w.conns)
	}
	if !c.leaving && w.IntN(4) > 0 {
		w.same(w.r.Seen(c.Peer, w.now), w.m.heard(c.said, w.now), "%s is heard", c.said.remote)
	}
	return c
}

func (w *walk) generation(c *conn) uint64 {
	if !c.Info.Extended || w.IntN(8) == 0 {
		return 0
	}
	return 1 + w.Uint64N(3)
}

func (w *walk) register() {
	c := w.speaker()
	if c.leaving {
		return
	}
	reg := registry.Registration{Topic: pick(w, someTopics), Channel: pick(w, someChannels), Generation: w.generation(c)}
	reg.Paused = reg.Generation > 0 && w.IntN(4) == 0
	w.same(w.r.Register(c.Peer, reg), w.m.register(c.said, reg), "%s registers %+v", c.said.remote, reg)
}

func (w *walk) unregister() {
	c := w.speaker()
	if c.leaving {
		return
	}
	topic, channel, generation := pick(w, someTopics), pick(w, someChannels), w.generation(c)
	w.same(w.r.Unregister(c.Peer, topic, channel, generation), w.m.unregister(c.said, topic, channel, generation),
		"%s unregisters %s %s %d", c.said.remote, topic, channel, generation)
}

// hear asks all peers whether they are to say everything again, and lets one say
// its state.
func (w *walk) hear() {
	for _, c := range w.conns {
		if !c.leaving {
			w.same(w.r.Resync(c.Peer), c.said.resync, "%s is to say all again", c.said.remote)
			c.said.resync = false
		}
	}
	if c := w.speaker(); !c.leaving {
		c.said.state = pick(w, someStates)
		w.r.SetState(c.Peer, c.said.state)
	}
}

func (w *walk) sync() {
	if c := w.speaker(); !c.leaving {
		limit := 1 + w.IntN(4)
		w.same(w.r.Synced(c.Peer, limit), w.m.sync(c.said, limit), "%s is synced, by %d", c.said.remote, limit)
	}
}

func (w *walk) expire() {
	limit := 1 + w.IntN(4)
	w.same(w.r.Expire(w.now, limit), w.m.expire(w.now, limit), "expiry by %d", limit)
}

// leave begins or goes on with taking a peer apart.
func (w *walk) leave() {
	c := pick(w, w.conns)
	limit := 1 + w.IntN(3)
	c.leaving = true
	got, want := w.r.Leave(c.Peer, w.now, limit), w.m.leave(c.said, w.now, limit)
	if want < 0 {
		want = got
	}
	w.same(got, want, "%s leaves, by %d", c.said.remote, limit)
	if got < limit {
		w.conns = slices.DeleteFunc(w.conns, func(d *conn) bool { return d == c })
	}
}

func (w *walk) tombstone() {
	topic, node, generation := pick(w, someTopics), pick(w, []string{"a:1", "b:1", "a:2"}), w.Uint64N(4)
	w.same(w.r.Tombstone(topic, node, generation, w.now), w.m.tombstone(topic, node, generation, w.now),
		"tombstone of %s at %s to %d", topic, node, generation)
}

// admin is somebody who asks over HTTP.
func (w *walk) admin() {
	topic, channel := pick(w, someTopics), pick(w, someChannels[1:])
	switch w.IntN(4) {
	case 0:
		w.r.CreateTopic(topic)
		w.m.create(topic, "")
		w.did = append(w.did, "created "+topic)
	case 1:
		w.r.CreateChannel(topic, channel)
		w.m.create(topic, channel)
		w.did = append(w.did, "created "+topic+" "+channel)
	case 2:
		w.same(w.r.DeleteTopic(topic), w.m.deleteTopic(topic), "deletion of %s", topic)
	default:
		w.same(w.r.DeleteChannel(topic, channel), w.m.deleteChannel(topic, channel), "deletion of %s %s", topic, channel)
	}
}

// pass lets time go by: often to the very end of something.
func (w *walk) pass() {
	d := pick(w, []time.Duration{tombstone, tombstone, inactive, away})
	if w.IntN(2) == 0 {
		d = time.Duration(w.Int64N(int64(d)))
	}
	w.now = w.now.Add(d)
}

// state is all that can be asked, a line for each thing; the lines of a list that
// has an order stand in it, and all else is sorted.
func (w *walk) state(of func(say func(format string, args ...any))) string {
	var lines []string
	of(func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) })
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// listed asks the registry, page by page where there are pages.
func (w *walk) listed(say func(format string, args ...any)) {
	limit := 1 + w.IntN(3)
	topics := pages(limit, func(after string) []string { return w.r.Topics(after, limit) }, func(s string) string { return s })
	say("topics %q", topics)
	for _, topic := range append(topics, "never") {
		found, known := w.r.Lookup(topic, w.now)
		say("lookup %s %v %q %q", topic, known, found.Channels, w.r.Channels(topic))
		for _, p := range found.Producers {
			say("producer %s %s %s paused %v %q", topic, p.RemoteAddress, p.State, p.Paused, p.PausedChannels)
		}
		for _, reg := range w.r.Registrations(topic, w.now) {
			say("registration %s %s %v", topic, reg.Peer.RemoteAddress, []any{reg.LastSeen, reg.Away, reg.Superseded, reg.Generation,
				reg.Paused, reg.Tombstoned, reg.TombstonedAt, reg.TombstonedGeneration, reg.Channels, reg.PausedChannels})
		}
		for _, near := range [][2]string{{"", ""}, {"r", ""}, {"", "z"}, {"r", "z"}} {
			say("available %s %v %q", topic, near, remotes(w.r.Available(topic, near[0], near[1], w.now)))
		}
	}
	nodes := pages(limit, func(after uint64) []*registry.Peer { return w.r.Nodes(after, limit, w.now) }, (*registry.Peer).Number)
	say("nodes %q", remotes(nodes))
	say("peers %q", remotes(w.r.Peers()))
	say("twins %q", remotes(slices.DeleteFunc(w.r.Peers(), func(p *registry.Peer) bool { return !w.r.HasTwin(p, w.r.LastSeen(p)) })))
	for _, p := range w.r.Peers() {
		say("peer %s %s %s %v", p.RemoteAddress, w.r.LastSeen(p), w.r.State(p), w.r.Superseded(p))
		say("topics of %s %v", p.RemoteAddress, pages(limit, func(after string) []registry.PeerTopic {
			return w.r.PeerTopics(p, after, limit, w.now)
		}, func(t registry.PeerTopic) string { return t.Name }))
	}
	say("%+v", w.r.Counts(w.now))
}

// pages puts a list together.
func pages[T, K any](limit int, page func(after K) []T, key func(T) K) []T {
	all := []T{}
	for after := *new(K); ; after = key(all[len(all)-1]) {
		part := page(after)
		all = append(all, part...)
		if len(part) < limit {
			return all
		}
	}
}

func remotes(peers []*registry.Peer) []string {
	names := []string{}
	for _, p := range peers {
		names = append(names, p.RemoteAddress)
	}
	return names
}

// modelled asks the model the same.
func (w *walk) modelled(say func(format string, args ...any)) {
	m := w.m
	topics := slices.Sorted(maps.Keys(m.topics))
	say("topics %q", topics)
	counts := registry.Counts{Topics: len(topics), Tombstones: m.buried}
	for _, topic := range append(topics, "never") {
		channels := slices.Sorted(maps.Keys(m.topics[topic]))
		counts.Channels += len(channels)
		say("lookup %s %v %q %q", topic, m.topics[topic] != nil, channels, channels)
		for _, p := range m.peers {
			if t := p.topics[topic]; t != nil {
				w.modelledRegistration(say, topic, p, t)
			}
		}
		for _, near := range [][2]string{{"", ""}, {"r", ""}, {"", "z"}, {"r", "z"}} {
			say("available %s %v %q", topic, near, w.which(func(p *said) bool {
				takes := p.state == "" || p.state == protocol.PeerReady
				here := (near[0] == "" || near[0] == p.info.TopologyRegion) && (near[1] == "" || near[1] == p.info.TopologyZone)
				return w.shown(p) && takes && here && !w.hides(p.topics[topic])
			}))
		}
	}
	say("nodes %q", w.which(w.shown))
	say("peers %q", w.which(func(p *said) bool { return !p.left }))
	say("twins %q", w.which(func(p *said) bool {
		return !p.left && p.identity != "" && slices.ContainsFunc(m.peers, func(q *said) bool {
			return q.identity == p.identity && !q.left && q.number > p.number && q.seen.After(p.seen)
		})
	}))
	for _, p := range m.peers {
		if p.left {
			counts.Away++
			continue
		}
		counts.Registrations += len(p.topics)
		switch {
		case p.superseded:
			counts.Superseded++
		case !w.shown(p):
			counts.Inactive++
		default:
			*map[protocol.PeerState]*int{"": &counts.Unsaid, "ready": &counts.Ready, "draining": &counts.Draining, "failing": &counts.Failing}[p.state]++
		}
		say("peer %s %s %s %v", p.remote, p.seen, p.state, p.superseded)
		list := []registry.PeerTopic{}
		for _, topic := range slices.Sorted(maps.Keys(p.topics)) {
			list = append(list, registry.PeerTopic{Name: topic, Tombstoned: w.hides(p.topics[topic]), Paused: p.topics[topic].paused})
		}
		say("topics of %s %v", p.remote, list)
	}
	say("%+v", counts)
}

func (w *walk) modelledRegistration(say func(format string, args ...any), topic string, p *said, t *saidTopic) {
	channels := slices.Sorted(maps.Keys(t.channels))
	paused := slices.DeleteFunc(slices.Clone(channels), func(c string) bool { return !t.channels[c] })
	if w.shown(p) && !w.hides(t) {
		say("producer %s %s %s paused %v %q", topic, p.remote, p.state, t.paused, paused)
	}
	say("registration %s %s %v", topic, p.remote, []any{p.seen, p.left, p.superseded, t.generation,
		t.paused, w.hides(t), t.at, t.upTo, channels, paused})
}

func (w *walk) shown(p *said) bool {
	return !p.left && !p.superseded && w.now.Sub(p.seen) <= inactive
}

func (w *walk) hides(t *saidTopic) bool {
	return t != nil && !t.at.IsZero() && w.now.Sub(t.at) < tombstone
}

func (w *walk) which(are func(p *said) bool) []string {
	names := []string{}
	for _, p := range w.m.peers {
		if are(p) {
			names = append(names, p.remote)
		}
	}
	return names
}
