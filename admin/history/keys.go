package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// keyBytes is what a key takes besides its text and its values: an entry of the
	// map, which may be half empty, and one of the list.
	keyBytes = 250

	// keyText is how long a key may be, all three names together. Names of topics and
	// channels have 64 bytes at most, and a node's is a host's and a port.
	keyText = 512

	// openMost is what a key takes in the rows that came last.
	openMost = pageRows * int64(Metrics) * 2

	// idleFor is when a key is idle enough to make room for one that is busy, and away
	// long enough to make room for any.
	idleFor = 10 * time.Minute
)

// keys numbers the keys. A number is the key's place in rows and pages; it is given to
// another key when the first one is gone, and then what older rows tell under this
// number is the other's no more: see born.
type keys struct {
	numbers map[Key]uint32
	list    []known
	free    []uint32
	text    int64 // bytes

	resolved []uint32 // of each sample of the newest Add: its number, or nowhere
	spare    []uint32 // its memory before
	left     int      // how many keys of the last Add found no room
}

type known struct {
	key  Key
	used bool
	born int64 // rows up to then tell of another key, ms
	seen int64 // last time in an Add
	busy int64 // last time that anything came or went
}

func newKeys() keys { return keys{numbers: make(map[Key]uint32)} }

// count is how many numbers are in use, or were: what a row must have room for.
func (k *keys) count() int { return len(k.list) }

func (k *keys) bytes() int64 {
	return int64(len(k.list))*keyBytes + k.text + int64(cap(k.resolved)+cap(k.spare)+cap(k.free))*4
}

// fixed is what so many keys with so much text take at most, without the pages that
// are kept: themselves, the rows that came last, and a page in the making.
func fixed(count int, text int64) int64 {
	return int64(count)*(keyBytes+12+openMost+pageMost) + text + marksBytes
}

// room says whether one more key finds room, such that two pages could be kept even if
// all values of all keys were random.
func (k *keys) room(key Key, most int64) bool {
	text := k.text + int64(len(key.Node)+len(key.Topic)+len(key.Channel))
	count := len(k.list) + 1 - len(k.free)
	return fixed(max(count, len(k.list)), text)+2*int64(count)*pageMost <= most
}

// resolve finds the numbers of samples, new ones for those that are new. It reports
// whether there are more keys than before.
func (k *keys) resolve(samples []Sample, t, most int64) (grown bool) {
	before := len(k.list)
	was := k.resolved
	k.resolved, k.spare = slices.Grow(k.spare[:0], len(samples)), was
	k.left = 0
	for i := range samples {
		n, ok := nowhere, false
		n, was, ok = k.find(samples[i].Key, was)
		if !ok && k.room(samples[i].Key, most) {
			n, ok = k.add(samples[i].Key, t)
		}
		if ok {
			k.see(n, &samples[i], t)
		} else {
			n = nowhere
			k.left++
		}
		k.resolved = append(k.resolved, n)
	}
	if k.left > 0 {
		k.replace(samples, t)
	}
	return len(k.list) > before
}

// find finds a key's number. Samples mostly come in the same order as in the Add
// before, of which was holds the numbers that have not had their turn: to compare is
// faster than to look up.
func (k *keys) find(key Key, was []uint32) (n uint32, rest []uint32, ok bool) {
	if len(was) > 0 && was[0] != nowhere && k.list[was[0]].key == key {
		return was[0], was[1:], k.list[was[0]].used
	}
	n, ok = k.numbers[key]
	if ok && len(was) > 1 && was[1] == n {
		was = was[2:] // the one between is gone
	}
	return n, was, ok
}

func (k *keys) see(n uint32, s *Sample, t int64) {
	e := &k.list[n]
	e.seen = t
	if s.busy() {
		e.busy = t
	}
}

func (s *Sample) busy() bool {
	return s.Values[In] > 0 || s.Values[Out] > 0 || s.Values[Requeue] > 0 || s.Values[Timeout] > 0
}

// add numbers a key. It reports false if the key is no name of anything.
func (k *keys) add(key Key, t int64) (uint32, bool) {
	if len(key.Node)+len(key.Topic)+len(key.Channel) > keyText {
		return nowhere, false
	}
	// The names may be parts of a daemon's whole answer.
	key = Key{strings.Clone(key.Node), strings.Clone(key.Topic), strings.Clone(key.Channel)}
	e := known{key: key, used: true, born: t - 1, seen: t, busy: t}
	var n uint32
	if last := len(k.free) - 1; last >= 0 {
		n = k.free[last]
		k.free = k.free[:last]
		k.list[n] = e
	} else {
		// #nosec G115 -- there are fewer keys than bytes of memory for 2^32 of them
		n = uint32(len(k.list))
		k.list = append(k.list, e)
	}
	k.numbers[key] = n
	k.text += int64(len(key.Node) + len(key.Topic) + len(key.Channel))
	return n, true
}

// drop forgets a key.
func (k *keys) drop(n uint32) {
	key := k.list[n].key
	delete(k.numbers, key)
	k.text -= int64(len(key.Node) + len(key.Topic) + len(key.Channel))
	k.list[n] = known{}
	k.free = append(k.free, n)
}

// forget drops the keys that were not seen since.
func (k *keys) forget(since int64) {
	for n := range k.list {
		if e := &k.list[n]; e.used && e.seen < since {
			k.drop(uint32(n))
		}
	}
}

// replace gives keys that found no room the numbers of others: a key that is busy
// those of keys that have been idle or away for long, an idle one of those only that
// are away. An idle key never takes an idle one's: they would take turns for ever.
func (k *keys) replace(samples []Sample, t int64) {
	var out []uint32
	for n := range k.list {
		e := &k.list[n]
		if e.used && e.key.Topic != "" && min(e.busy, e.seen) < t-idleFor.Milliseconds() {
			out = append(out, uint32(n))
		}
	}
	away := func(n uint32) bool { return k.list[n].seen < t-idleFor.Milliseconds() }
	slices.SortFunc(out, func(a, b uint32) int {
		if away(a) != away(b) {
			if away(a) {
				return -1
			}
			return 1
		}
		return cmp.Compare(k.list[a].busy, k.list[b].busy)
	})
	for i, n := range k.resolved {
		if n != nowhere || len(out) == 0 || !samples[i].busy() && !away(out[0]) {
			continue
		}
		if len(samples[i].Node)+len(samples[i].Topic)+len(samples[i].Channel) > keyText {
			continue
		}
		k.drop(out[0])
		out = out[1:]
		k.resolved[i], _ = k.add(samples[i].Key, t)
		k.left--
	}
	// Some of those that made room are in this Add, too.
	for i, n := range k.resolved {
		if n != nowhere && k.list[n].key != samples[i].Key {
			k.resolved[i] = nowhere
			k.left++
		}
	}
}

// Note says in words which series are not kept because there are too many; empty if
// all are.
func (s *Store) Note() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.keys.left == 0 {
		return ""
	}
	return fmt.Sprintf("history is kept of %d topics and channels; %d that were idle longest have none: give it more than %d MiB of memory",
		len(s.keys.numbers), s.keys.left, s.most()>>20)
}
