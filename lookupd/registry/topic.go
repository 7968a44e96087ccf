package registry

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// topic outlives its registrations, as in NSQ: consumers that ask for it learn
// that it exists but that nobody has it now.
type topic struct {
	name     string
	id       uint32
	rows     []row     // in the order of slots
	channels []channel // in the order of names
	columns  []columns // for 64 channels each
}

// row is a registration: that a peer has the topic.
type row struct {
	generation uint64
	slot       uint32
	paused     bool
	buried     bool // there is a tombstone, which may have ended
}

// channel is one of the topic's. Its column is a place in columns, reused when it
// is forgotten.
type channel struct {
	name   string
	column uint32
}

// columns say who has which of 64 channels: a bit for each, and a word for each
// row. So what a channel costs is a bit, and a topic with many channels pays
// when a row comes or goes, with a copy that is short.
type columns struct {
	used   uint64 // which of them are channels
	has    []uint64
	paused []uint64 // nil while nothing is
}

func (t *topic) find(slot uint32) (i int, has bool) {
	return slices.BinarySearchFunc(t.rows, slot, func(row row, slot uint32) int { return cmp.Compare(row.slot, slot) })
}

func (t *topic) insert(i int, row row) {
	t.rows = slices.Insert(t.rows, i, row)
	for k := range t.columns {
		c := &t.columns[k]
		c.has = slices.Insert(c.has, i, 0)
		if c.paused != nil {
			c.paused = slices.Insert(c.paused, i, 0)
		}
	}
}

func (t *topic) remove(i int) {
	t.rows = slices.Delete(t.rows, i, i+1)
	for k := range t.columns {
		c := &t.columns[k]
		c.has = slices.Delete(c.has, i, i+1)
		if c.paused != nil {
			c.paused = slices.Delete(c.paused, i, i+1)
		}
	}
}

func (t *topic) findChannel(name string) (place int, known bool) {
	return slices.BinarySearchFunc(t.channels, name, func(c channel, name string) int { return strings.Compare(c.name, name) })
}

// addChannel returns the column of a channel, which it makes known if it is not.
func (t *topic) addChannel(name string) (column uint32, added bool) {
	place, known := t.findChannel(name)
	if known {
		return t.channels[place].column, false
	}
	k := slices.IndexFunc(t.columns, func(c columns) bool { return c.used != ^uint64(0) })
	if k < 0 {
		k = len(t.columns)
		t.columns = append(t.columns, columns{has: make([]uint64, len(t.rows))})
	}
	bit := bits.TrailingZeros64(^t.columns[k].used)
	t.columns[k].used |= 1 << bit
	// #nosec G115 -- slots and columns are of what is in memory: far fewer than 2^32
	column = uint32(k*64 + bit)
	t.channels = slices.Insert(t.channels, place, channel{strings.Clone(name), column})
	return column, true
}

// dropChannel forgets the channel at a place.
func (t *topic) dropChannel(place int) {
	k, bit := at(t.channels[place].column)
	t.channels = slices.Delete(t.channels, place, place+1)
	c := &t.columns[k]
	c.used &^= bit
	for i := range c.has {
		c.has[i] &^= bit
	}
	for i := range c.paused {
		c.paused[i] &^= bit
	}
	for last := len(t.columns) - 1; last >= 0 && t.columns[last].used == 0; last-- {
		t.columns = slices.Delete(t.columns, last, last+1)
	}
}

func at(column uint32) (k int, bit uint64) { return int(column / 64), 1 << (column % 64) }

func (t *topic) has(i int, column uint32) bool {
	k, bit := at(column)
	return t.columns[k].has[i]&bit != 0
}

func (t *topic) isPaused(i int, column uint32) bool {
	k, bit := at(column)
	return t.columns[k].paused != nil && t.columns[k].paused[i]&bit != 0
}

// register notes that row i has the channel, paused or not, and reports whether
// that is news.
func (t *topic) register(i int, column uint32, paused bool) bool {
	if t.has(i, column) && t.isPaused(i, column) == paused {
		return false
	}
	k, bit := at(column)
	c := &t.columns[k]
	c.has[i] |= bit
	switch {
	case paused && c.paused == nil:
		c.paused = make([]uint64, len(t.rows))
		c.paused[i] = bit
	case paused:
		c.paused[i] |= bit
	case c.paused != nil:
		c.paused[i] &^= bit
	}
	return true
}

// unregister takes a channel from row i.
func (t *topic) unregister(i int, column uint32) {
	k, bit := at(column)
	c := &t.columns[k]
	c.has[i] &^= bit
	if c.paused != nil {
		c.paused[i] &^= bit
	}
}

// channelsOf returns the columns that row i has, 64 in a word; nil for none.
func (t *topic) channelsOf(i int) []uint64 {
	words := make([]uint64, 0, 4)
	for _, c := range t.columns {
		words = append(words, c.has[i])
	}
	if !some(words) {
		return nil
	}
	return words
}

// some reports whether any column is among words.
func some(words []uint64) bool {
	for _, w := range words {
		if w != 0 {
			return true
		}
	}
	return false
}

// clear takes all channels from row i.
func (t *topic) clear(i int) {
	for k := range t.columns {
		c := &t.columns[k]
		c.has[i] = 0
		if c.paused != nil {
			c.paused[i] = 0
		}
	}
}
