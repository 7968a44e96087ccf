package queue

import (
	"fmt"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// TestLife does everything that can be done to a topic, in random order, with
// memory for none, a few or all messages. After each step the books must
// balance and agree with the model, and at the end every message that was
// meant for a channel must have been finished in it.
func TestLife(t *testing.T) {
	for seed := range uint64(14) {
		for _, memory := range []int{0, 40, 1 << 30} {
			t.Run(fmt.Sprintf("seed %d memory %d", seed, memory), func(t *testing.T) {
				l := newLife(t, "t", memory, seed)
				for range 900 {
					l.step()
					l.check()
				}
				l.end()
			})
		}
	}
}

// TestEphemeralLife is TestLife for what has no disk: messages go missing, but
// the books balance, memory is bounded and nobody sleeps through anything.
func TestEphemeralLife(t *testing.T) {
	for _, topic := range []string{"t", "t#ephemeral"} {
		for seed := range uint64(14) {
			t.Run(fmt.Sprintf("%s seed %d", topic, seed), func(t *testing.T) {
				l := newLife(t, topic, 30, seed)
				l.exact = false
				l.names = []string{"a#ephemeral", "b#ephemeral", "c"}
				for range 900 {
					l.step()
					l.check()
					l.bounded()
				}
				l.end()
			})
		}
	}
}

// TestDamagedLife is TestLife on a disk that damages records and forgets some.
// That costs those messages, and no others.
func TestDamagedLife(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			l := newLife(t, "t", 40, seed)
			l.exact, l.fragile = false, true
			for range 900 {
				l.step()
				l.check()
			}
			l.end()
		})
	}
}

// bounded checks that an ephemeral topic's backlogs, and those of ephemeral
// channels, keep what they may and a block.
func (l *life) bounded() {
	most := 30 + MinBlock/protocol.MessageOverhead
	if n := l.topic.inMemory(); l.topic.ephemeral && n > most {
		l.t.Fatalf("an ephemeral topic holds %d messages", n)
	}
	for _, ln := range l.channels {
		if n := ln.c.inMemory(); protocol.Ephemeral(ln.name) && n > most+MaxBlock/protocol.MessageOverhead {
			l.t.Fatalf("an ephemeral channel holds %d messages", n)
		}
		if l.topic.Behind() > 0 && l.topic.ephemeral {
			l.t.Fatal("publishers wait for the disk of a topic that has none")
		}
	}
}

// step does one thing.
func (l *life) step() {
	if len(l.channels) == 0 || l.rng.IntN(40) == 0 {
		l.stepTopic()
		return
	}
	ln := l.channels[l.rng.IntN(len(l.channels))]
	if len(ln.members) == 0 || l.rng.IntN(40) == 0 {
		l.stepChannel(ln)
		return
	}
	m := ln.members[l.rng.IntN(len(ln.members))]
	switch l.rng.IntN(20) {
	case 0, 1, 2, 3:
		l.publish(1+l.rng.IntN(60), l.rng.IntN(300))
	case 4:
		size := MinBlock << (2 * l.rng.IntN(4)) // of a block, up to MaxBlock
		l.publish(1+l.rng.IntN(3), size/2+l.rng.IntN(size))
	case 5:
		l.deferred(int64(l.rng.IntN(5000)))
	case 6, 7, 8, 9:
		ln.take(m)
	case 10, 11, 12:
		ln.finish(m, l.rng.IntN(60))
	case 13, 14:
		l.answer(ln, m)
	case 15:
		l.pass(int64(l.rng.IntN(1500)))
	case 16:
		l.begin()
	case 17:
		l.complete()
	case 18:
		m.k.SetReady(l.rng.IntN(3) * l.rng.IntN(40))
	case 19:
		l.settle()
	}
}

// answer requeues, touches or times out one message.
func (l *life) answer(ln *listener, m *member) {
	ids := m.ids()
	if len(ids) == 0 {
		return
	}
	id := ids[l.rng.IntN(len(ids))]
	if l.rng.IntN(2) == 0 {
		if err := ln.c.Touch(m.k, id, 5000, l.now); err != nil {
			l.t.Fatal(err)
		}
		return
	}
	if err := ln.c.Requeue(m.k, id, int64(l.rng.IntN(3)*1000), l.now); err != nil {
		l.t.Fatal(err)
	}
	delete(m.held, id)
}

func (l *life) stepTopic() {
	switch l.rng.IntN(9) {
	case 0:
		l.topic.Pause(Pause{})
	case 1, 2:
		l.topic.Unpause(l.now)
		l.release()
	case 3:
		l.topic.Empty()
		clear(l.held)
	case 4:
		l.store.tight = !l.store.tight
	case 5:
		l.topic.Idle()
	case 6:
		l.publish(l.rng.IntN(60), l.rng.IntN(300))
	case 7:
		if l.exact {
			l.restart()
		}
	case 8:
		if name := l.names[l.rng.IntN(3)]; l.topic.Channel(name) == nil {
			l.listen(name, l.rng.IntN(4))
		}
	}
}

func (l *life) stepChannel(ln *listener) {
	switch l.rng.IntN(8) {
	case 0:
		ln.c.Pause(Pause{})
	case 1, 2:
		ln.c.Unpause()
	case 3:
		ln.empty()
	case 4:
		ln.remove()
	case 5, 6:
		ln.join()
	case 7:
		if len(ln.members) > 0 {
			ln.leave(ln.members[0])
		}
	}
}

// end drains every channel and checks that nothing is left.
func (l *life) end() {
	l.topic.Unpause(l.now)
	l.store.tight = false
	if len(l.channels) == 0 {
		l.listen("a", 1)
	}
	l.release()
	l.check()
	for _, ln := range l.channels {
		ln.c.Unpause()
		ln.join()
		for _, m := range ln.members {
			m.k.SetReady(20)
		}
	}
	for range 2 { // what is requeued, and what times out or was deferred
		for left := true; left; {
			l.settle()
			left = false
			for _, ln := range l.channels {
				for _, m := range ln.members {
					left = left || len(m.held) > 0
					ln.finish(m, 1<<30)
				}
			}
		}
		l.pass(1 << 20)
		l.check()
	}
	for _, ln := range l.channels {
		if n := ln.c.Depth() + ln.c.Deferred() + ln.c.InFlight(); n > 0 || (l.exact || l.fragile) && len(ln.want) > l.missing(ln.want, ln.damaged) {
			l.t.Fatalf("channel %s never delivered %d messages; it has %d: depth %d, on disk %d", ln.name, len(ln.want), n, ln.c.Depth(), ln.c.DiskDepth())
		}
		for _, m := range ln.members {
			ln.letGo(m)
		}
	}
	l.topic.Idle()
	l.check()
	if l.store.blocks != 0 || l.store.charged != 0 {
		l.t.Fatalf("%d blocks and %d bytes are still held", l.store.blocks, l.store.charged)
	}
}
