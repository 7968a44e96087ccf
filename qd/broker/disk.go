package broker

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/spill"
)

// fairWork is how many things a worker does before it gives way to others, if
// there are more topics at work than may have files open.
const fairWork = 16

// diskRetry is how long the worker waits after the disk has failed.
const diskRetry = time.Second

// diskWorker holds the disk queues of a topic and its channels.
type diskWorker struct {
	queues map[string]*spill.Queue // by channel; "" is the topic's own
	open   bool                    // there may be open files, and it counts among openDisks
}

// What a disk queue holds; part of its name.
const (
	blocks = ':' // a backlog
	parked = '!' // messages that were in flight or out of line at a stop
)

// queueName is the name of the disk queue of a channel, or of the topic itself
// if channel is empty.
func queueName(holds rune, channel string) string { return string(holds) + channel }

// spillConfig is that of the topic's disk queues. They have a folder of their
// own, so that none of ten thousand topics has to look through the files of
// the others. The topic's number keeps it from finding what a deleted one of
// the same name has left.
func (t *Topic) spillConfig() spill.Config {
	c := t.broker.spill
	c.Dir = filepath.Join(c.Dir, t.folder())
	return c
}

func (t *Topic) folder() string { return fmt.Sprintf("%s.%x", t.name, t.number) }

func (t *Topic) queue(channel string) (*spill.Queue, error) {
	if q := t.disk.queues[channel]; q != nil {
		return q, nil
	}
	q, err := spill.Open(t.spillConfig(), queueName(blocks, channel))
	if err != nil {
		return nil, err
	}
	if t.disk.queues == nil {
		t.disk.queues = make(map[string]*spill.Queue)
	}
	t.disk.queues[channel] = q
	return q, nil
}

// runDisk does the topic's work on disk until there is none. One such
// goroutine runs for a topic at a time, and only while there is work.
func (t *Topic) runDisk() {
	for done := 0; ; {
		t.mu.Lock()
		idle := t.gone || !t.broker.open() || !t.core.HasWork()
		switch crowd := t.broker.disks.crowd(); {
		case idle && (crowd == 0 || !t.disk.open):
			t.endDisk()
			t.release(false) // a look for work can name somebody to be woken
			return
		case idle, crowd == 2 && t.disk.open && done > fairWork:
			t.mu.Unlock()
			t.closeDisk()
			done = 0
			continue
		}
		w, _ := t.core.Work()
		t.mu.Unlock()
		if !t.disk.open && t.logs == nil {
			t.disk.open = t.broker.disks.enter(t.broker.stopping)
		}
		if err := t.perform(w); err != nil {
			select {
			case <-time.After(diskRetry):
			case <-t.broker.stopping:
			}
		}
		done++
	}
}

// endDisk notes that the disk worker ends. Under mu.
func (t *Topic) endDisk() {
	t.working = false
	t.diskTurned(nil) // if it failed, that is not needed any more
	t.announce()
	t.lastDisk = t.broker.Now()
	if t.disk.open && t.restAt == 0 && !t.gone {
		t.restAt = t.lastDisk + int64(idleAfter)
		t.ask(t.restAt)
	}
}

// restDisk closes what has not been used for a while, in place of runDisk.
func (t *Topic) restDisk() {
	t.closeDisk()
	t.mu.Lock()
	t.working = false
	t.announce()
	t.unlock() // there may be work by now
}

// closeDisk closes the files of the disk queues until they are needed again.
func (t *Topic) closeDisk() {
	for name, q := range t.disk.queues {
		if err := q.Rest(); err != nil {
			t.broker.log.Error("cannot close a disk queue", "topic", t.name, "channel", name, "error", err)
		}
	}
	t.leaveDisk()
}

// leaveDisk tells that no file is open.
func (t *Topic) leaveDisk() {
	if t.disk.open {
		t.broker.disks.leave()
		t.disk.open = false
	}
}

// announce lets those who wait for the disk look again. Under mu.
func (t *Topic) announce() {
	close(t.progress)
	t.progress = make(chan struct{})
}

// perform does one piece of work and tells the core.
func (t *Topic) perform(w queue.Work) error {
	if t.logs != nil {
		return t.bring(w)
	}
	var block *queue.Block
	end := false
	q, err := t.queue(w.Channel)
	if err == nil {
		before := q.Bytes()
		defer func() { t.spilled.Add(q.Bytes() - before) }()
		switch w.Kind {
		case queue.Write:
			frames, n := w.Frames()
			err = q.Append(frames, n)
		case queue.Read:
			block, end, err = t.readBlock(q)
		case queue.Purge:
			if err = q.Purge(); err == nil {
				delete(t.disk.queues, w.Channel)
			}
		}
	}
	if err != nil {
		err = fmt.Errorf("topic %s, channel %q: %w", t.name, w.Channel, err)
	}
	lost := 0
	t.mu.Lock()
	t.diskTurned(err)
	switch {
	case err != nil:
		t.core.Failed(w)
	case w.Kind == queue.Write:
		t.core.Wrote(w)
	case w.Kind == queue.Read:
		lost = t.core.DidRead(w, block, end)
	case w.Kind == queue.Purge:
		t.core.Purged(w)
	}
	t.announce()
	t.unlock()
	if lost > 0 {
		t.broker.log.Error("messages that should be on disk are missing", "topic", t.name, "channel", w.Channel, "messages", lost)
	}
	return err
}

// diskTurned notes whether the disk works for the topic. Under mu.
func (t *Topic) diskTurned(err error) {
	if t.gone {
		err = nil
	}
	switch {
	case t.diskErr == nil && err != nil:
		t.broker.disk.fail(err)
	case t.diskErr != nil && err == nil:
		t.broker.disk.recover()
	}
	t.diskErr = err
}

// readBlock takes the next block from disk. A record that is damaged costs
// that record: it is reported, and what follows it is read.
func (t *Topic) readBlock(q *spill.Queue) (b *queue.Block, end bool, err error) {
	frames, _, ok, err := q.Next()
	if err == nil && ok {
		b = t.broker.memory.Block(len(frames))
		if err = b.Load(frames); err != nil {
			t.broker.memory.Recycle(b)
			b, err = nil, errors.Join(err, spill.ErrDamaged)
		}
	}
	if errors.Is(err, spill.ErrDamaged) {
		t.broker.log.Error("messages on disk are damaged and cannot be delivered", "topic", t.name, "file", q.Path(), "error", err)
		err = nil
	}
	return b, !ok || q.Records() == 0, err
}
