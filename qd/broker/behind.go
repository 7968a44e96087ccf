package broker

import (
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/qd/acks"
	"github.com/millrace-mq/millrace/qd/journal"
	"github.com/millrace-mq/millrace/qd/queue"
)

// behindBy is how long what channels have done with their messages may wait to
// be written down: a crash repeats no more than what was finished in that time,
// and in the write or the sync that was under way.
const behindBy = 200 * time.Millisecond

// soil notes that there is something to be written behind. Under mu.
func (t *Topic) soil(now int64) {
	l := t.logs
	if l == nil || l.soiled {
		return
	}
	l.soiled = true
	if !l.tending {
		t.tendBy(now + int64(behindBy))
	}
}

// soilNow is soil, with a look at the clock only if it is needed. Under mu.
func (t *Topic) soilNow() {
	if t.logs != nil && !t.logs.soiled {
		t.soil(t.broker.Now())
	}
}

// tendBy asks for tend to run. Under mu.
func (t *Topic) tendBy(when int64) {
	if l := t.logs; l.tendAt == 0 || when < l.tendAt {
		l.tendAt = when
	}
	t.ask(t.logs.tendAt)
}

// tends reports whether it is time for tend to run, and has the caller run it.
// Under mu.
func (t *Topic) tends(now int64) bool {
	l := t.logs
	if l == nil || l.tendAt == 0 || l.tending {
		return false
	}
	if now < l.tendAt {
		t.ask(l.tendAt) // this look was for something else
		return false
	}
	l.tendAt, l.soiled, l.tending = 0, false, true
	return true
}

// tend is what is done for a topic behind its back, a few times a second while
// it is in use: channels' progress is written down, the log synced, and what
// nobody needs any more deleted.
func (t *Topic) tend() {
	err := t.save()
	err = errors.Join(err, t.writeBehind(t.syncsChannels()))
	unsynced, syncErr := t.sync()
	err = errors.Join(err, syncErr, t.tryAgain())
	again, upkeepErr := t.keepUp()
	err = errors.Join(err, upkeepErr)
	again = sooner(again, unsynced)
	if t.logs.upkeep.loose {
		again = sooner(again, t.broker.SyncTimeout)
	}
	t.mu.Lock()
	defer t.settle()
	l := t.logs
	l.tending = false
	t.announce()
	if t.gone {
		return
	}
	t.tendTurned(err)
	now := t.broker.Now()
	switch {
	case err != nil:
		l.soiled = true
		t.tendBy(now + int64(diskRetry))
	case l.soiled:
		t.tendBy(now + int64(behindBy))
	case again > 0:
		t.tendBy(now + int64(again))
	}
}

// syncsChannels reports whether the channels' files are to be synced this time: at
// level disk not always, but often enough that a power cut repeats about as much
// as was finished in --sync-timeout.
func (t *Topic) syncsChannels() bool {
	u, now := &t.logs.upkeep, t.broker.Now()
	if t.Level() != Fsync && now-u.channelsAt < int64(t.broker.SyncTimeout) {
		return false
	}
	u.channelsAt, u.loose = now, false
	return true
}

// tendTurned notes whether what is written behind could be. Under mu.
func (t *Topic) tendTurned(err error) {
	switch l := t.logs; {
	case err != nil && !l.upkeep.failing:
		l.upkeep.failing = true
		t.broker.disk.fail(err)
	case err == nil && l.upkeep.failing:
		l.upkeep.failing = false
		t.broker.disk.recover()
	}
}

// committed notes whether a commit could be written. Under mu.
func (t *Topic) committed(err error) {
	if err != nil && !t.logs.upkeep.refusing {
		t.logs.upkeep.refusing = true
		t.broker.disk.fail(err)
		t.tendBy(t.broker.Now() + int64(diskRetry)) // to see whether it works again
	}
	if err == nil && t.logs.upkeep.refusing {
		t.logs.upkeep.refusing = false
		t.broker.disk.recover()
	}
}

// roomAgain is how many bytes must be free, beyond the floor, for a disk that has
// refused a commit to be taken for one that works again.
const roomAgain = 1 << 20

