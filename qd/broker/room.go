package broker

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/qd/journal"
	"github.com/millrace-mq/millrace/qd/queue"
)

const (
	// sweepEvery is how often the side log is looked through for segments that are
	// not worth tending.
	sweepEvery = 10 * time.Second
	// worthKeeping is the part of a segment's messages, one in so many, that are
	// rather left there than moved, so that the segment could go.
	worthKeeping = 4
	// retentionLook is how often a topic that is idle is looked at for segments
	// that have become too old.
	retentionLook = 15 * time.Second
)

// keepUp deletes segments that nobody needs. again is when to look again though
// nothing happens; 0 is never.
func (t *Topic) keepUp() (again time.Duration, err error) {
	t.mu.Lock()
	gone, low, policy, settled := t.gone, t.needed(), t.policy, t.core.Settled()
	idle := t.broker.Now()-t.lastPub > int64(idleAfter)
	from, wait, held := t.heldFrom(t.broker.Now())
	t.mu.Unlock()
	if gone {
		return 0, nil
	}
	if held {
		low, again = min(low, from), wait
	}
	if cut, start := t.cut(low, policy, idle), t.logs.main.Start(); cut > start {
		u, now := &t.logs.upkeep, t.broker.Now()
		switch {
		case start == u.pinned && now < u.pinnedTo: // by parked messages: to look again takes time
			again = sooner(again, time.Duration(u.pinnedTo-now))
		default:
			if err = t.trim(cut); err == nil && t.logs.main.Start() == start {
				u.pinned, u.pinnedTo = start, now+int64(sweepEvery)
			}
		}
	}
	if policy.RetentionAge > 0 && t.logs.main.Start() < t.logs.main.End() {
		again = sooner(again, retentionLook)
	}
	if u := &t.logs.upkeep; !held && settled-u.sweptFor > u.sweepNeed && t.worthSweeping() {
		if now := t.broker.Now(); now > u.sweepAt {
			failed := t.sweep()
			if u.sweepAt = now + int64(sweepEvery); failed == nil {
				u.sweptFor = settled
			}
			err = errors.Join(err, failed)
		} else {
			again = sooner(again, time.Duration(u.sweepAt-now)+time.Millisecond)
		}
	}
	if idle || t.broker.crowded() {
		err = errors.Join(err, t.alone(func() error { t.logs.main.Rest(); t.logs.side.Rest(); return nil }))
		t.broker.rested(t)
	} else {
		again = sooner(again, idleAfter)
	}
	return again, err
}

// needed is the position from which on the log is needed. Where the policy says how much is
// kept, somebody who looks at what was, and may have stopped, does not keep more. Under mu.
func (t *Topic) needed() uint64 {
	if t.policy.retains() || t.policy.bounded() {
		return t.core.Owed()
	}
	return t.core.Low()
}

// sooner is the shorter of two times, of which 0 is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// cut returns the position before which whole segments can go: all channels are
// done with them, and no retention asks for them.
func (t *Topic) cut(low uint64, policy Policy, idle bool) uint64 {
	segments := t.logs.main.Segments()
	now := t.broker.Now()
	bytes := t.logs.main.Bytes()
	cut := t.logs.main.Start()
	for i, s := range segments {
		last := i == len(segments)-1
		if s.End > low || last && !idle {
			break
		}
		if policy.retains() {
			newest := t.broker.Now()
			if !last {
				newest = segments[i+1].Oldest
			}
			old := policy.RetentionAge > 0 && newest != 0 && now-newest > int64(policy.RetentionAge)
			much := policy.RetentionBytes > 0 && bytes-s.Bytes >= policy.RetentionBytes
			if !old && !much || last {
				break
			}
		}
		bytes -= s.Bytes
		cut = s.End
	}
	return cut
}

// trim deletes the segments before cut. Messages in them that are parked are
// moved to the side log first, unless they are too many.
func (t *Topic) trim(cut uint64) error {
	var places []uint64
	collect := func() {
		places = places[:0]
		t.core.ParkedBefore(cut, func(place uint64) { places = append(places, place) })
	}
	t.mu.Lock()
	cut = min(cut, t.needed())
	collect()
	if start := t.logs.main.Start(); len(places) > 0 && uint64(len(places)) > (cut-start)/worthKeeping {
		// Only the segments before the first of them.
		cut = slices.Min(places)
		collect()
	}
	t.mu.Unlock()
	failed := t.move(places)
	if failed != nil { // no room for a copy: what lies before them can go all the same
		cut = slices.Min(places)
	}
	// A channel's file may be older than what is deleted: the channel would begin at
	// the oldest segment then, which is right. But it must know where what was moved
	// lies. So a disk that is quite full can be emptied.
	u := &t.logs.upkeep
	if err := t.writeBehind(true); err == nil {
		u.moved = false
	} else if failed = errors.Join(failed, err); u.moved {
		return failed
	}
	start := t.logs.main.Start()
	err := t.alone(func() error { return t.logs.main.RemoveBefore(cut) })
	if now := t.logs.main.Start(); now > start { // else there is nothing new to be written behind
		t.mu.Lock()
		t.core.Trimmed(now)
		t.unlock()
	}
	return errors.Join(failed, t.wrap("log", err))
}

