package queue

import (
	"maps"
	"slices"
)

func (l *logLife) stepTopic() {
	switch l.rng.IntN(12) {
	case 0:
		l.topic.Pause(Pause{})
		l.settled()
	case 1, 2:
		l.unpause()
	case 3:
		if len(l.channels) > 0 {
			maps.Copy(l.hollow, l.held)
		}
		clear(l.held)
		l.topic.Empty()
		l.settled()
		l.keepAll()
	case 4:
		l.store.tight = !l.store.tight
	case 5:
		l.topic.Idle()
	case 6:
		l.stepPublish()
	case 7:
		l.crash()
	case 8, 9:
		names := []string{"a", "b", "c", "d#ephemeral"}
		if name := names[l.rng.IntN(4)]; l.topic.Channel(name) == nil {
			l.stepListen(name)
		}
	case 10:
		l.stepTrim()
	case 11:
		if l.fragile {
			l.damage()
		}
	}
}

func (l *logLife) unpause() {
	l.topic.Unpause(l.now)
	l.settled()
	l.release()
}

func (l *logLife) stepListen(name string) {
	var at *uint64
	if l.rng.IntN(3) == 0 {
		pos := l.first/2 + l.rng.Uint64N(uint64(len(l.main)))
		at = &pos
	}
	r := l.listen(name, at)
	for range l.rng.IntN(4) {
		r.join()
	}
}

// stepTrim removes what no channel needs any more or, on a fragile disk now and
// then, what is older than it may be.
func (l *logLife) stepTrim() {
	if low := l.topic.Low(); low > l.first && !l.fragile || l.rng.IntN(2) == 0 {
		for _, n := range l.trim(max(l.first, low-l.rng.Uint64N(1+(low-l.first)/2))) {
			l.apart[n] = true
		}
		l.keepAll()
		return
	}
	if !l.fragile {
		return
	}
	pos := l.first + l.rng.Uint64N(1+l.topic.End()-l.first)
	for _, r := range l.main[l.first:pos] {
		l.damaged[r.number] = true
	}
	if l.rng.IntN(3) == 0 {
		l.topic.DropTo(pos)
		l.settled()
		return
	}
	l.cut(pos)
}

// damage damages some neighbours.
func (l *logLife) damage() {
	log := l.main[:l.topic.End()]
	if l.rng.IntN(4) == 0 {
		log = l.side
	}
	if len(log) == 0 {
		return
	}
	from := l.rng.IntN(len(log))
	for i := range log[from:min(len(log), from+l.rng.IntN(40))] {
		r := &log[from+i]
		r.frame = nil
		l.damaged[r.number] = true
	}
}

func (l *logLife) stepChannel(r *reader) {
	switch l.rng.IntN(12) {
	case 0:
		r.c.Pause(Pause{})
	case 1, 2:
		r.c.Unpause()
	case 3:
		r.c.Empty()
		clear(r.want)
		r.forgetFlying()
	case 4:
		l.remove(r)
	case 5, 6:
		r.join()
	case 7:
		if len(r.members) > 0 {
			r.leave(r.members[0])
		}
	case 8:
		r.seek(l.first/2 + l.rng.Uint64N(uint64(len(l.main))))
	case 9:
		r.c.SetMaxAttempts(l.rng.IntN(4))
	default:
		r.necromance()
	}
}

// necromance revives a dead message, or deletes it.
func (r *reader) necromance() {
	for _, id := range slices.Sorted(maps.Keys(r.dead)) {
		number := r.dead[id]
		if r.l.rng.IntN(2) == 0 {
			if err := r.c.Delete(id); err != nil {
				r.l.t.Fatal(err)
			}
		} else {
			if err := r.c.Revive(id, r.l.now); err != nil {
				r.l.t.Fatal(err)
			}
			r.want[number], r.seen[number] = true, 0
			delete(r.due, number)
		}
		delete(r.dead, id)
	}
	if err := r.c.Revive(1<<62, r.l.now); err != ErrNotDead {
		r.l.t.Fatalf("reviving what is not dead: %v", err)
	}
}

// leave unsubscribes a member, which may still have a run in its hands.
func (r *reader) leave(m *member) {
	r.c.Unsubscribe(m.k, r.l.now)
	r.letGo(m)
	for id := range m.held {
		r.lose(m, id)
	}
	r.members = slices.DeleteFunc(r.members, func(o *member) bool { return o == m })
}

func (l *logLife) remove(r *reader) {
	if got := l.topic.RemoveChannel(r.c); len(got) != len(r.members) {
		l.t.Fatalf("%d consumers orphaned of %d", len(got), len(r.members))
	}
	for _, m := range r.members {
		m.k.SetReady(5) // what a session may still do before it learns of it
		r.c.Unsubscribe(m.k, l.now)
		r.letGo(m)
	}
	l.channels = slices.DeleteFunc(l.channels, func(o *reader) bool { return o == r })
	delete(l.kept, r.c.name)
	l.settled()
}
