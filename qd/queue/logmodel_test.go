package queue

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// logLife is a logWorld with a model beside it: what each channel must still
// deliver, how often it has, and what the topic holds back.
type logLife struct {
	*logWorld
	held     map[int]bool // in the topic, for no channel yet
	hollow   map[int]bool // emptied in the topic: in the log, and nobody's
	apart    map[int]bool // in the side log
	damaged  map[int]bool
	channels []*reader
	ids      map[uint64]int // ID → number of all that were delivered
	done     func()         // work that was begun and read
	staged   int            // calls of Stage since the last commit
	written  bool           // and what they staged is in the log
	fragile  bool           // the disk damages what it has
}

// standing is what is known of a channel's messages.
type standing struct {
	want   map[int]bool   // neither finished nor emptied, nor dead
	seen   map[int]uint16 // deliveries
	due    map[int]int64  // not to be delivered before
	dead   map[uint64]int // ID → number
	newest int            // of the first deliveries
}

func (s standing) clone() standing {
	return standing{maps.Clone(s.want), maps.Clone(s.seen), maps.Clone(s.due), maps.Clone(s.dead), s.newest}
}

// reader is the model of a channel.
type reader struct {
	l *logLife
	c *Channel
	standing
	members []*member
	flying  map[int]bool

	saved standing     // when the channel was last written down
	since map[int]bool // what came to it since
}

func newLogLife(t testing.TB, memory int, seed uint64) *logLife {
	return &logLife{
		logWorld: newLogWorld(t, memory, seed), held: map[int]bool{}, hollow: map[int]bool{}, apart: map[int]bool{},
		damaged: map[int]bool{}, ids: map[uint64]int{},
	}
}

// listen opens a channel, at a position if at is not nil.
func (l *logLife) listen(name string, at *uint64) *reader {
	first := len(l.channels) == 0
	r := &reader{l: l, flying: map[int]bool{}, since: map[int]bool{}}
	r.standing = standing{map[int]bool{}, map[int]uint16{}, map[int]int64{}, map[uint64]int{}, -1}
	if at == nil {
		r.c = l.topic.AddChannel(name, l.now)
	} else {
		from := min(max(*at, l.first), l.topic.limit())
		r.c = l.topic.OpenChannelAt(name, *at, l.now)
		r.want = l.between(from, l.topic.limit())
		if first {
			maps.DeleteFunc(l.held, func(n int, _ bool) bool { return !l.apart[n] && !l.topic.Paused() })
		}
	}
	l.channels = append(l.channels, r)
	l.release()
	l.settled()
	l.keep(r)
	return r
}

// between is the numbers of the messages in a part of the log.
func (l *logLife) between(from, to uint64) map[int]bool {
	numbers := map[int]bool{}
	for pos := from; pos < to; pos++ {
		if n := l.main[pos].number; !l.hollow[n] {
			numbers[n] = true
		}
	}
	return numbers
}

// keep writes down how far a channel has come.
func (l *logLife) keep(r *reader) {
	l.logWorld.keep(r.c)
	r.saved = r.standing.clone()
	clear(r.since)
}

func (l *logLife) keepAll() {
	for _, r := range l.channels {
		l.keep(r)
	}
}

func (r *reader) join() {
	m := &member{k: r.c.Subscribe(nil, 1000), awake: true, held: map[uint64]int{}}
	m.k.Owner = m
	if r.l.topology {
		m.k.SetNearness(Nearness(r.l.rng.IntN(nearnesses)))
	}
	m.k.SetReady(1 + r.l.rng.IntN(50))
	r.members = append(r.members, m)
}

// release moves what nothing holds back any more to the channels.
func (l *logLife) release() {
	if len(l.channels) == 0 || l.topic.Paused() {
		return
	}
	for _, r := range l.channels {
		maps.Copy(r.want, l.held)
		maps.Copy(r.since, l.held)
		for n := range l.held {
			if l.apart[n] {
				r.due[n] = l.dueOf(n)
			}
		}
	}
	clear(l.held)
}