// worthSweeping reports whether a segment of the side log can be worth clearing:
// to find out for certain holds up the topic while all that is parked, which may
// be millions, is looked at.
func (t *Topic) worthSweeping() bool {
	segments := t.logs.side.Segments()
	if len(segments) < 2 {
		return false
	}
	all := uint64(0)
	for _, s := range segments[:len(segments)-1] {
		all += s.End - s.First
	}
	parked := 0
	t.mu.Lock()
	for _, c := range t.core.Channels() {
		parked = max(parked, c.Parked())
	}
	t.mu.Unlock()
	return all-min(all, uint64(parked)) >= fewest(segments)
}

// fewest is how many messages must have left the side log at least for one of its
// segments to be worth clearing, if all were there.
func fewest(segments []journal.Segment) uint64 {
	least := uint64(math.MaxUint64)
	for _, s := range segments[:len(segments)-1] {
		least = min(least, s.End-s.First)
	}
	return least - least/worthKeeping
}

// sweep deletes the segments of the side log in which nothing, or little, is
// still parked.
func (t *Topic) sweep() error {
	segments := t.logs.side.Segments()
	u := &t.logs.upkeep
	u.sweepNeed = fewest(segments)
	segments = segments[:len(segments)-1]
	var own []int // those with messages of their own, whose positions rise
	for i, s := range segments {
		if s.First < s.End {
			own = append(own, i)
		}
	}
	places := make([][]uint64, len(segments))
	stuck := make([]bool, len(segments))
	parked := make([]uint64, len(segments))
	t.mu.Lock()
	t.core.Parked(func(place uint64, movable bool) {
		if place&queue.Side == 0 {
			return
		}
		pos := place &^ queue.Side
		at, _ := slices.BinarySearchFunc(own, pos, func(i int, pos uint64) int {
			if segments[i].End <= pos {
				return -1
			}
			return 1
		})
		if at < len(own) && pos >= segments[own[at]].First {
			i := own[at]
			parked[i]++
			if s := segments[i]; uint64(len(places[i])) <= (s.End-s.First)/worthKeeping { // with one more, it stays
				places[i] = append(places[i], place)
			}
			stuck[i] = stuck[i] || !movable
		}
	})
	low := t.core.SideLow()
	t.mu.Unlock()
	var errs []error
	for i, s := range segments {
		if most := (s.End - s.First) / worthKeeping; stuck[i] || s.End > low || parked[i] > most {
			u.sweepNeed = min(u.sweepNeed, parked[i]-min(parked[i], most+1))
			continue
		}
		err := t.move(places[i])
		if err == nil {
			err = t.writeBehind(true)
		}
		if err == nil {
			err = t.alone(func() error { return t.logs.side.RemoveSegment(s.Number) })
		}
		errs = append(errs, t.wrap("side log", err))
	}
	return errors.Join(errs...)
}

// move copies parked messages to the end of the side log, and tells the core.
func (t *Topic) move(places []uint64) error {
	const atOnce = 4096
	slices.Sort(places)
	places = slices.Compact(places)
	for len(places) > 0 {
		n := min(len(places), atOnce)
		if err := t.alone(func() error { return t.moveSome(places[:n]) }); err != nil {
			return fmt.Errorf("topic %s: moving parked messages: %w", t.name, err)
		}
		places = places[n:]
	}
	return nil
}

func (t *Topic) moveSome(places []uint64) error {
	var records []journal.Record
	moved := make(map[uint64]uint64, len(places))
	next := t.logs.sideEnd()
	err := t.bodies(places, func(i int, m journal.Message) {
		if m.Err != nil {
			return // it is damaged: who fetches it will say so
		}
		records = append(records, journal.Record{
			Kind: journal.Moved, Position: next, FirstID: m.ID, Count: 1,
			Published: m.Published, Due: m.Due, Frames: [][]byte{slices.Clone(m.Frame)},
		})
		moved[places[i]] = next | queue.Side
		next++
	})
	if err == nil && len(records) > 0 {
		if err = t.logs.side.Commit(records, true); err == nil {
			t.logs.upkeep.moved = true
		}
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	if !t.gone {
		t.core.MovedTo(moved)
	}
	t.unlock()
	return nil
}

// bodies reads messages from where they lie.
func (t *Topic) bodies(places []uint64, f func(i int, m journal.Message)) error {
	for _, side := range []bool{false, true} {
		var positions []uint64
		var index []int
		for i, p := range places {
			if (p&queue.Side != 0) == side {
				positions = append(positions, p&^queue.Side)
				index = append(index, i)
			}
		}
		log := t.logs.main
		if side {
			log = t.logs.side
		}
		if len(positions) == 0 {
			continue
		}
		if err := log.Get(positions, func(i int, m journal.Message) error { f(index[i], m); return nil }); err != nil {
			return err
		}
	}
	return nil
}
