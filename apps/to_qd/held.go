package main

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

// parcel is messages that were delivered together.
type parcel struct {
	messages []*millrace.Message
	bytes    int           // of their bodies
	timeout  time.Duration // the shortest of their daemons'
	touched  time.Time     // or delivered
	late     time.Time     // from then on no touch keeps them for long enough
}

// held is what was delivered and not answered, in the order of delivery: it waits to be taken, or
// somebody is at work on it. All of it is touched in time.
type held struct {
	most int // messages, beyond which put waits

	mu      sync.Mutex // guards all below; not held across a call
	some    sync.Cond  // something waits, or is closed
	room    sync.Cond  // count has come down
	waiting []*parcel
	taken   map[*parcel]struct{}
	count   int // messages, of both
	bytes   int // of their bodies
	closed  bool
}

// newHeld returns a held for a source that has so many messages in flight at most. What was in
// flight on a connection that broke is held on, and comes besides on the next one: so it takes
// twice as many, but no more, however often that happens.
func newHeld(inFlight int) *held {
	h := &held{most: 2 * inFlight, taken: make(map[*parcel]struct{})}
	h.some.L, h.room.L = &h.mu, &h.mu
	return h
}

// What a daemon has that does not tell.
const (
	usualTimeout    = time.Minute
	usualMaxTimeout = 15 * time.Minute
)

// put adds messages, which are held's from now on. It waits for room, which done makes.
func (h *held) put(messages []*millrace.Message, now time.Time) {
	p := &parcel{messages: messages, timeout: math.MaxInt64, touched: now}
	longest := time.Duration(math.MaxInt64)
	for _, m := range messages {
		p.bytes += len(m.Body)
		p.timeout = min(p.timeout, cmp.Or(m.Timeout(), usualTimeout))
		longest = min(longest, cmp.Or(m.MaxTimeout(), usualMaxTimeout))
	}
	p.late = now.Add(longest - p.timeout/2)
	h.mu.Lock()
	for h.count >= h.most {
		h.room.Wait()
	}
	h.waiting = append(h.waiting, p)
	h.count += len(messages)
	h.bytes += p.bytes
	h.mu.Unlock()
	h.some.Signal()
}

// take waits for parcels and takes the oldest of them, one at least, and more as long as they
// have most messages together. It returns none when there are none and held is closed.
func (h *held) take(most int) []*parcel {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.waiting) == 0 {
		if h.closed {
			return nil
		}
		h.some.Wait()
	}
	n, messages := 1, len(h.waiting[0].messages)
	for n < len(h.waiting) && messages+len(h.waiting[n].messages) <= most {
		messages += len(h.waiting[n].messages)
		n++
	}
	all := append([]*parcel(nil), h.waiting[:n]...)
	clear(h.waiting[:n])
	if h.waiting = h.waiting[n:]; len(h.waiting) == 0 {
		h.waiting = nil
	}
	for _, p := range all {
		h.taken[p] = struct{}{}
	}
	return all
}

// done forgets parcels that were taken, and answered.
func (h *held) done(parcels []*parcel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range parcels {
		delete(h.taken, p)
		h.count -= len(p.messages)
		h.bytes -= p.bytes
	}
	h.room.Broadcast()
}

// size returns how many bytes of bodies are held.
func (h *held) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bytes
}

// close says that nothing is put any more.
func (h *held) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.some.Broadcast()
}

// late takes the parcels that are late at now from those that nobody has taken yet.
func (h *held) late(now time.Time) (parcels []*parcel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = slices.DeleteFunc(h.waiting, func(p *parcel) bool {
		late := !now.Before(p.late)
		if late {
			parcels = append(parcels, p)
		}
		return late
	})
	return parcels
}

// due returns what is to be touched at now, and takes it for touched. The messages may be
// answered meanwhile.
func (h *held) due(now time.Time) (messages []*millrace.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	look := func(p *parcel) {
		if now.Sub(p.touched) >= p.timeout/2 && now.Before(p.late) {
			p.touched = now
			messages = append(messages, p.messages...)
		}
	}
	for p := range h.taken {
		look(p)
	}
	for _, p := range h.waiting {
		look(p)
	}
	return messages
}