// tryAgain sees whether a disk that has refused a commit works again: it may be
// that nobody publishes any more who would find out.
func (t *Topic) tryAgain() error {
	t.mu.Lock()
	refusing := t.logs.upkeep.refusing
	t.mu.Unlock()
	if !refusing {
		return nil
	}
	b, trial := t.broker, filepath.Join(t.logs.dir, "trial")
	free, _, err := b.FS.Space(b.DataPath)
	// #nosec G115 -- free space of a disk: far below 2^63 bytes
	if err == nil && int64(free) < b.MinFree+roomAgain {
		err = fmt.Errorf("topic %s: the disk has refused a commit, and still has only %d bytes free", t.name, free)
	}
	if err == nil {
		// Not topic.json: a change that cannot be written keeps consumers away.
		err = replaceFile(b.FS, trial, []byte("whether the disk can be written\n"))
	}
	if err == nil {
		err = b.FS.Remove(trial)
	}
	if err == nil {
		t.mu.Lock()
		t.committed(nil)
		t.mu.Unlock()
	}
	return err
}

// writeBehind writes down how far each channel has come. With sync it survives
// a power cut.
func (t *Topic) writeBehind(sync bool) error {
	u, begun := &t.logs.upkeep, t.broker.Now()
	u.passed = begun
	t.mu.Lock()
	channels := append([]*queue.Channel(nil), t.core.Channels()...)
	t.mu.Unlock()
	var errs []error
	for i, c := range channels {
		if sync && i > 0 {
			errs = append(errs, t.writeMeanwhile())
		}
		errs = append(errs, t.writeChannel(c, sync))
	}
	u.passed = t.broker.Now()
	if !sync {
		u.took = u.passed - begun
	}
	return errors.Join(errs...)
}

// writeMeanwhile is writeBehind between two syncs, if they have taken long: a
// process that is killed need not have synced anything, so what channels do
// meanwhile waits for one sync, not for all of them.
func (t *Topic) writeMeanwhile() error {
	u := &t.logs.upkeep
	// However many channels there are, most of the time is for the syncs.
	if t.broker.Now()-u.passed < max(int64(behindBy), u.took) {
		return nil
	}
	return t.writeBehind(false)
}

// writeChannel writes down how far a channel has come.
func (t *Topic) writeChannel(c *queue.Channel, sync bool) error {
	u := &t.logs.upkeep
	defer u.shrink()
	t.mu.Lock()
	h := t.logs.held[c]
	if !t.holds(c) || h == nil {
		t.mu.Unlock()
		return nil
	}
	whole := h.behind || h.file == nil || h.file.NeedsSnapshot() || c.WantsSnapshot()
	if !whole {
		c.Progress(&u.progress)
	}
	t.mu.Unlock()
	err := error(nil)
	if h.file == nil {
		h.file, _, _, err = acks.Open(t.broker.FS, t.logs.acksPath(c.Name(), h.number))
	}
	switch {
	case err != nil:
	case whole:
		err = h.file.ReplaceAll(t.snapshot(c))
		sync = true
	case h.same(&u.progress) && (h.synced || !sync):
		return nil
	default:
		err = h.file.Append(u.delta(&u.progress), sync)
	}
	if errors.Is(err, errChanged) {
		h.behind = true
		return t.writeChannel(c, sync) // deleted, or emptied: then it is short
	}
	if h.file != nil {
		h.bytes.Store(h.file.Size())
	}
	if h.behind = err != nil; err != nil {
		return fmt.Errorf("topic %s, channel %s: writing down how far it has come: %w", t.name, c.Name(), err)
	}
	h.synced = sync
	u.loose = u.loose || !sync
	h.remember(&u.progress)
	return nil
}

// holds reports whether the topic still has the channel. Under mu.
func (t *Topic) holds(c *queue.Channel) bool { return !t.gone && t.core.Channel(c.Name()) == c }

// errChanged ends a snapshot that has to begin anew, or is not needed any more.
var errChanged = errors.New("the channel was emptied or deleted meanwhile")

// snapshot is all of a channel, in pieces; the lock is held for each alone.
func (t *Topic) snapshot(c *queue.Channel) iter.Seq2[acks.Delta, error] {
	return func(yield func(acks.Delta, error) bool) {
		p := &t.logs.upkeep.progress
		t.mu.Lock()
		s := c.BeginSnapshot()
		for n := 0; ; n++ {
			more := s.Next(p)
			if !t.holds(c) || p.Reset && n > 0 {
				s.End()
				t.mu.Unlock()
				yield(acks.Delta{}, errChanged)
				return
			}
			t.mu.Unlock()
			ok := yield(t.logs.upkeep.delta(p), nil)
			if !more {
				return
			}
			t.mu.Lock()
			if !ok {
				s.End()
				t.mu.Unlock()
				return
			}
		}
	}
}