func (l *logLife) dueOf(number int) int64 {
	i := slices.IndexFunc(l.side, func(r record) bool { return r.number == number })
	return l.side[i].due
}

func (l *logLife) wake() {
	for _, k := range l.topic.Woken() {
		k.Owner.(*member).awake = true
	}
}

// take lets a member take a run if it is awake.
func (r *reader) take(m *member) {
	if !m.awake {
		return
	}
	r.letGo(m)
	if !r.c.Next(m.k, &m.run, 1+r.l.rng.IntN(5000), r.l.now) {
		m.awake = false
		return
	}
	m.wrote = slices.Clone(m.run.Frames)
	r.learn(m, m.run.Frames, true)
	for _, a := range m.run.Again {
		r.learn(m, a.Append(nil), false)
	}
	if m.run.N == 0 || m.k.InFlight() > m.k.ready && m.k.ready >= len(m.held) {
		r.l.t.Fatalf("a run of %d messages, %d in flight, RDY %d", m.run.N, m.k.InFlight(), m.k.ready)
	}
}

// letGo releases a member's run, which must be as it was.
func (r *reader) letGo(m *member) {
	if !bytes.Equal(m.run.Frames, m.wrote) {
		r.l.t.Fatal("the bytes of a run changed before it was released")
	}
	r.c.Release(&m.run)
	m.wrote = nil
}

// learn checks the messages that a member was given.
func (r *reader) learn(m *member, frames []byte, first bool) {
	for len(frames) > 0 {
		size := 4 + binary.BigEndian.Uint32(frames)
		msg, err := protocol.ParseMessage(frames[8:size])
		if err != nil {
			r.l.t.Fatal(err)
		}
		frames = frames[size:]
		id, _ := protocol.ParseID(msg.ID[:])
		number := int(binary.BigEndian.Uint64(msg.Body))
		r.met(id, number, msg.Attempts, first)
		m.held[id] = number
	}
}

// met checks one message that was delivered.
func (r *reader) met(id uint64, number int, attempts uint16, first bool) {
	l, t, most := r.l, r.l.t, r.c.MaxAttempts()
	if was, ok := l.ids[id]; ok && was != number {
		t.Fatalf("ID %x is that of messages %d and %d", id, was, number)
	}
	l.ids[id] = number
	switch {
	case !r.want[number]:
		t.Fatalf("channel %s delivers %d, which it should not have (any more)", r.c.name, number)
	case r.flying[number]:
		t.Fatalf("channel %s delivers %d, which is in flight", r.c.name, number)
	case attempts != r.seen[number]+1:
		t.Fatalf("message %d comes with attempts %d after %d", number, attempts, r.seen[number])
	case !first && most > 0 && int(attempts) > most:
		t.Fatalf("message %d comes with attempts %d of at most %d", number, attempts, most)
	case r.due[number] > l.now:
		t.Fatalf("message %d comes at %d and is due at %d", number, l.now, r.due[number])
	case first && number <= r.newest:
		t.Fatalf("first delivery of %d comes after %d", number, r.newest)
	case first:
		r.newest = number
	}
	r.seen[number]++
	r.flying[number] = true
}

func (r *reader) finish(m *member, n int) {
	ids := m.ids()
	ids = ids[:min(n, len(ids))]
	r.c.Finish(m.k, ids, r.l.now, func(i int, err error) { r.l.t.Fatalf("FIN %x: %v", ids[i], err) })
	for _, id := range ids {
		delete(r.want, m.held[id])
		r.lose(m, id)
	}
}

// lose notes that a member does not hold a message any more.
func (r *reader) lose(m *member, id uint64) {
	delete(r.flying, m.held[id])
	delete(m.held, id)
}

