// Package trouble says what is wrong, in words: from what is known of all daemons now,
// and what history tells of the last minutes. It is pure: no clock, no lock, no I/O.
//
// One cause is one trouble. A channel that is paused is not also without consumers,
// and one without consumers is not also growing; the reason tells the rest. Words and
// figures of a reason may change from one snapshot to the next; a trouble is the same
// as long as its kind and what it is about are, and keeps its Since.
//
// A trouble does not flicker: one that depends on a figure or on a process stays for
// Settings.Linger after its cause was last seen, and says so; and its threshold is lower
// for as long as it is there.
package trouble

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
)

// History is what a Finder asks about the past. *history.Store is one.
type History interface {
	Values(k history.Key, m history.Metric, at []time.Time, values []float64) // NaN: not known
	Mean(k history.Key, m history.Metric, from, to time.Time) float64         // of rates; the highest of others
}

// Finder finds troubles in one snapshot after the other, and remembers since when each
// is there. It belongs to the one who makes the snapshots.
type Finder struct {
	set      Settings
	standing map[id]*standing
	nodes    map[string]lastSeen
	at       time.Time // of the snapshot before
	turn     int       // whose parts are looked at next: see findParts
	parts    map[string]bool

	// Of the Find under way:
	s     *fleet.Snapshot
	h     History
	now   time.Time
	ago   [looks]time.Time // the times that backs says
	found []found
}

// id is what makes a trouble the same as one in the snapshot before.
type id struct{ kind, topic, channel, node string }

// standing is a trouble that is there, was there a moment ago, or will be if it lasts.
type standing struct {
	trouble fleet.Trouble
	weight  int64
	seen    time.Time
	shown   bool
}

// found is a trouble of this snapshot.
type found struct {
	fleet.Trouble
	weight  int64  // messages that it concerns
	key     uint64 // by which it is sorted
	topic   *fleet.Topic
	channel *fleet.Channel
}

// NewFinder returns a Finder that has seen nothing.
func NewFinder(s Settings) *Finder {
	return &Finder{set: s.withDefaults(), standing: make(map[id]*standing), nodes: make(map[string]lastSeen), parts: make(map[string]bool)}
}

// Find sets the troubles of a snapshot, of its topics and of its channels, the worst
// first, and its channels' DrainedIn. h may be nil: then only what is now counts.
func (f *Finder) Find(s *fleet.Snapshot, h History) {
	f.begin(s, h)
	f.findLookupds()
	f.findNodes()
	for i, t := range s.Topics {
		f.findParts(i, t)
		f.findTopic(t)
		for _, c := range t.Channels {
			f.findChannel(t, c)
		}
	}
	f.turn++
	f.forgetParts()
	f.linger()
	f.tell()
	f.s, f.h, f.found = nil, nil, nil
}

