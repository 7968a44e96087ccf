package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/spill"
)

// reserve is how many numbers are written down as drawn before they are.
const reserve = 4096

// draws is how many numbers a topic may draw before anybody looks: its own and
// those of its first extents of IDs.
const draws = 3

// reserveEnough sees to it that a crash will not make another broker draw the
// same numbers again: neither for one more topic nor when all the topics, at
// once, are published to for the first time. Usually runSaver has done so.
func (b *Broker) reserveEnough() error {
	b.mu.RLock()
	topics := len(b.topics)
	b.mu.RUnlock()
	if b.drawn.Load()+draws*uint64(topics)+reserve/4 < b.reserved.Load() {
		return nil
	}
	return b.saveNow()
}

// draw returns a number that was never drawn before on this data path.
func (b *Broker) draw() uint64 {
	n := b.drawn.Add(1)
	if n+reserve/2 > b.reserved.Load() {
		signal(b.changed)
	}
	return n
}

// lockDir opens the directory and locks it, so that no other daemon uses it.
// The lock ends with the file, and with the process at the latest.
func lockDir(path string) (*os.File, error) {
	// #nosec G304 -- on the data path; names of topics and channels have no slash
	dir, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("data path: %w", err)
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("is in use by another process")
		}
		return nil, errors.Join(fmt.Errorf("data path %s: %w", path, err), dir.Close())
	}
	return dir, nil
}

// load puts together what an earlier broker left on the data path.
func (b *Broker) load() error {
	m, err := readMeta(b.FS, filepath.Join(b.DataPath, metaFile))
	if err != nil {
		return err
	}
	if err := b.checkFolders(m); err != nil {
		return err
	}
	b.drawn.Store(m.Reserved)
	b.instance = cmp.Or(m.Instance, rand.Text())
	if err := b.takeOver(context.Background(), m); err != nil {
		return err
	}
	if err := b.loadTopics(); err != nil {
		return err
	}
	for _, tm := range m.Topics {
		if err := b.restore(tm, m.Clean); err != nil {
			return fmt.Errorf("topic %s: %w", tm.Name, err)
		}
	}
	// From here on the file says that no orderly stop has been.
	err = b.saveNow()
	if errors.Is(err, syscall.ENOSPC) && !(m.Clean && len(m.Topics) > 0) {
		// It says so already, or there is nothing that it matters for; and who could
		// make room if not the consumers?
		b.log.Error("the disk is full; trying again", "error", err)
		signal(b.changed)
		err = nil
	}
	return err
}

// abandon closes what load has opened before it failed.
func (b *Broker) abandon() error {
	var errs []error
	for _, t := range b.topics {
		if t.logs != nil {
			errs = append(errs, t.logs.main.Close(), t.logs.side.Close())
		}
	}
	return errors.Join(errs...)
}

// checkFolders compares the folders of disk queues with the metadata. Without
// metadata nobody knows whose they are, nor which IDs were given out.
func (b *Broker) checkFolders(m meta) error {
	entries, err := os.ReadDir(b.spill.Dir)
	if err != nil {
		return err
	}
	if m.Topics == nil && m.Reserved == 0 && len(entries) > 0 {
		return fmt.Errorf("%s is missing, but there are messages in %s: put it back, or move them away", metaFile, b.spill.Dir)
	}
	known := make(map[string]bool)
	for _, tm := range m.Topics {
		known[(&Topic{name: tm.Name, number: tm.Number}).folder()] = true
	}
	for _, e := range entries {
		if !known[e.Name()] {
			b.log.Warn("messages on disk are of a topic that is not known; a crash came soon after it was created or deleted",
				"file", filepath.Join(b.spill.Dir, e.Name()))
		}
	}
	return nil
}

func (b *Broker) restore(tm topicMeta, clean bool) error {
	t := b.add(tm.Name, tm.Number)
	t.policy = tm.Policy
	above := uint64(math.MaxUint64)
	disk, saved, err := t.reopen("", tm.Backlog, clean, &above)
	if err != nil {
		return err
	}
	t.core.Restore(tm.State, disk, saved)
	for _, cm := range tm.Channels {
		// What a channel has on disk lies before what the topic has.
		below := above
		disk, saved, err := t.reopen(cm.Name, cm.Backlog, clean, &below)
		if err != nil {
			return fmt.Errorf("channel %s: %w", cm.Name, err)
		}
		t.core.RestoreChannel(cm.Name, cm.State, disk, saved, b.Now()).SetMaxAttempts(cm.MaxAttempts)
	}
	t.spilled.Store(spill.SizeOf(t.spillConfig().Dir))
	t.mu.Lock()
	t.awaitEnd()
	t.unlock() // asks for a look at what is due
	return nil
}

// reopen finds what a backlog has on disk, and takes the parked messages into
// memory. After a crash, only blocks with IDs below limit are wanted, and limit
// is set to the first one's.
func (t *Topic) reopen(channel string, m backlogMeta, clean bool, limit *uint64) (queue.Disk, []queue.Saved, error) {
	name := queueName(parked, channel)
	if !clean {
		found, err := spill.RecoverBlocks(t.spillConfig(), queueName(blocks, channel), *limit)
		if err != nil {
			return m.Disk, nil, err
		}
		*limit = found.First
		m.Disk = queue.Disk{Blocks: found.Records, Messages: found.Messages}
		saved, err := spill.RecoverSaved(t.spillConfig(), name)
		if err != nil {
			return m.Disk, nil, err
		}
		if n := found.Messages + saved.Messages; n > 0 || found.Damaged+saved.Damaged > 0 {
			t.broker.log.Warn("there was no orderly stop: what had spilled to disk is kept, what was in memory is lost",
				"topic", t.name, "channel", channel, "messages", n, "damaged", found.Damaged+saved.Damaged)
		}
		m.Parked = saved.Messages
	}
	if m.Parked == 0 {
		return m.Disk, nil, nil
	}
	p, err := spill.Open(t.spillConfig(), name)
	if err != nil {
		return m.Disk, nil, err
	}
	saved, damaged, err := p.TakeSaved()
	if damaged > 0 || len(saved) < m.Parked {
		t.broker.log.Error("parked messages on disk are missing or damaged and cannot be delivered",
			"topic", t.name, "channel", channel, "damaged", damaged, "messages", m.Parked-len(saved))
	}
	return m.Disk, saved, errors.Join(err, p.Close())
}

