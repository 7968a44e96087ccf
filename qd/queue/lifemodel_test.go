package queue

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// life is a world with a model beside it: what each channel must still
// deliver, and what the topic holds back. It drives consumers only when the
// topic has woken them.
type life struct {
	*world
	held     map[int]bool // in the topic, for no channel yet
	channels []*listener
	ids      map[uint64]int // every ID that was seen: ID → number
	job      *Work          // begun and not completed
	exact    bool           // nothing is ever shed or damaged
	damaged  map[int]bool   // in the topic's part on disk
	fragile  bool           // records on disk do get damaged
	names    []string       // of the channels
}

// listener is the model of a channel.
type listener struct {
	l       *life
	name    string
	c       *Channel
	want    map[int]bool // neither finished nor emptied
	damaged map[int]bool // in its part on disk
	seen    map[int]uint16
	newest  int // of the first deliveries
	members []*member
}

// member is the model of a consumer.
type member struct {
	k     *Consumer
	run   Run
	wrote []byte // the run's frames when it was taken
	awake bool
	held  map[uint64]int // ID → number
}

func newLife(t testing.TB, topic string, memory int, seed uint64) *life {
	l := &life{world: newWorld(t, topic, memory, seed), held: map[int]bool{}, ids: map[uint64]int{}, damaged: map[int]bool{}, names: []string{"a", "b", "c"}}
	l.exact = !protocol.Ephemeral(topic)
	return l
}

func (l *life) listen(name string, members int) *listener {
	ln := &listener{
		l: l, name: name, c: l.topic.AddChannel(name, l.now), newest: -1,
		want: map[int]bool{}, seen: map[int]uint16{}, damaged: map[int]bool{},
	}
	l.channels = append(l.channels, ln)
	l.release()
	for range members {
		ln.join()
	}
	return ln
}

func (ln *listener) join() {
	k := ln.c.Subscribe(nil, 1000)
	m := &member{k: k, awake: true, held: map[uint64]int{}}
	k.Owner = m
	if ln.l.topology {
		k.SetNearness(Nearness(ln.l.rng.IntN(nearnesses)))
	}
	k.SetReady(1 + ln.l.rng.IntN(50))
	ln.members = append(ln.members, m)
}

// release moves what nothing holds back any more to the channels.
func (l *life) release() {
	if len(l.channels) == 0 || l.topic.Paused() {
		return
	}
	for _, ln := range l.channels {
		maps.Copy(ln.want, l.held)
	}
	clear(l.held)
}

func (l *life) publish(n, size int) {
	for i := range n {
		l.held[l.made+i] = true
	}
	l.world.publish(n, size)
	l.release()
}

func (l *life) deferred(delay int64) {
	if l.world.deferred(delay) == nil {
		l.held[l.made-1] = true
		l.release()
	} else if !l.store.tight {
		l.t.Fatal("a deferred publish was refused though there is memory")
	}
}

func (l *life) wake() {
	for _, k := range l.topic.Woken() {
		k.Owner.(*member).awake = true
	}
}

// take lets a member take a run if it is awake.
func (ln *listener) take(m *member) {
	if !m.awake {
		return
	}
	ln.letGo(m)
	if !ln.c.Next(m.k, &m.run, 1+ln.l.rng.IntN(5000), ln.l.now) {
		m.awake = false
		return
	}
	m.wrote = slices.Clone(m.run.Frames)
	ln.learn(m, m.run.Frames, true)
	for _, a := range m.run.Again {
		ln.learn(m, a.Append(nil), false)
	}
	if m.run.N == 0 || m.k.InFlight() > m.k.ready && m.k.ready >= len(m.held) {
		ln.l.t.Fatalf("a run of %d messages, %d in flight, RDY %d", m.run.N, m.k.InFlight(), m.k.ready)
	}
}

