package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/millrace-mq/millrace/qd/queue"
)

// This file is the deletion of topics.

// DeleteTopic deletes a topic with its channels and messages. Its consumers
// are gone.
func (b *Broker) DeleteTopic(name string) error {
	b.mu.Lock()
	t := b.topics[name]
	if t == nil {
		b.mu.Unlock()
		return b.deleteLeftovers(name) // who was told of an error tries again
	}
	return b.remove(t)
}

// deleteIfDeserted deletes an ephemeral topic that has no channel left.
func (b *Broker) deleteIfDeserted(t *Topic) error {
	b.mu.Lock()
	deserted := false
	t.View(func(core *queue.Topic) { deserted = len(core.Channels()) == 0 })
	if b.topics[t.name] != t || !deserted {
		b.mu.Unlock()
		return nil
	}
	err := b.remove(t)
	b.tell(byItself, Change{Action: "delete-topic", Topic: t.name, Detail: "it has lost its last channel", Err: err})
	return err
}

// remove deletes a topic, and unlocks mu.
func (b *Broker) remove(t *Topic) error {
	delete(b.topics, t.name)
	delete(b.learners, t)
	t.mu.Lock()
	b.mu.Unlock()
	var orphans []*queue.Consumer
	for len(t.core.Channels()) > 0 {
		orphans = append(orphans, t.core.RemoveChannel(t.core.Channels()[0])...)
	}
	t.core.Empty()
	t.gone = true
	t.diskTurned(nil)
	if t.logs != nil {
		t.committed(nil)
		t.tendTurned(nil)
	}
	b.keeper.forget(&t.call)
	worked := t.working || t.logs != nil && t.logs.tending
	t.core.Woken()
	t.announce()
	t.mu.Unlock()
	for _, k := range orphans {
		k.Owner.(*Consumer).Wake()
	}
	b.notify()
	b.log.Info("topic deleted", "topic", t.name)
	if !worked || t.logs != nil { // a log's deletion must survive a crash that comes after the answer
		return t.purge()
	}
	b.workers.Go(func() { // the disk worker is at its last piece of work
		if err := t.purge(); err != nil {
			b.log.Error("cannot delete the files of a deleted topic", "error", err)
		}
	})
	return nil
}

// purge deletes what a deleted topic has on disk, be it in queues that are
// open or in those that nobody has used since the start.
func (t *Topic) purge() error {
	for { // until the disk worker and tend have ended
		t.mu.Lock()
		working, progress := t.working || t.logs != nil && t.logs.tending, t.progress
		t.mu.Unlock()
		if !working {
			break
		}
		<-progress
	}
	var errs []error
	for _, q := range t.disk.queues {
		errs = append(errs, q.Purge())
	}
	t.disk.queues = nil
	t.leaveDisk()
	if t.logs != nil {
		return t.deleteFiles()
	}
	errs = append(errs, os.RemoveAll(t.spillConfig().Dir))
	return errors.Join(errs...)
}

// deleteFiles deletes the folder of a topic that is gone. The folder loses its
// name first: a crash leaves a whole topic or none.
func (t *Topic) deleteFiles() error {
	l, b := t.logs, t.broker
	err := t.alone(func() error { return errors.Join(l.main.Close(), l.side.Close()) })
	b.rested(t)
	l.filing.Lock() // nobody writes topic.json any more
	defer l.filing.Unlock()
	b.mu.Lock()
	b.leftovers[t.name] = append(b.leftovers[t.name], l.dir)
	b.mu.Unlock()
	return errors.Join(err, b.deleteLeftovers(t.name))
}

// deleteLeftovers deletes the folders of deleted topics of a name, those among
// them for which that has failed before: or the name, once free, would be that
// of a topic that comes back at the next start. ErrNoTopic: there are none.
func (b *Broker) deleteLeftovers(name string) error {
	b.mu.Lock()
	dirs := b.leftovers[name]
	delete(b.leftovers, name)
	b.mu.Unlock()
	if len(dirs) == 0 {
		return ErrNoTopic
	}
	var errs []error
	for _, dir := range dirs {
		if err := b.deleteFolder(dir); err != nil {
			errs = append(errs, fmt.Errorf("deleting topic %s: %w", name, err))
			b.mu.Lock()
			b.leftovers[name] = append(b.leftovers[name], dir)
			b.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

// deleteFolder deletes a topic's folder. Nothing in it is touched before its
// other name survives a power cut.
func (b *Broker) deleteFolder(dir string) error {
	gone := dir + deletedSuffix
	err := b.FS.Rename(dir, gone)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // it was never made, or this is another attempt
	}
	if err == nil {
		err = b.FS.SyncDir(filepath.Dir(dir))
	}
	if err == nil {
		err = removeAll(b.FS, gone)
	}
	return err
}
