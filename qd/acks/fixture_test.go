package acks_test

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/millrace-mq/millrace/qd/acks"
	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

const path = "/data/a.acks"

func seeded(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 2)) }

// newDisk has the directory of path, durably.
func newDisk() *disktest.Disk {
	d := disktest.New()
	d.SetBytes("/data/other", nil)
	return d
}

func open(t *testing.T, fsys disk.FS) (*acks.File, acks.State, acks.Finding) {
	t.Helper()
	f, s, finding, err := acks.Open(fsys, path)
	if err != nil {
		t.Fatal(err)
	}
	return f, s, finding
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(e acks.Entry) acks.Change { return acks.Change{Entry: e} }

func drop(id uint64) acks.Change { return acks.Change{Entry: acks.Entry{ID: id}, Gone: true} }

// equal compares states; that slices are nil does not matter.
func equal(a, b acks.State) bool {
	return a.Cursor == b.Cursor && a.Deferred == b.Deferred && slices.Equal(a.Open, b.Open) && slices.Equal(a.Entries, b.Entries)
}

// channel is a made-up channel: what the file should come to, computed another
// way. Its state is another after each step, and Cursor is the number of steps.
type channel struct {
	rng     *rand.Rand
	state   acks.State
	entries map[uint64]acks.Entry
	changes []acks.Change // not written yet
}

func newChannel(seed int) *channel {
	return &channel{rng: seeded(seed), entries: map[uint64]acks.Entry{}}
}

// step does something with a few messages.
func (c *channel) step(messages int) {
	c.state.Cursor++
	c.state.Deferred = c.rng.Uint64N(1 << 40)
	c.state.Open = nil
	for at := c.rng.Uint64N(3); c.rng.IntN(4) > 0; at += 1 + c.rng.Uint64N(1000) {
		r := acks.Range{From: at, To: at + 1 + c.rng.Uint64N(50)}
		c.state.Open = append(c.state.Open, r)
		at = r.To
	}
	for range messages {
		id := c.rng.Uint64N(uint64(4*messages)) + 1<<50
		if c.rng.IntN(3) == 0 {
			delete(c.entries, id)
			c.changes = append(c.changes, drop(id))
			continue
		}
		e := acks.Entry{
			ID: id, Place: c.rng.Uint64N(1 << 45), Due: c.rng.Int64N(1 << 61), Attempts: uint16(c.rng.UintN(1 << 16)),
			State: acks.EntryState(c.rng.IntN(2)), Reason: uint8(c.rng.UintN(256)),
		}
		c.entries[id] = e
		c.changes = append(c.changes, put(e))
	}
}

func (c *channel) current() acks.State {
	s := c.state
	s.Entries = nil
	for _, id := range slices.Sorted(maps.Keys(c.entries)) {
		s.Entries = append(s.Entries, c.entries[id])
	}
	return s
}

func (c *channel) delta() acks.Delta {
	return acks.Delta{Cursor: c.state.Cursor, Deferred: c.state.Deferred, Open: c.state.Open, Changes: c.changes}
}

func (c *channel) snapshot() acks.Delta { return snapshot(c.current()) }

func snapshot(s acks.State) acks.Delta {
	d := acks.Delta{Reset: true, Cursor: s.Cursor, Deferred: s.Deferred, Open: s.Open}
	for _, e := range s.Entries {
		d.Changes = append(d.Changes, put(e))
	}
	return d
}

// history writes a snapshot and some deltas, and returns all states, the empty
// one first, and where the file ended after each.
func history(t *testing.T, d *disktest.Disk, deltas, messages int) (states []acks.State, ends []int64) {
	t.Helper()
	f, s, _ := open(t, d)
	c := newChannel(1)
	states, ends = append(states, s), append(ends, 0)
	for i := range 1 + deltas {
		c.step(messages)
		if i == 0 {
			must(t, f.Replace(c.snapshot()))
		} else {
			must(t, f.Append(c.delta(), true))
		}
		c.changes = nil
		states, ends = append(states, c.current()), append(ends, int64(len(d.Bytes(path))))
	}
	return states, ends
}

func sameState(t *testing.T, what string, got, want acks.State) {
	t.Helper()
	if !equal(got, want) {
		t.Fatalf("%s: cursor %d deferred %d, %d ranges, %d entries; want cursor %d deferred %d, %d ranges, %d entries", what,
			got.Cursor, got.Deferred, len(got.Open), len(got.Entries), want.Cursor, want.Deferred, len(want.Open), len(want.Entries))
	}
}

func sameFinding(t *testing.T, what string, got, want acks.Finding) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: found %+v, want %+v", what, got, want)
	}
}
