package queue

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// heapStore is a Store that knows what it gave out.
type heapStore struct {
	blocks  int // not yet recycled
	charged int
	tight   bool
	spare   []*Block
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
	clear(b.frames[:cap(b.frames)])
	s.spare = append(s.spare, b)
}

func (s *heapStore) Charge(n int) { s.charged += n }
func (s *heapStore) Tight() bool  { return s.tight }

// world is a topic with disk queues and a clock, driven as a daemon drives
// it, and a record of what happened to every message.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	now   int64
	store *heapStore
	topic *Topic
	disks map[string][][]byte
	next  uint64 // extents drawn
	made  int    // messages published, which number their bodies
}

func newWorld(t testing.TB, name string, memory int, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: 1, store: &heapStore{}, disks: map[string][][]byte{}}
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

// reader consumes one channel with several consumers and checks what comes.
type reader struct {
	w        *world
	channel  string
	ks       []*Consumer
	runs     []Run
	held     []map[uint64]int // by consumer: ID → number
	newest   int              // of the first deliveries
	inOrder  bool
	finished map[int]bool
	seen     map[int]uint16
}

func (w *world) reader(channel string, consumers int) *reader {
	r := &reader{w: w, channel: channel, newest: -1, inOrder: true, finished: map[int]bool{}, seen: map[int]uint16{}}
	for range consumers {
		r.join()
	}
	return r
}

func (r *reader) ch() *Channel { return r.w.topic.Channel(r.channel) }

func (r *reader) join() {
	k := r.ch().Subscribe(nil, 1000)
	k.SetReady(1 + r.w.rng.IntN(50))
	r.ks, r.runs, r.held = append(r.ks, k), append(r.runs, Run{}), append(r.held, map[uint64]int{})
}

// take lets consumer i take a run and reports whether it got one.
func (r *reader) take(i int) bool {
	if !r.ch().Next(r.ks[i], &r.runs[i], 1+r.w.rng.IntN(5000), r.w.now) {
		return false
	}
	frames := slices.Clone(r.runs[i].Frames)
	again := len(r.runs[i].Again)
	for _, a := range r.runs[i].Again {
		frames = a.Append(frames)
	}
	for n := 0; len(frames) > 0; n++ {
		size := 4 + binary.BigEndian.Uint32(frames)
		m, err := protocol.ParseMessage(frames[8:size])
		if err != nil {
			r.w.t.Fatal(err)
		}
		frames = frames[size:]
		id, _ := protocol.ParseID(m.ID[:])
		number := int(binary.BigEndian.Uint64(m.Body))
		if r.finished[number] {
			r.w.t.Fatalf("message %d comes again after it was finished", number)
		}
		if m.Attempts != r.seen[number]+1 {
			r.w.t.Fatalf("message %d comes with attempts %d after %d", number, m.Attempts, r.seen[number])
		}
		if n >= r.runs[i].N-again || again == 0 {
			if again == 0 && number <= r.newest {
				r.w.t.Fatalf("first delivery of %d comes after %d", number, r.newest)
			}
		}
		if again == 0 {
			r.newest = number
		}
		r.seen[number]++
		r.held[i][id] = number
	}
	return true
}

