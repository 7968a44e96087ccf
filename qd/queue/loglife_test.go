package queue

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// TestLogLife does everything that can be done to a topic with a log, in random
// order, with memory for none, a few or all messages, and crashes. After each
// step the books must balance and agree with the model, and at the end every
// message that was meant for a channel must have been finished in it.
func TestLogLife(t *testing.T) {
	for seed := range uint64(8) {
		for _, memory := range []int{0, 40, 1 << 30} {
			t.Run(fmt.Sprintf("seed %d memory %d", seed, memory), func(t *testing.T) {
				newLogLife(t, memory, seed).live(900)
			})
		}
	}
}

// TestDamagedLogLife is TestLogLife on a disk that damages messages, with
// retention that takes what was not delivered. That costs those messages and no
// others.
func TestDamagedLogLife(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			l := newLogLife(t, 40, 100+seed)
			l.fragile = true
			l.live(900)
		})
	}
}

func (l *logLife) live(steps int) {
	if l.rng.IntN(3) == 0 {
		l.store.parkedLimit = 20000
	}
	for range steps {
		l.step()
		l.check()
	}
	l.end()
}

// step does one thing.
func (l *logLife) step() {
	if len(l.channels) == 0 || l.rng.IntN(25) == 0 {
		l.stepTopic()
		return
	}
	r := l.channels[l.rng.IntN(len(l.channels))]
	if len(r.members) == 0 || l.rng.IntN(25) == 0 {
		l.stepChannel(r)
		return
	}
	m := r.members[l.rng.IntN(len(r.members))]
	switch l.rng.IntN(21) {
	case 0, 1, 2, 3:
		l.stepPublish()
	case 4:
		l.defers()
	case 5, 6, 7, 8:
		r.take(m)
	case 9, 10, 11:
		r.finish(m, l.rng.IntN(60))
	case 12, 13:
		l.answer(r, m)
	case 14:
		l.pass(int64(l.rng.IntN(1500)))
	case 15, 16:
		l.begin()
	case 17:
		l.complete()
	case 18:
		m.k.SetReady(l.rng.IntN(3) * l.rng.IntN(40))
	case 19:
		l.settle()
	case 20:
		l.keep(r)
	}
}

// stepPublish goes a step on the way of a publish: staged, once or several
// times, written, committed or taken back.
func (l *logLife) stepPublish() {
	switch {
	case l.written && l.rng.IntN(5) == 0:
		l.rollback()
		l.staged, l.written = 0, false
	case l.written:
		l.published()
		l.commit()
		l.staged, l.written = 0, false
		l.release()
	case l.staged > 0 && l.rng.IntN(3) > 0:
		l.write()
		l.written = true
	case l.rng.IntN(6) == 0:
		l.stage(1+l.rng.IntN(3), MaxBlock/2+l.rng.IntN(MaxBlock))
		l.staged++
	default:
		l.stage(1+l.rng.IntN(60), l.rng.IntN(300))
		l.staged++
	}
}

func (l *logLife) defers() {
	l.held[l.made], l.apart[l.made] = true, true
	l.deferred(int64(l.rng.IntN(5000)))
	l.release()
}

// answer requeues or touches one message.
func (l *logLife) answer(r *reader, m *member) {
	ids := m.ids()
	if len(ids) == 0 {
		return
	}
	id := ids[l.rng.IntN(len(ids))]
	if l.rng.IntN(3) == 0 {
		if err := r.c.Touch(m.k, id, 5000, l.now); err != nil {
			l.t.Fatal(err)
		}
		return
	}
	delay := int64(l.rng.IntN(3) * 1000)
	if err := r.c.Requeue(m.k, id, delay, l.now); err != nil {
		l.t.Fatal(err)
	}
	r.due[m.held[id]] = l.now + delay
	r.lose(m, id)
}

// pass lets time pass. Consumers forget what they held for too long.
func (l *logLife) pass(ns int64) {
	l.now += ns
	for when, ok := l.topic.Earliest(); ok && when <= l.now; when, ok = l.topic.Earliest() {
		l.topic.Expire(l.now)
	}
	for _, r := range l.channels {
		for _, m := range r.members {
			for id := range m.held {
				if _, err := r.c.hold(m.k, id); err != nil {
					r.lose(m, id)
				}
			}
		}
	}
}

// begin begins a piece of work on disk, which is then done; complete tells the
// topic of it, or that it failed.
func (l *logLife) begin() {
	if l.done != nil {
		return
	}
	job, ok := l.topic.Work()
	switch {
	case !ok && l.topic.HasWork():
		l.t.Fatal("there is work to do and none is given")
	case ok && l.rng.IntN(6) == 0:
		l.done = func() { l.topic.Failed(job) }
	case ok && l.rng.IntN(2) == 0:
		l.done = func() { l.read(job)() }
	case ok:
		l.done = l.read(job)
	}
}

func (l *logLife) complete() {
	if l.done != nil {
		l.done()
		l.done = nil
	}
}

// settle lets everything happen that can: all work is done and all consumers
// that are awake take what they can have. Then nothing that can be delivered
// may be left.
func (l *logLife) settle() {
	for busy := true; busy; {
		l.wake()
		l.begin()
		l.wake() // a channel may have borrowed what another one has loaded
		busy = l.done != nil
		l.complete()
		for _, r := range l.channels {
			for _, m := range r.members {
				busy = busy || m.awake
				r.take(m)
			}
			r.mourn()
		}
	}
	for _, r := range l.channels {
		lookAudit(l.t, r.c)
		for _, m := range r.members {
			ready := r.c.parking.ready.n + r.c.parking.shelf.ready()
			if !r.c.Paused() && m.k.credit() > 0 && (ready > 0 || r.c.unread() > 0 && !r.c.crowded()) {
				l.t.Fatalf("channel %s: a consumer sleeps with a credit of %d while %d messages wait", r.c.name, m.k.credit(), r.c.Depth())
			}
		}
	}
}

// end drains every channel and checks that nothing is left.
func (l *logLife) end() {
	for l.staged > 0 {
		l.stepPublish()
	}
	l.store.tight = false
	if len(l.channels) == 0 {
		l.listen("a", nil)
	}
	l.unpause()
	l.check()
	for _, r := range l.channels {
		r.c.Unpause()
		r.c.SetMaxAttempts(0)
		r.necromance()
		r.join()
		for _, m := range r.members {
			m.k.SetReady(20)
		}
	}
	for range 2 { // what is requeued, and what times out or was deferred
		for left := true; left; {
			l.settle()
			left = false
			for _, r := range l.channels {
				for _, m := range r.members {
					left = left || len(m.held) > 0
					r.finish(m, 1<<30)
				}
			}
		}
		l.pass(1 << 20)
		l.check()
	}
	l.drained()
}

func (l *logLife) drained() {
	for _, r := range l.channels {
		n, most := r.c.Depth()+r.c.Deferred()+r.c.InFlight(), l.missing(r.want)
		if protocol.Ephemeral(r.c.name) {
			most = len(r.want)
		}
		if n > 0 || len(r.want) > most {
			l.t.Fatalf("channel %s never delivered %d messages; it has %d: %v", r.c.name, len(r.want), n, slices.Sorted(maps.Keys(r.want)))
		}
		for _, m := range r.members {
			r.letGo(m)
		}
	}
	l.topic.Idle()
	l.check()
	if l.store.blocks != 0 || l.store.charged != 0 {
		l.t.Fatalf("%d blocks and %d bytes are still held", l.store.blocks, l.store.charged)
	}
}
