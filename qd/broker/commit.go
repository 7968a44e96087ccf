package broker

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/journal"
	"github.com/millrace-mq/millrace/qd/queue"
)

// groupBytes is how many bytes of bodies one commit gathers from publishers
// that wait, beyond the first of them.
const groupBytes = 4 << 20

// intent is what somebody wants done to a topic's logs, and waits for.
type intent struct {
	bodies [][]byte     // messages
	later  []Later      // or deferred ones
	do     func() error // or anything else that must not happen beside a commit

	err   error
	lead  bool          // set with done: the waiter is to lead
	done  chan struct{} // holds one
	batch []*intent     // what it carries out as leader
}

func (p *intent) size() (n int) {
	for _, b := range p.bodies {
		n += len(b)
	}
	for _, m := range p.later {
		n += len(m.Body)
	}
	return n
}

func newIntent() *intent { return &intent{done: make(chan struct{}, 1)} }

// commits is the queue of those who want to write to a topic's logs. The first
// to come leads: it writes for all who wait meanwhile, in one go, and hands the
// lead to the first of those who have come since. So one write, and one fsync,
// serves everybody who waited for the one before, and nobody leads for long.
type commits struct {
	mu      sync.Mutex
	waiting []*intent
	busy    bool // somebody leads
	last    int  // how many were in the last batch
	handed  int  // how many were waiting when it ended
	want    int  // how many the leader waits for; 0 if it does not

	enough chan struct{} // signalled when as many have come

	// Owned by whoever leads.
	pieces  []queue.Piece
	records []journal.Record
	later   []journal.Record
	frames  []byte
	took    time.Duration // the last synced commit
	timer   *time.Timer

	unlooked int // bytes of bodies since the disk's free space was looked at
}

// longestLinger bounds how long a leader waits for others.
const longestLinger = time.Millisecond

// gather waits for a moment, if commits are synced: for those to come again whom
// the last commit has answered, if they do so in less than half of the time that
// a commit takes. Without it publishers fall into two halves that wait for each
// other, and each sync serves only half of them. One who is alone waits for
// nobody. c.mu is held.
func (c *commits) gather() {
	c.want = c.last + c.handed
	if c.took == 0 || len(c.waiting) >= c.want {
		c.want = 0
		return
	}
	c.mu.Unlock()
	if c.timer == nil {
		c.timer = time.NewTimer(time.Hour)
	}
	c.timer.Reset(min(c.took/2, longestLinger))
	select {
	case <-c.enough:
	case <-c.timer.C:
	}
	c.mu.Lock()
	c.want = 0
	select {
	case <-c.enough: // came with the timer
	default:
	}
}

// commit has an intent carried out, and returns when it is. Who gets in line to
// publish is served; whether there is a line can be seen by whoever has told
// publishers not to come any more, so both are looked at under the lock.
func (t *Topic) commit(p *intent) error {
	c := &t.logs.commits
	p.err, p.lead = nil, false
	c.mu.Lock()
	if err := t.broker.Refusal(); err != nil && p.do == nil {
		c.mu.Unlock()
		return err
	}
	c.waiting = append(c.waiting, p)
	if c.busy {
		if c.want > 0 && len(c.waiting) >= c.want {
			signal(c.enough)
		}
		c.mu.Unlock()
		<-p.done
		if !p.lead {
			return p.err
		}
		c.mu.Lock()
	}
	c.busy = true
	c.gather()
	p.batch = c.take(p.batch[:0])
	c.mu.Unlock()

	t.carryOut(p.batch)

	var next *intent
	c.mu.Lock()
	c.last, c.handed = len(p.batch), len(c.waiting)
	if c.busy = len(c.waiting) > 0; c.busy {
		next = c.waiting[0]
		next.lead = true
	}
	c.mu.Unlock()
	if next != nil {
		next.done <- struct{}{}
	}
	for _, q := range p.batch {
		if q != p {
			q.done <- struct{}{}
		}
	}
	clear(p.batch)
	return p.err
}

// take takes the intents that are to be carried out together: those of
// publishers up to groupBytes, or one of another kind.
func (c *commits) take(batch []*intent) []*intent {
	size, n := 0, 0
	for _, p := range c.waiting {
		if n > 0 && (p.do != nil || size > groupBytes) {
			break
		}
		batch = append(batch, p)
		n++
		if p.do != nil {
			break
		}
		size += p.size()
	}
	rest := copy(c.waiting, c.waiting[n:])
	clear(c.waiting[rest:])
	c.waiting = c.waiting[:rest]
	return batch
}

// carryOut does what the batch wants, and leaves the result in each intent.
func (t *Topic) carryOut(batch []*intent) {
	if do := batch[0].do; do != nil {
		batch[0].err = do()
		return
	}
	if !t.logs.made.Load() { // whoever creates the topic is still at it
		if err := t.save(); err != nil {
			fail(batch, err)
			return
		}
	}
	now := t.broker.Now()
	c := &t.logs.commits
	space := t.room(batch)
	if err := t.lock(); err != nil {
		fail(batch, err)
		return
	}
	sync := t.level() == Fsync
	t.stage(batch, now, space)
	c.pieces = t.core.Staged(c.pieces[:0])
	t.mu.Unlock()

	start := time.Now()
	err := t.write(sync)
	var laterErr error
	if len(c.later) > 0 {
		laterErr = t.wrap("side log", t.logs.side.Commit(c.later, sync))
	}
	if c.took = 0; sync {
		c.took = time.Since(start)
	}

	t.conclude(batch, now, sync, err, laterErr)
}

