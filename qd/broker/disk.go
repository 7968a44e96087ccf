package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/spill"
)

// diskRetry is how long the worker waits after the disk has failed.
const diskRetry = time.Second

// diskWorker holds the disk queues of a topic and its channels.
type diskWorker struct {
	queues map[string]*spill.Queue // by channel; "" is the topic's own
}

// What a disk queue holds; part of its name.
const (
	blocks = ':' // a backlog
	parked = '!' // messages that were in flight or out of line at a stop
)

// queueName is the name of the disk queue of a channel, or of the topic itself
// if channel is empty. The topic's number keeps a topic from finding what a
// deleted one of the same name has left.
func (t *Topic) queueName(holds rune, channel string) string {
	return fmt.Sprintf("%s.%x%c%s", t.name, t.number, holds, channel)
}

func (t *Topic) queue(channel string) (*spill.Queue, error) {
	if q := t.disk.queues[channel]; q != nil {
		return q, nil
	}
	q, err := spill.Open(t.broker.spill, t.queueName(blocks, channel))
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
	for {
		t.mu.Lock()
		var w queue.Work
		ok := false
		if !t.gone && t.broker.open() {
			w, ok = t.core.Work()
		}
		if !ok {
			t.working = false
			t.announce()
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		if err := t.perform(w); err != nil {
			t.broker.diskFailed(err)
			select {
			case <-time.After(diskRetry):
			case <-t.broker.stopping:
			}
		}
	}
}

// announce lets those who wait for the disk look again. Under mu.
func (t *Topic) announce() {
	close(t.progress)
	t.progress = make(chan struct{})
}

// perform does one piece of work and tells the core.
func (t *Topic) perform(w queue.Work) error {
	var block *queue.Block
	end := false
	q, err := t.queue(w.Channel)
	if err == nil {
		switch w.Kind {
		case queue.Write:
			frames, n := w.Frames()
			if err = q.Append(frames, n); err == nil {
				t.broker.diskWorked()
			}
		case queue.Read:
			block, end, err = t.readBlock(q)
		case queue.Purge:
			err = q.Purge()
		}
	}
	if err != nil {
		err = fmt.Errorf("topic %s, channel %q: %w", t.name, w.Channel, err)
	}
	t.mu.Lock()
	t.diskErr = err
	switch {
	case err != nil:
		t.core.Failed(w)
	case w.Kind == queue.Write:
		t.core.Wrote(w)
	case w.Kind == queue.Read:
		t.core.DidRead(w, block, end)
	case w.Kind == queue.Purge:
		t.core.Purged(w)
	}
	t.announce()
	t.unlock()
	return err
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
		t.broker.log.Error("messages on disk are damaged and cannot be delivered", "topic", t.name, "queue", q.Path(), "error", err)
		err = nil
	}
	return b, !ok || q.Records() == 0, err
}