func (r *reader) ids(i int) []uint64 {
	ids := make([]uint64, 0, len(r.held[i]))
	for id := range r.held[i] {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (r *reader) finish(i, n int) {
	ids := r.ids(i)
	ids = ids[:min(n, len(ids))]
	r.ch().Finish(r.ks[i], ids, func(j int, err error) { r.w.t.Fatalf("FIN %x: %v", ids[j], err) })
	for _, id := range ids {
		r.finished[r.held[i][id]] = true
		delete(r.held[i], id)
	}
}

// drain takes and finishes until nothing comes.
func (r *reader) drain() {
	for idle := 0; idle < 3; idle++ {
		for i := range r.ks {
			for r.take(i) {
				idle = 0
				r.finish(i, 1<<30)
			}
			r.finish(i, 1<<30)
		}
		r.w.work(1 << 30)
		r.w.pass(1<<20, []*reader{r})
	}
}

// pass lets time pass. Leases end, of which the consumers must not answer.
func (w *world) pass(ns int64, readers []*reader) {
	w.now += ns
	w.topic.Expire(w.now)
	for _, r := range readers {
		for i, k := range r.ks {
			for _, id := range r.ids(i) {
				if _, err := r.ch().hold(k, id); err != nil {
					delete(r.held[i], id)
				}
			}
		}
	}
}

func (w *world) audit() {
	w.t.Helper()
	if err := w.topic.Audit(); err != nil {
		w.t.Fatal(err)
	}
}

// TestRandomLife does everything that can be done to a topic, in random
// order, with memory for a few messages, and checks at each step that the
// books balance, and at the end that every message was finished in every
// channel.
func TestRandomLife(t *testing.T) {
	for seed := range uint64(40) {
		for _, memory := range []int{0, 40, 1 << 30} {
			t.Run(fmt.Sprintf("seed %d memory %d", seed, memory), func(t *testing.T) {
				randomLife(t, seed, memory)
			})
		}
	}
}

func randomLife(t *testing.T, seed uint64, memory int) {
	w := newWorld(t, "t", memory, seed)
	w.publish(20, 50) // before the first channel, which gets them
	var readers []*reader
	for _, name := range []string{"a", "b", "c"} {
		w.topic.AddChannel(name, w.now)
		readers = append(readers, w.reader(name, 1+w.rng.IntN(3)))
		if name == "a" {
			continue
		}
		for n := range 20 {
			readers[len(readers)-1].finished[n] = true // was there before the channel
		}
	}
	for step := range 600 {
		r := readers[w.rng.IntN(len(readers))]
		i := w.rng.IntN(len(r.ks))
		switch w.rng.IntN(24) {
		case 0, 1, 2, 3:
			w.publish(1+w.rng.IntN(60), w.rng.IntN(300))
		case 4:
			w.publish(1, MaxBlock+w.rng.IntN(1000))
		case 5:
			if err := w.deferred(int64(w.rng.IntN(5000))); err != nil && !w.store.tight {
				t.Fatal(err)
			}
		case 6, 7, 8, 9:
			r.take(i)
		case 10, 11, 12:
			r.finish(i, w.rng.IntN(60))
		case 13:
			if ids := r.ids(i); len(ids) > 0 {
				id := ids[w.rng.IntN(len(ids))]
				if err := r.ch().Requeue(r.ks[i], id, int64(w.rng.IntN(3)*1000), w.now); err != nil {
					t.Fatal(err)
				}
				delete(r.held[i], id)
			}
		case 14:
			if ids := r.ids(i); len(ids) > 0 {
				if err := r.ch().Touch(r.ks[i], ids[w.rng.IntN(len(ids))], 5000, w.now); err != nil {
					t.Fatal(err)
				}
			}
		case 15:
			w.pass(int64(w.rng.IntN(1500)), readers)
		case 16:
			r.ch().Unsubscribe(r.ks[i], w.now)
			r.ch().Release(&r.runs[i])
			r.ks, r.runs, r.held = slices.Delete(r.ks, i, i+1), slices.Delete(r.runs, i, i+1), slices.Delete(r.held, i, i+1)
			r.join()
		case 17, 18:
			w.work(w.rng.IntN(6))
		case 19:
			w.topic.Pause()
		case 20:
			w.topic.Unpause(w.now)
		case 21:
			w.store.tight = !w.store.tight
		case 22:
			w.topic.Idle()
		case 23:
			if step%3 == 0 {
				for _, r := range readers {
					for i := range r.ks {
						r.ch().Release(&r.runs[i])
					}
				}
				w.restart()
				for _, r := range readers {
					n := len(r.ks)
					r.ks, r.runs, r.held = nil, nil, nil
					for range n {
						r.join()
					}
				}
			}
		}
		w.audit()
	}
	w.topic.Unpause(w.now)
	w.store.tight = false
	w.pass(1<<20, readers)
	for _, r := range readers {
		r.drain()
	}
	w.audit()
	for _, r := range readers {
		for n := range w.made {
			if !r.finished[n] {
				t.Fatalf("channel %s never got message %d of %d: depth %d, on disk %d/%v", r.channel, n, w.made, r.ch().Depth(), r.ch().DiskDepth(), r.ch().backlog)
			}
		}
		for i := range r.ks {
			r.ch().Release(&r.runs[i])
		}
	}
	w.topic.Idle()
	if w.store.blocks != 0 || w.store.charged != 0 {
		t.Errorf("%d blocks and %d bytes are still held", w.store.blocks, w.store.charged)
	}
}