// conclude tells the core and the batch whether what was staged, and what is
// deferred, could be written.
func (t *Topic) conclude(batch []*intent, now int64, sync bool, err, laterErr error) {
	c := &t.logs.commits
	t.mu.Lock()
	if t.gone { // deleted while it was written: there is nobody left to have it
		t.core.Rollback()
		t.mu.Unlock()
		fail(batch, ErrGone)
		return
	}
	if err == nil {
		t.core.Commit()
	} else {
		t.core.Rollback()
	}
	for _, p := range batch {
		switch {
		case p.err != nil:
		case len(p.later) > 0:
			p.err = laterErr
		default:
			p.err = err
		}
	}
	if laterErr == nil {
		for i := range c.later {
			r := &c.later[i]
			t.core.Deferred(r.FirstID, queue.Side|r.Position, len(r.Frames[0])-protocol.MessageOverhead, r.Due, now)
		}
	}
	if cap(c.frames) > groupBytes {
		c.frames = nil // of large messages
	}
	t.logs.unsynced = t.logs.unsynced || !sync
	t.broker.touched(t.logs)
	t.dropExcess()
	t.committed(errors.Join(err, laterErr))
	t.published(now)
	t.soil(now)
	if len(c.later) > 0 {
		t.unlock()
		return
	}
	t.release(t.core.HasWorkFor(nil))
}

// lookEvery is how many bytes of bodies a topic writes between two looks at the
// disk's free space. That is looked at once a second in any case, but in a second
// more can be written than the floor leaves room for.
const lookEvery = 256 << 10

// room is nil, or why what the batch publishes is refused.
func (t *Topic) room(batch []*intent) error {
	b, c := t.broker, &t.logs.commits
	if b.reserved.Load() == 0 {
		// The disk was full at the start: nothing keeps a crash from having the numbers
		// drawn again that IDs are made of.
		return fmt.Errorf("%s cannot be written: %w", metaFile, syscall.ENOSPC)
	}
	for _, p := range batch {
		c.unlooked += p.size()
	}
	if c.unlooked >= lookEvery {
		c.unlooked = 0
		b.lookAtSpace()
	}
	return b.space()
}

// stage puts what is to be published into the core, unseen yet, and what is
// deferred into c.later. What is refused has its error set; all is, with space if
// that is not nil. Under mu.
func (t *Topic) stage(batch []*intent, now int64, space error) {
	c := &t.logs.commits
	c.later, c.frames = c.later[:0], c.frames[:0]
	staged := 0
	for _, p := range batch {
		if p.err = space; p.err == nil {
			p.err = t.overfull(staged + len(p.bodies) + len(p.later))
		}
		if p.err != nil {
			continue
		}
		staged += len(p.bodies) + len(p.later)
		if len(p.bodies) > 0 {
			t.core.Stage(p.bodies, now)
		}
		for _, m := range p.later {
			t.stageLater(m, now)
		}
	}
}

// stageLater adds a deferred publish to c.later. Under mu.
func (t *Topic) stageLater(m Later, now int64) {
	c := &t.logs.commits
	if size := protocol.MessageOverhead + len(m.Body); cap(c.frames)-len(c.frames) < size {
		c.frames = make([]byte, 0, max(size, 64<<10)) // what is in the old one stays there
	}
	id, at := t.core.DeferID(), len(c.frames)
	c.frames = protocol.AppendMessage(c.frames, now, 0, id, m.Body)
	c.later = append(c.later, journal.Record{
		Kind: journal.Deferred, Position: t.logs.sideEnd() + uint64(len(c.later)), FirstID: id, Count: 1,
		Published: now, Due: now + int64(m.Delay), Frames: [][]byte{c.frames[at:len(c.frames):len(c.frames)]},
	})
}

// write writes what is staged to the log.
func (t *Topic) write(sync bool) error {
	c := &t.logs.commits
	if len(c.pieces) == 0 {
		return nil
	}
	now := t.broker.Now()
	c.records = c.records[:0]
	for _, p := range c.pieces {
		c.records = append(c.records, journal.Record{
			Kind: journal.Messages, Position: p.Position, FirstID: p.FirstID, Count: p.Messages,
			Published: now, Frames: p.Frames,
		})
	}
	return t.wrap("log", t.logs.main.Commit(c.records, sync))
}

func (t *Topic) wrap(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("topic %s: writing its %s: %w", t.name, what, err)
	}
	return err
}

func fail(batch []*intent, err error) {
	for _, p := range batch {
		p.err = err
	}
}

// alone carries something out between two commits.
func (t *Topic) alone(do func() error) error {
	p := newIntent()
	p.do = do
	return t.commit(p)
}

// publishLogged is Publish for a topic with a log.
func (t *Topic) publishLogged(bodies [][]byte) error {
	p := t.broker.intents.Get().(*intent)
	p.bodies, p.later, p.do = bodies, nil, nil
	err := t.commit(p)
	p.bodies = nil
	t.broker.intents.Put(p)
	return err
}

// deferLogged is DeferAll for a topic with a log.
func (t *Topic) deferLogged(messages []Later) error {
	p := t.broker.intents.Get().(*intent)
	p.bodies, p.later, p.do = nil, messages, nil
	err := t.commit(p)
	p.later = nil
	t.broker.intents.Put(p)
	return err
}