// runSaver writes down what changes, a moment later: many changes at once are
// written once.
func (b *Broker) runSaver(ctx context.Context) {
	const pause = 50 * time.Millisecond
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.changed:
		}
		wait := pause
		err := b.saveNow()
		switch {
		case err != nil:
			wait = diskRetry
			signal(b.changed)
			if !failing {
				b.disk.fail(err)
			}
		case failing:
			b.disk.recover()
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// describe returns what is to be written down while the broker runs.
func (b *Broker) describe() meta {
	topics := b.Topics()
	m := meta{Version: metaVersion, Instance: b.instance, Reserved: b.drawn.Load() + draws*uint64(len(topics)) + reserve}
	for _, t := range topics {
		if protocol.Ephemeral(t.name) || t.logs != nil {
			continue
		}
		t.View(func(core *queue.Topic) {
			tm := topicMeta{Name: t.name, Number: t.number, Policy: t.policy, State: core.State()}
			for _, c := range core.Channels() {
				if !protocol.Ephemeral(c.Name()) {
					tm.Channels = append(tm.Channels, channelMeta{Name: c.Name(), MaxAttempts: c.MaxAttempts(), State: c.State()})
				}
			}
			m.Topics = append(m.Topics, tm)
		})
	}
	m.forgetCounts()
	return m
}

// Close keeps every message on disk and lets go of the data path. Run must
// have returned, and nobody may use the broker any more.
func (b *Broker) Close() error {
	m := meta{Version: metaVersion, Instance: b.instance, Clean: true, Reserved: b.drawn.Load()}
	var errs []error
	for _, t := range b.Topics() {
		if t.logs != nil {
			if err := t.stowLogs(); err != nil {
				errs = append(errs, fmt.Errorf("keeping topic %s: %w", t.name, err))
			}
			continue
		}
		if protocol.Ephemeral(t.name) {
			continue
		}
		tm, err := t.stow()
		if err != nil {
			errs = append(errs, fmt.Errorf("keeping topic %s: %w", t.name, err))
			m.Clean = false
		}
		m.Topics = append(m.Topics, tm)
	}
	return errors.Join(append(errs, b.save(m), b.dir.Close())...)
}

// stow writes all that a topic has in memory to its disk queues.
func (t *Topic) stow() (tm topicMeta, err error) {
	tm = topicMeta{Name: t.name, Number: t.number, Policy: t.policy}
	var errs []error
	// Orphans and emptied queues first: their files must not come back.
	for w, ok := t.core.Work(); ok; w, ok = t.core.Work() {
		if w.Kind != queue.Purge {
			t.core.Failed(w)
			break
		}
		errs = append(errs, t.purgeQueue(w))
	}
	tm.Backlog, err = t.keep("", t.core.Rest(), t.core.Saved())
	errs = append(errs, err)
	tm.State = t.core.State()
	for _, c := range t.core.Channels() {
		if protocol.Ephemeral(c.Name()) {
			continue
		}
		cm := channelMeta{Name: c.Name(), MaxAttempts: c.MaxAttempts(), State: c.State()}
		cm.Backlog, err = t.keep(c.Name(), c.Rest(), c.Saved())
		errs = append(errs, err)
		tm.Channels = append(tm.Channels, cm)
	}
	for _, q := range t.disk.queues {
		errs = append(errs, q.Close())
	}
	return tm, errors.Join(errs...)
}

func (t *Topic) purgeQueue(w queue.Work) error {
	defer t.core.Purged(w)
	q, err := t.queue(w.Channel)
	if err != nil {
		return err
	}
	return q.Purge()
}

// keep writes what a backlog has in memory around what it has on disk, and
// the parked messages to a queue of their own.
func (t *Topic) keep(channel string, rest queue.Rest, saved []queue.Saved) (m backlogMeta, err error) {
	m = backlogMeta{Disk: rest.Disk, Parked: len(saved)}
	if len(rest.Before)+len(rest.After) > 0 {
		if err := t.keepBlocks(channel, rest, &m.Disk); err != nil {
			return m, err
		}
	}
	if len(saved) == 0 {
		return m, nil
	}
	p, err := spill.Open(t.spillConfig(), queueName(parked, channel))
	if err != nil {
		return m, err
	}
	return m, errors.Join(p.AppendSaved(saved), p.Close())
}

func (t *Topic) keepBlocks(channel string, rest queue.Rest, disk *queue.Disk) error {
	q, err := t.queue(channel)
	if err != nil {
		return err
	}
	before := q
	if q.Records() > 0 {
		before = q.Prepend()
	}
	errs := []error{appendAll(before, rest.Before, disk)}
	if before != q {
		errs = append(errs, before.Close())
	}
	return errors.Join(append(errs, appendAll(q, rest.After, disk))...)
}

func appendAll(q *spill.Queue, records []queue.Frames, disk *queue.Disk) error {
	for _, r := range records {
		if err := q.Append(r.Bytes, r.Messages); err != nil {
			return err
		}
		disk.Blocks++
		disk.Messages += r.Messages
	}
	return nil
}