// letGo releases a member's run, which must be as it was.
func (ln *listener) letGo(m *member) {
	if !bytes.Equal(m.run.Frames, m.wrote) {
		ln.l.t.Fatal("the bytes of a run changed before it was released")
	}
	ln.c.Release(&m.run)
	m.wrote = nil
}

// learn checks the messages that a member was given.
func (ln *listener) learn(m *member, frames []byte, first bool) {
	t := ln.l.t
	for len(frames) > 0 {
		size := 4 + binary.BigEndian.Uint32(frames)
		msg, err := protocol.ParseMessage(frames[8:size])
		if err != nil {
			t.Fatal(err)
		}
		frames = frames[size:]
		id, _ := protocol.ParseID(msg.ID[:])
		number := int(binary.BigEndian.Uint64(msg.Body))
		if was, ok := ln.l.ids[id]; ok && was != number {
			t.Fatalf("ID %x is that of messages %d and %d", id, was, number)
		}
		ln.l.ids[id] = number
		if !ln.want[number] {
			t.Fatalf("channel %s delivers %d, which it should not have (any more)", ln.name, number)
		}
		if msg.Attempts != ln.seen[number]+1 {
			t.Fatalf("message %d comes with attempts %d after %d", number, msg.Attempts, ln.seen[number])
		}
		if first && number <= ln.newest {
			t.Fatalf("first delivery of %d comes after %d", number, ln.newest)
		} else if first {
			ln.newest = number
		}
		ln.seen[number]++
		m.held[id] = number
	}
}

func (m *member) ids() []uint64 { return slices.Sorted(maps.Keys(m.held)) }

func (ln *listener) finish(m *member, n int) {
	ids := m.ids()
	ids = ids[:min(n, len(ids))]
	ln.c.Finish(m.k, ids, ln.l.now, func(i int, err error) { ln.l.t.Fatalf("FIN %x: %v", ids[i], err) })
	for _, id := range ids {
		delete(ln.want, m.held[id])
		delete(m.held, id)
	}
}

// leave unsubscribes a member, which may still have a run in its hands.
func (ln *listener) leave(m *member) {
	ln.c.Unsubscribe(m.k, ln.l.now)
	ln.letGo(m)
	ln.members = slices.DeleteFunc(ln.members, func(o *member) bool { return o == m })
}

func (ln *listener) empty() {
	ln.c.Empty()
	clear(ln.want)
	for _, m := range ln.members {
		clear(m.held)
	}
}

func (ln *listener) remove() {
	if got := ln.l.topic.RemoveChannel(ln.c); len(got) != len(ln.members) {
		ln.l.t.Fatalf("%d consumers orphaned of %d", len(got), len(ln.members))
	}
	for _, m := range ln.members {
		m.k.SetReady(0) // what a session may still do before it learns of it
		m.k.SetReady(5)
		ln.c.Unsubscribe(m.k, ln.l.now)
		ln.letGo(m)
	}
	ln.l.channels = slices.DeleteFunc(ln.l.channels, func(o *listener) bool { return o == ln })
}

// pass lets time pass. Consumers forget what they held for too long.
func (l *life) pass(ns int64) {
	l.now += ns
	if when, ok := l.topic.Earliest(); ok && when <= l.now {
		l.topic.Expire(l.now)
	}
	if when, ok := l.topic.Earliest(); ok && when <= l.now {
		l.t.Fatalf("at %d, something is still due at %d", l.now, when)
	}
	for _, ln := range l.channels {
		for _, m := range ln.members {
			for id := range m.held {
				if _, err := ln.c.hold(m.k, id); err != nil {
					delete(m.held, id)
				}
			}
		}
	}
}

// begin begins a piece of work on disk; complete does it, or fails.
func (l *life) begin() {
	if l.job != nil {
		return
	}
	if job, ok := l.topic.Work(); ok {
		l.job = &job
	} else if l.topic.HasWork() {
		l.t.Fatal("there is work to do and none is given")
	}
}