// mourn learns which messages are dead, and checks that they had to die.
func (r *reader) mourn() {
	if r.c.Dead() == len(r.dead) {
		return
	}
	for _, id := range r.c.DeadIDs() {
		if _, known := r.dead[id]; known {
			continue
		}
		number := r.l.ids[id]
		if most := r.c.MaxAttempts(); most == 0 || int(r.seen[number]) < most || !r.want[number] || r.flying[number] {
			r.l.t.Fatalf("message %d is dead after %d attempts of %d", number, r.seen[number], most)
		}
		r.dead[id] = number
		delete(r.want, number)
	}
}

func (r *reader) forgetFlying() {
	clear(r.flying)
	for _, m := range r.members {
		clear(m.held)
	}
}

// seek moves the channel, which forgets all but deferred publishes and what is
// dead and does not come again.
func (r *reader) seek(pos uint64) {
	l := r.l
	r.c.Seek(pos, l.now)
	from := min(max(pos, l.first), l.topic.limit())
	r.forgetFlying()
	maps.DeleteFunc(r.want, func(n int, _ bool) bool { return !l.apart[n] })
	again := l.between(from, l.topic.limit())
	for n := range again {
		r.want[n], r.seen[n] = true, 0
		delete(r.due, n)
	}
	maps.DeleteFunc(r.dead, func(_ uint64, n int) bool { return again[n] })
	r.newest = -1
	l.keep(r)
}

// crash takes everything back to when it was last written down. What was written
// to the log and not yet committed is published by that.
func (l *logLife) crash() {
	if l.written {
		l.published()
	}
	l.staged, l.written, l.done = 0, false, nil
	l.logWorld.crash()
	l.channels = slices.DeleteFunc(l.channels, func(r *reader) bool { return protocol.Ephemeral(r.c.name) })
	for _, r := range l.channels {
		n := len(r.members)
		r.c, r.members = l.topic.Channel(r.c.name), nil
		clear(r.flying)
		r.standing = r.saved.clone()
		maps.Copy(r.want, r.since)
		for n := range r.since {
			if l.apart[n] {
				r.due[n] = l.dueOf(n)
			}
		}
		for range n {
			r.join()
		}
	}
	if len(l.channels) == 0 {
		l.held = l.between(max(l.state.Base, l.first), l.topic.End())
		for _, e := range l.publishes(l.state.BaseSide, uint64(len(l.side))) {
			l.held[numberOf(l.record(e.Place).frame)] = true
		}
	}
	l.release()
}

// published notes that what was staged is published.
func (l *logLife) published() {
	for _, r := range l.main[l.topic.End():] {
		l.held[r.number] = true
	}
}

// missing is how many of the messages of a channel may be missing.
func (l *logLife) missing(want map[int]bool) (n int) {
	for number := range want {
		if l.damaged[number] {
			n++
		}
	}
	return n
}

// check compares the books with the model.
func (l *logLife) check() {
	l.t.Helper()
	l.audit()
	l.wake()
	for _, r := range l.channels {
		r.mourn()
		n, exact := r.c.Depth()+r.c.Deferred()+r.c.InFlight(), !protocol.Ephemeral(r.c.name)
		if n > len(r.want) || exact && n < len(r.want)-l.missing(r.want) {
			l.t.Fatalf("channel %s has depth %d, deferred %d, in flight %d; there should be %d", r.c.name, r.c.Depth(), r.c.Deferred(), r.c.InFlight(), len(r.want))
		}
		if r.c.Dead() != len(r.dead) || r.c.InFlight() != len(r.flying) {
			l.t.Fatalf("channel %s has %d dead and %d in flight; there should be %d and %d", r.c.name, r.c.Dead(), r.c.InFlight(), len(r.dead), len(r.flying))
		}
		if low := l.topic.Low(); low > l.topic.End() || low < l.first && !l.fragile {
			l.t.Fatalf("low %d is not between %d and %d", low, l.first, l.topic.End())
		}
	}
	if n := l.topic.Depth(); n > len(l.held) || n < len(l.held)-l.missing(l.held) {
		l.t.Fatalf("the topic holds %d messages; there should be %d", n, len(l.held))
	}
}
