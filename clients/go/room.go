package millrace

import (
	"container/list"
	"sync/atomic"
)

// room keeps a Writer's bounds: what is accepted and unanswered fits in them.
// Asynchronous publishes whose done has not returned count as well, but only for
// those who publish asynchronously: a done that blocks is none of the others'
// business. All but told is guarded by Writer.mu.
type room struct {
	most     load
	inFlight load // accepted and not answered
	answered load // ever, with a done to call

	// told is how much of answered has been told. crowd is how many wait
	// asynchronously: who adds to told must see to them if there are any.
	toldMessages, toldBytes, crowd atomic.Int64

	sync, async list.List // of *admission, in order of coming
	tickets     uint64
}

// admission is a publish that waits for room.
type admission struct {
	load   load
	async  bool
	ticket uint64
	admit  chan error // has room for one: nil, or why not
	place  *list.Element
}

// fits reports whether l may be accepted now. What is larger than the bounds is
// accepted alone.
func (r *room) fits(l load, async bool) bool {
	in := r.inFlight
	if async {
		in.messages += r.answered.messages - int(r.toldMessages.Load())
		in.bytes += r.answered.bytes - int(r.toldBytes.Load())
	}
	with := in.plus(l)
	return in.messages == 0 || with.messages <= r.most.messages && with.bytes <= r.most.bytes
}

// enter accepts l, or returns a place in the queue.
func (r *room) enter(l load, async bool) *admission {
	if r.turn(async) && r.fits(l, async) {
		r.inFlight = r.inFlight.plus(l)
		return nil
	}
	r.tickets++
	a := &admission{load: l, async: async, ticket: r.tickets, admit: make(chan error, 1)}
	if !async {
		a.place = r.sync.PushBack(a)
		return a
	}
	a.place = r.async.PushBack(a)
	r.crowd.Add(1)
	r.grant() // what was told before that has told nobody
	return a
}

// turn reports whether nobody who came earlier is to go first. A synchronous
// publish goes before asynchronous ones that only callbacks hold up.
func (r *room) turn(async bool) bool {
	if async || r.sync.Len() > 0 {
		return r.sync.Len()+r.async.Len() == 0
	}
	first := head(&r.async)
	return first == nil || r.fits(first.load, false)
}

func head(l *list.List) *admission {
	if e := l.Front(); e != nil {
		return e.Value.(*admission)
	}
	return nil
}

// grant admits those that fit now, in their order.
func (r *room) grant() {
	for {
		a, s := head(&r.async), head(&r.sync)
		switch {
		case a != nil && (s == nil || a.ticket < s.ticket) && r.fits(a.load, true):
			r.admit(a)
		case s != nil && (a == nil || s.ticket < a.ticket || r.fits(a.load, false)) && r.fits(s.load, false):
			r.admit(s)
		default:
			return
		}
	}
}

func (r *room) admit(a *admission) {
	r.inFlight = r.inFlight.plus(a.load)
	r.leave(a)
	a.admit <- nil
}

// leave takes a out of the queue.
func (r *room) leave(a *admission) {
	if a.async {
		r.async.Remove(a.place)
		r.crowd.Add(-1)
	} else {
		r.sync.Remove(a.place)
	}
	a.place = nil
}

// refuse turns everybody away.
func (r *room) refuse(err error) {
	for _, l := range []*list.List{&r.async, &r.sync} {
		for a := head(l); a != nil; a = head(l) {
			r.leave(a)
			a.admit <- err
		}
	}
}

// answer ends the time in flight of l, of which callbacks remain to be told.
func (r *room) answer(l, callbacks load) {
	r.inFlight = r.inFlight.minus(l)
	r.answered = r.answered.plus(callbacks)
	r.grant()
}

// tell notes that a done has returned, and reports whether grant is to be called.
// It is the one method that needs no lock.
func (r *room) tell(l load) (grant bool) {
	r.toldMessages.Add(int64(l.messages))
	r.toldBytes.Add(int64(l.bytes))
	return r.crowd.Load() > 0
}
