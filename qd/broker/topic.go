package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

// idleAfter is how long a topic waits after a publish before it gives up a
// block that is mostly unused.
const idleAfter = 10 * time.Second

// behindLimit is how many blocks may wait to be written before publishers wait
// for the disk.
const behindLimit = 16

// Topic is a queue.Topic with a lock, a disk and a place on the clock.
type Topic struct {
	name   string
	broker *Broker
	number uint64 // never used for another topic on this data path

	mu       sync.Mutex // guards what follows; never held across I/O or a send
	core     *queue.Topic
	policy   Policy
	learning *learning // nil: all channels that other daemons have are known
	extents  extents
	gone     bool
	working  bool // the disk worker runs
	diskErr  error
	progress chan struct{} // closed when the disk worker has done something
	call     call          // owned by the keeper
	callAt   int64         // when the keeper has been asked to look; 0 is never
	idleAt   int64         // when to see whether the topic is idle; 0 is never
	lastPub  int64
	restAt   int64 // when to see whether the disk queues are idle; 0 is never
	lastDisk int64
	times    map[*queue.Channel]*times // of channels that had consumers; nil if no percentiles are wanted

	spilled atomic.Int64 // bytes of the disk queues

	disk diskWorker // owned by the disk worker, and by start and stop
	logs *logs      // nil at level memory
}

// Name is the topic's name.
func (t *Topic) Name() string { return t.name }

// lock begins a change. It fails when the topic was deleted.
func (t *Topic) lock() error {
	t.mu.Lock()
	if t.gone {
		t.mu.Unlock()
		return ErrGone
	}
	return nil
}

// unlock ends a change: it sees to the clock, the disk and, when the lock is
// free, the consumers that have something to do now.
func (t *Topic) unlock() {
	t.soilNow()
	t.settle()
}

// settle is unlock after what changed nothing that is written behind.
func (t *Topic) settle() {
	if when, ok := t.core.Earliest(); ok {
		t.ask(when)
	}
	t.release(t.core.HasWork())
}

// unlockFor is unlock after a change that concerned one channel.
func (t *Topic) unlockFor(c *queue.Channel) {
	t.soilNow()
	if when, ok := c.Earliest(); ok {
		t.ask(when)
	}
	t.release(t.core.HasWorkFor(c))
}

// release gives up the lock, has the disk worker do what there is for it, has
// the keeper look for stuck consumers, and wakes those that were named.
func (t *Topic) release(work bool) {
	if when, ok := t.core.NextLook(); ok {
		t.ask(when)
	}
	var some [8]*queue.Consumer
	named := t.core.Woken()
	woken := append(some[:0], named...)
	clear(named)
	if work = work && !t.working && !t.gone; work {
		t.working = true
	}
	t.mu.Unlock()
	if work {
		t.broker.workers.Go(t.runDisk)
	}
	for _, k := range woken {
		k.Owner.(*Consumer).Wake()
	}
}

// ask makes the keeper look at the topic at the given time. Under mu.
func (t *Topic) ask(when int64) {
	if t.callAt == 0 || when < t.callAt {
		t.callAt = when
		t.broker.keeper.at(&t.call, when)
	}
}

// tick is the keeper's look at the topic.
func (t *Topic) tick() {
	t.mu.Lock()
	now := t.broker.Now()
	if t.gone || t.callAt == 0 || now < t.callAt {
		t.mu.Unlock()
		return // deleted, or asked for a later time since
	}
	t.callAt = 0
	if when, ok := t.core.Earliest(); ok && when <= now {
		t.core.Expire(now)
		t.soil(now)
	}
	if t.idleAt != 0 && now >= t.idleAt {
		t.idleAt = 0
		if quiet := t.lastPub + int64(idleAfter); now >= quiet {
			t.core.Idle()
		} else {
			t.idleAt = quiet
		}
	}
	if t.idleAt != 0 {
		t.ask(t.idleAt)
	}
	over := t.endPauses(now)
	rest, tend := t.rests(now), t.tends(now)
	t.settle()
	t.tellEnded(over)
	if rest {
		t.broker.workers.Go(t.restDisk)
	}
	if tend {
		t.broker.workers.Go(t.tend)
	}
}

