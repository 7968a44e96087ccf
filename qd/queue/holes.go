// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative.

package queue

import (
	"slices"
	"sort"
)

// This file is the positions of a log that have no message.

// Hole is a range of positions without messages: emptied, damaged or missing.
type Hole struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"` // the first position behind it
}

// addHole notes that there are no messages from one position to another.
func (t *Topic) addHole(from, to uint64) {
	if from >= to {
		return
	}
	l := t.log
	i := sort.Search(len(l.holes), func(i int) bool { return l.holes[i].To >= from })
	j := i
	for ; j < len(l.holes) && l.holes[j].From <= to; j++ {
		from, to = min(from, l.holes[j].From), max(to, l.holes[j].To)
	}
	l.holes = slices.Replace(l.holes, i, j, Hole{from, to})
}

// forgetHoles drops the holes that no cursor can come to.
func (t *Topic) forgetHoles() {
	l := t.log
	l.holes = slices.DeleteFunc(l.holes, func(h Hole) bool { return h.To <= l.first })
}

// gone is how many positions of a range have no message.
func (l *logged) gone(from, to uint64) (n uint64) {
	for _, h := range l.holes {
		if a, b := max(h.From, from), min(h.To, to); a < b {
			n += b - a
		}
	}
	return n
}

// messages is how many messages there are in a range of positions.
func (l *logged) messages(from, to uint64) int {
	if from >= to {
		return 0
	}
	return int(to - from - l.gone(from, to))
}

// behind is the position behind n messages that begin at pos.
func (l *logged) behind(pos uint64, n int) uint64 {
	for _, h := range l.holes {
		if h.From >= pos+uint64(n) {
			break
		}
		if h.To > pos {
			n -= int(max(h.From, pos) - pos)
			pos = h.To
		}
	}
	return pos + uint64(n)
}

// hole returns the hole at or behind pos that comes first.
func (l *logged) hole(pos uint64) (h Hole, ok bool) {
	for _, h := range l.holes {
		if h.To > pos {
			return h, true
		}
	}
	return h, false
}
