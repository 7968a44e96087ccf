package queue

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// heapStore is a Store that knows what it gave out.
type heapStore struct {
	blocks      int // not yet recycled
	charged     int
	tight       bool
	parkedLimit int // 0 is none
	spare       []*Block
}

func (s *heapStore) Block(size int) *Block {
	s.blocks++
	if n := len(s.spare); n > 0 && s.spare[n-1].Cap() >= size {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		b.Reset()
		return b
	}
	return NewBlock(make([]byte, size))
}

func (s *heapStore) Recycle(b *Block) {
	s.blocks--
	// What is used after it was let go must be seen to be wrong.
	clear(b.frames)
	s.spare = append(s.spare, b)
}

func (s *heapStore) Charge(n int)     { s.charged += n }
func (s *heapStore) Full() bool       { return s.tight }
func (s *heapStore) ParkedLimit() int { return cmp.Or(s.parkedLimit, math.MaxInt) }
func (s *heapStore) Tight() bool      { return s.tight }

// world is a topic with disk queues and a clock, driven as a daemon drives
// it, and a record of what happened to every message.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	now   int64
	store *heapStore

	topology bool // consumers are near or far
	topic    *Topic
	disks    map[string][][]byte
	next     uint64 // extents drawn
	made     int    // messages published, which number their bodies
}

func newWorld(t testing.TB, name string, memory int, seed uint64) *world {
	w := &world{t: t, topology: seed%2 == 1, rng: rand.New(rand.NewPCG(seed, 1)), now: 1, store: &heapStore{}, disks: map[string][][]byte{}}
	w.topic = NewTopic(w.config(name, memory))
	return w
}

func (w *world) config(name string, memory int) Config {
	return Config{Name: name, Store: w.store, MemoryMessages: memory, Extent: func() uint64 {
		w.next += IDExtent
		return w.next
	}}
}

func (w *world) publish(n, size int) {
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = binary.BigEndian.AppendUint64(make([]byte, 0, size+8), uint64(w.made))
		bodies[i] = bodies[i][:8+size]
		w.made++
	}
	w.topic.Publish(bodies, w.now)
}

func (w *world) deferred(delay int64) error {
	err := w.topic.Defer(binary.BigEndian.AppendUint64(nil, uint64(w.made)), w.now+delay, w.now)
	if err == nil {
		w.made++
	}
	return err
}

// work does up to n things on disk.
func (w *world) work(n int) {
	for ; n > 0; n-- {
		job, ok := w.topic.Work()
		if !ok {
			return
		}
		w.perform(job)
	}
}

// perform does a piece of work on disk.
func (w *world) perform(job Work) {
	switch job.Kind {
	case Write:
		frames, _ := job.Frames()
		w.disks[job.Channel] = append(w.disks[job.Channel], slices.Clone(frames))
		w.topic.Wrote(job)
	case Read:
		q := w.disks[job.Channel]
		b := w.store.Block(len(q[0]))
		if err := b.Load(q[0]); err != nil {
			w.t.Fatal(err)
		}
		w.disks[job.Channel] = q[1:]
		w.topic.DidRead(job, b, len(q) == 1)
	case Purge:
		delete(w.disks, job.Channel)
		w.topic.Purged(job)
	}
}

// restart stops the topic and starts it again from what the stop kept.
func (w *world) restart() {
	old := w.topic
	keep := func(owner string, r Rest) (d Disk) {
		var q [][]byte
		for _, f := range r.Before {
			q = append(q, slices.Clone(f.Bytes))
			d.Messages += f.Messages
		}
		q = append(q, w.disks[owner]...)
		for _, f := range r.After {
			q = append(q, slices.Clone(f.Bytes))
			d.Messages += f.Messages
		}
		d.Messages += r.Disk.Messages
		d.Blocks = len(q)
		w.disks[owner] = q
		return d
	}
	w.work(1 << 30)
	w.topic = NewTopic(w.config(old.Name, old.MemoryMessages))
	saved := func(in []Saved) (out []Saved) {
		for _, s := range in {
			out = append(out, Saved{s.Due, slices.Clone(s.Frame)})
		}
		return out
	}
	w.store.charged = 0
	w.topic.Restore(old.State(), keep("", old.Rest()), saved(old.Saved()))
	for _, c := range old.Channels() {
		w.topic.RestoreChannel(c.Name(), c.State(), keep(c.Name(), c.Rest()), saved(c.Saved()), w.now)
	}
	w.store.blocks = 0
}

func (w *world) audit() {
	w.t.Helper()
	if err := w.topic.Audit(); err != nil {
		w.t.Fatal(err)
	}
	auditLeft(w.t, w.topic, w.now)
}