// rests reports whether the disk queues have been idle for long enough to be
// put to rest, and has the caller do it. Under mu.
func (t *Topic) rests(now int64) bool {
	if t.restAt == 0 {
		return false
	}
	if now < t.restAt {
		t.ask(t.restAt) // this look was for something else
		return false
	}
	t.restAt = 0
	if t.working {
		return false // and asks again when it ends
	}
	if quiet := t.lastDisk + int64(idleAfter); now < quiet {
		t.restAt = quiet
		t.ask(quiet)
		return false
	}
	t.working = true
	return true
}

// Publish stores messages, all or none, as durably as the topic's Level says.
// The bodies are copied. Errors are, or wrap, ErrGone, ErrDraining, ErrExiting,
// *BacklogError, *SpaceError or the failure of the disk.
func (t *Topic) Publish(bodies [][]byte) error {
	if t.logs != nil {
		return t.publishLogged(bodies)
	}
	now := t.broker.Now()
	if err := t.admit(len(bodies)); err != nil {
		return err
	}
	t.core.Publish(bodies, now)
	t.published(now)
	t.release(t.core.HasWorkFor(nil))
	return nil
}

// Later is a message to be delivered some time after its publication.
type Later struct {
	Body  []byte
	Delay time.Duration
}

// Defer stores a message to be delivered after delay. Errors are as for
// Publish, and queue.ErrNoMemory.
func (t *Topic) Defer(body []byte, delay time.Duration) error {
	return t.DeferAll([]Later{{body, delay}})
}

// DeferAll is Defer for several messages. At level memory, the first of them may
// have been stored after an error; else all are stored, or none.
func (t *Topic) DeferAll(messages []Later) error {
	if t.logs != nil {
		return t.deferLogged(messages)
	}
	now := t.broker.Now()
	if err := t.admit(len(messages)); err != nil {
		return err
	}
	var err error
	for i := 0; i < len(messages) && err == nil; i++ {
		err = t.core.Defer(messages[i].Body, now+int64(messages[i].Delay), now)
	}
	t.published(now)
	t.unlock()
	return err
}

func (t *Topic) published(now int64) {
	t.lastPub = now
	if t.idleAt == 0 {
		t.idleAt = now + int64(idleAfter)
		t.ask(t.idleAt)
	}
}

// admit locks the topic for a publish of so many messages, once the disk has
// caught up.
func (t *Topic) admit(messages int) error {
	for {
		if err := t.lock(); err != nil {
			return err
		}
		// Under the lock, so that whoever finds the topic empty after Drain knows that
		// it stays so.
		err := t.broker.Refusal()
		if err == nil {
			err = t.overfull(messages)
		}
		if err != nil {
			t.unlock()
			return err
		}
		if t.core.Behind() <= t.broker.behindLimit() {
			return nil
		}
		err, progress := t.diskErr, t.progress
		t.unlock()
		if err != nil {
			return err
		}
		select {
		case <-progress:
		case <-t.broker.stopping:
			return ErrExiting
		}
	}
}

// behindLimit is how many blocks of a topic may wait to be written before its
// publishers wait for the disk: none once ten thousand topics with a few each
// have taken far more memory than there should be in use.
func (b *Broker) behindLimit() int {
	if used := b.memory.used.Load(); used > b.memory.limit+b.memory.limit/4 {
		return 0
	}
	return behindLimit
}

// Number tells this topic from an earlier or later one of the same name.
func (t *Topic) Number() uint64 { return t.number }

// View calls f with the topic under its lock, to read it. f must not change
// anything, nor keep anything.
func (t *Topic) View(f func(core *queue.Topic)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t.core)
}