func (f *Finder) begin(s *fleet.Snapshot, h History) {
	if h == nil {
		h = noHistory{}
	}
	f.s, f.h, f.now, f.found = s, h, s.At, make([]found, 0, len(f.standing))
	for i, back := range f.backs() {
		f.ago[i] = s.At.Add(-back)
	}
	if s.At.Before(f.at) { // the clock was set back
		for _, st := range f.standing {
			st.seen = earlier(st.seen, s.At)
			st.trouble.Since = earlier(st.trouble.Since, s.At)
		}
		for name, n := range f.nodes {
			n.at = earlier(n.at, s.At)
			f.nodes[name] = n
		}
	}
	f.at = s.At
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// cause is what a check has seen. Since is zero if only the snapshots tell.
type cause struct {
	fleet.Trouble
	weight  int64
	topic   *fleet.Topic
	channel *fleet.Channel
	lasting time.Duration // how long it must be there before it is a trouble
}

// see notes what a check has seen in this snapshot.
func (f *Finder) see(c cause) {
	key := id{c.Kind, c.Topic, c.Channel, c.Node}
	st := f.standing[key]
	if st == nil {
		st = &standing{trouble: fleet.Trouble{Since: f.now}}
		f.standing[key] = st
	}
	if c.Since.IsZero() {
		c.Since = st.trouble.Since
	}
	st.trouble, st.weight, st.seen = c.Trouble, c.weight, f.now
	st.shown = st.shown || f.now.Sub(c.Since) >= c.lasting
	if st.shown {
		f.found = append(f.found, found{Trouble: c.Trouble, weight: c.weight, topic: c.topic, channel: c.channel})
	}
}

// stands says whether there was such a trouble in the snapshot before.
func (f *Finder) stands(kind, topic, channel, node string) bool {
	st := f.standing[id{kind, topic, channel, node}]
	return st != nil && st.shown
}

// stood is how severe the same trouble was in the snapshot before; 0 if it was not.
func (f *Finder) stood(c cause) fleet.Severity {
	if st := f.standing[id{c.Kind, c.Topic, c.Channel, c.Node}]; st != nil && st.shown {
		return st.trouble.Severity
	}
	return 0
}

// lingering are the kinds that come and go with a figure, or with a process that is
// started again and again. All else is counted, or somebody did it: it is over at once.
var lingering = kinds("node-down", "lookup-down", "lookups", "disk-failed", "disk", "memory", "full", "no-consumer", "growing", "timeouts", "requeues")

// backlogs are the kinds of which a backlog has one at a time.
var backlogs = kinds("paused", "no-consumer", "stuck", "growing")

func kinds(list ...string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, k := range list {
		m[k] = true
	}
	return m
}

// linger keeps for a moment the troubles of lingering kinds whose cause was not seen this
// time, unless what they were about is gone, and says that they may be over.
func (f *Finder) linger() {
	for key, st := range f.standing {
		if st.seen.Equal(f.now) {
			continue
		}
		topic, channel, there := f.about(key)
		ago := f.now.Sub(st.seen)
		switch {
		case !there || !st.shown || !lingering[key.kind] || ago > max(f.set.Linger, 2*f.s.Period):
			delete(f.standing, key)
		case f.replaced(key, st):
		default:
			t := st.trouble
			t.Reason = "until " + age(ago) + " ago: " + t.Reason
			f.found = append(f.found, found{Trouble: t, weight: st.weight, topic: topic, channel: channel})
		}
	}
}

// replaced says whether another kind has been told of the same backlog since.
func (f *Finder) replaced(key id, st *standing) bool {
	if !backlogs[key.kind] {
		return false
	}
	for kind := range backlogs {
		other := f.standing[id{kind, key.topic, key.channel, key.node}]
		if other != nil && other.shown && other.seen.After(st.seen) {
			return true
		}
	}
	return false
}

// about finds what a trouble is about, if it is still there.
func (f *Finder) about(key id) (*fleet.Topic, *fleet.Channel, bool) {
	if key.topic == "" {
		return nil, nil, true
	}
	i, ok := slices.BinarySearchFunc(f.s.Topics, key.topic, func(t *fleet.Topic, name string) int { return strings.Compare(t.Name, name) })
	if !ok || key.channel == "" {
		return at(f.s.Topics, i, ok), nil, ok
	}
	t := f.s.Topics[i]
	i, ok = slices.BinarySearchFunc(t.Channels, key.channel, func(c *fleet.Channel, name string) int { return strings.Compare(c.Name, name) })
	return t, at(t.Channels, i, ok), ok
}

func at[T any](list []*T, i int, ok bool) *T {
	if !ok {
		return nil
	}
	return list[i]
}

// tell hands the troubles out, the worst first.
func (f *Finder) tell() {
	// They are large, and pointers to them are not.
	sorted := make([]*found, len(f.found))
	for i := range f.found {
		x := &f.found[i]
		x.key = urgency(x)
		sorted[i] = x
	}
	slices.SortFunc(sorted, func(a, b *found) int {
		if a.key != b.key {
			return cmp.Compare(b.key, a.key)
		}
		return cmp.Or(
			strings.Compare(a.Topic, b.Topic),
			strings.Compare(a.Channel, b.Channel),
			strings.Compare(a.Node, b.Node),
		)
	})
	f.s.Troubles = make([]fleet.Trouble, 0, len(f.found))
	for _, t := range f.s.Topics {
		t.Troubles = nil
		for _, c := range t.Channels {
			c.Troubles = nil
		}
	}
	for _, x := range sorted {
		f.s.Troubles = append(f.s.Troubles, x.Trouble)
		if x.topic != nil {
			x.topic.Troubles = append(x.topic.Troubles, x.Trouble)
		}
		if x.channel != nil {
			x.channel.Troubles = append(x.channel.Troubles, x.Trouble)
		}
	}
}

// urgency is greater for what comes first: by severity; daemons before topics, for much
// hangs on them; by how many messages it concerns, in steps of a power of two, or the
// list would be another every two seconds; by kind.
func urgency(x *found) uint64 {
	wide := uint64(0)
	if x.Topic == "" {
		wide = 1
	}
	// #nosec G115 -- severities and ranks are small numbers of ours
	return uint64(x.Severity)<<32 | wide<<24 | uint64(bits.Len64(uint64(max(x.weight, 0))))<<16 | uint64(255-ranks[x.Kind])
}

// ranks order what weighs the same.
var ranks = func() map[string]int {
	kinds := []string{
		"disk-failed", "node-down", "lookup-down", "disk", "memory", "damaged", "full", "no-consumer", "stuck",
		"growing", "timeouts", "requeues", "dead", "lookups", "no-channel", "versions", "tombstoned", "draining", "paused",
	}
	m := make(map[string]int, len(kinds))
	for i, k := range kinds {
		m[k] = i
	}
	return m
}()

type noHistory struct{}

func (noHistory) Values(_ history.Key, _ history.Metric, _ []time.Time, values []float64) {
	for i := range values {
		values[i] = math.NaN()
	}
}

func (noHistory) Mean(history.Key, history.Metric, time.Time, time.Time) float64 {
	return math.NaN()
}