func (l *life) complete() {
	if l.job == nil {
		return
	}
	switch l.rng.IntN(6) {
	case 0:
		l.topic.Failed(*l.job)
	case 1, 2:
		if l.fragile && l.job.Kind == Read {
			l.performDamaged(*l.job)
			break
		}
		fallthrough
	default:
		l.perform(*l.job)
	}
	l.job = nil
}

// performDamaged does a Read that finds a damaged record or, now and then,
// that nothing is left.
func (l *life) performDamaged(job Work) {
	q := l.disks[job.Channel]
	records := q[:1]
	if l.rng.IntN(4) == 0 {
		records = q
	}
	marks := l.damaged
	for _, ln := range l.channels {
		if ln.name == job.Channel {
			marks = ln.damaged
		}
	}
	for _, r := range records {
		b := NewBlock(nil)
		if err := b.Load(r); err != nil {
			l.t.Fatal(err)
		}
		for i := range b.Len() {
			marks[int(binary.BigEndian.Uint64(b.span(i, i+1)[protocol.MessageOverhead:]))] = true
		}
	}
	l.disks[job.Channel] = q[len(records):]
	l.topic.DidRead(job, nil, len(records) == len(q))
}

// missing is how many of the messages that are wanted are known to be damaged.
func (l *life) missing(want, damaged map[int]bool) int {
	n := 0
	for number := range want {
		if damaged[number] || l.damaged[number] {
			n++
		}
	}
	return n
}

// settle lets everything happen that can: all work is done and all consumers
// that are awake take what they can have. Then nothing that can be delivered
// may be left, nor any memory held that is not needed.
func (l *life) settle() {
	for busy := true; busy; {
		l.wake()
		l.begin()
		busy = l.job != nil
		l.complete()
		for _, ln := range l.channels {
			for _, m := range ln.members {
				busy = busy || m.awake
				ln.take(m)
			}
		}
	}
	for _, ln := range l.channels {
		if l.made%8 == 0 { // it copies what there is
			lookAudit(l.t, ln.c)
		}
		for _, m := range ln.members {
			if ln.c.Depth() > 0 && !ln.c.Paused() && m.k.credit() > 0 {
				l.t.Fatalf("channel %s: a consumer sleeps with a credit of %d while %d messages wait (%d on disk)",
					ln.name, m.k.credit(), ln.c.Depth(), ln.c.DiskDepth())
			}
		}
	}
}

// check compares the books with the model.
func (l *life) check() {
	l.t.Helper()
	l.audit()
	l.wake()
	for _, ln := range l.channels {
		n := ln.c.Depth() + ln.c.Deferred() + ln.c.InFlight()
		if l.exact && n != len(ln.want) || n > len(ln.want) || l.fragile && n < len(ln.want)-l.missing(ln.want, ln.damaged) {
			l.t.Fatalf("channel %s has depth %d, deferred %d, in flight %d; there should be %d", ln.name, ln.c.Depth(), ln.c.Deferred(), ln.c.InFlight(), len(ln.want))
		}
		for _, m := range ln.members {
			if m.k.InFlight() != len(m.held) {
				l.t.Fatalf("%d messages in flight to a consumer that holds %d", m.k.InFlight(), len(m.held))
			}
		}
	}
	if l.topic.Behind() > 0 && l.job == nil && !l.topic.HasWork() {
		l.t.Fatal("publishers wait for the disk and there is no work for it")
	}
	if n := l.topic.Depth(); l.exact && n != len(l.held) || n > len(l.held) || l.fragile && n < len(l.held)-l.missing(l.held, nil) {
		l.t.Fatalf("the topic holds %d messages; there should be %d", n, len(l.held))
	}
}

func (l *life) restart() {
	for l.job != nil {
		l.complete()
	}
	for _, ln := range l.channels {
		for _, m := range ln.members {
			ln.letGo(m)
		}
	}
	l.world.restart()
	for _, ln := range l.channels {
		n := len(ln.members)
		ln.c, ln.members = l.topic.Channel(ln.name), nil
		for range n {
			ln.join()
		}
	}
}