// same reports whether nothing has changed since what was written last.
func (h *holding) same(p *queue.Progress) bool {
	if h.cursor != p.Cursor || h.deferred != p.Deferred || len(p.Changes) > 0 || len(h.open) != len(p.Open) {
		return false
	}
	for i, r := range p.Open {
		if h.open[i] != r {
			return false
		}
	}
	return true
}

func (h *holding) remember(p *queue.Progress) {
	h.cursor, h.deferred = p.Cursor, p.Deferred
	h.open = append(h.open[:0], p.Open...)
}

// upkeep is what tend works with.
type upkeep struct {
	progress   queue.Progress
	ranges     []acks.Range
	changes    []acks.Change
	syncedAt   int64  // when the logs were synced; under Topic.mu
	pinned     uint64 // where the log began when trim last found that nothing could go
	pinnedTo   int64  // until when that is believed
	sweepAt    int64  // when the side log may be looked through again
	sweptFor   uint64 // how many messages were settled when that was done last
	sweepNeed  uint64 // how many more have to be before it can be worth anything
	loose      bool   // a channel's file was written and not synced
	channelsAt int64  // when they were synced, at level disk
	passed     int64  // when all of them had last been written
	took       int64  // how long that took without a sync
	moved      bool   // messages were moved since the channels' files were last written
	failing    bool   // what is written behind cannot be; under Topic.mu
	refusing   bool   // commits fail; under Topic.mu
}

// muchParked is how many changes there is always memory for.
const muchParked = 1 << 16

// shrink gives back the memory that a channel took with millions of parked
// messages.
func (u *upkeep) shrink() {
	if cap(u.progress.Changes) > muchParked {
		u.progress.Changes = nil
	}
	if cap(u.changes) > muchParked {
		u.changes = nil
	}
}

// delta is p in the terms of the channel's file.
func (u *upkeep) delta(p *queue.Progress) acks.Delta {
	u.ranges, u.changes = u.ranges[:0], slices.Grow(u.changes[:0], len(p.Changes))
	for _, r := range p.Open {
		u.ranges = append(u.ranges, acks.Range(r))
	}
	for _, c := range p.Changes {
		u.changes = append(u.changes, acks.Change{Gone: c.Gone, Entry: acks.Entry{
			ID: c.ID, Place: c.Place, Due: c.Due, Attempts: c.Attempts, State: acks.EntryState(c.State), Reason: uint8(c.Reason),
		}})
	}
	return acks.Delta{Reset: p.Reset, Cursor: p.Cursor, Deferred: p.Deferred, Open: u.ranges, Changes: u.changes}
}

// sync brings what was committed at level disk to the device, now and then: a
// power cut then costs about as much as was published in --sync-timeout. again is
// when the next time will be; 0 is not until something else is published.
func (t *Topic) sync() (again time.Duration, err error) {
	l, now := t.logs, t.broker.Now()
	t.mu.Lock()
	due := l.upkeep.syncedAt + int64(t.broker.SyncTimeout)
	if !l.unsynced || now < due {
		if l.unsynced {
			again = time.Duration(due - now)
		}
		t.mu.Unlock()
		return again, nil
	}
	l.unsynced = false
	t.mu.Unlock()
	err = errors.Join(t.writeMeanwhile(), t.wrap("log", t.syncLog(l.main)), t.writeMeanwhile(), t.wrap("side log", t.syncLog(l.side)))
	t.mu.Lock()
	l.upkeep.syncedAt = now
	l.unsynced = l.unsynced || err != nil
	t.mu.Unlock()
	return 0, err
}

// syncLog syncs a log. What a failed sync leaves in doubt only a commit can
// write anew, and it may be long until the next message comes.
func (t *Topic) syncLog(l *journal.Log) error {
	if l.Sync() == nil {
		return nil
	}
	return t.alone(func() error { return l.Commit(nil, true) })
}

// stowLogs is the orderly stop of a topic with a log. Nobody uses it any more.
func (t *Topic) stowLogs() error {
	l := t.logs
	err := errors.Join(t.save(), t.writeBehind(true), t.wrap("log", t.syncLog(l.main)), t.wrap("side log", t.syncLog(l.side)))
	return errors.Join(err, l.main.Close(), l.side.Close())
}
