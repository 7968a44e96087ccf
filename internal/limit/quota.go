package limit

import (
	"maps"
	"math"
	"slices"
	"sync"
)

// Quota is how many things somebody may have made that still exist. What is counted
// is what was made while the daemon runs. K names things, and never two alike. It is
// safe for concurrent use.
type Quota[K comparable] struct {
	exists func(K) bool // whether a thing still exists; called without a lock held

	mu      sync.Mutex
	of      map[string]*made[K]
	n       int // things of all
	sweepAt int // things from which on it is looked which are gone
}

type made[K comparable] struct {
	things []K
	claims int // about to be made
}

// NewQuota returns a Quota of things of which exists tells whether they still are.
func NewQuota[K comparable](exists func(K) bool) *Quota[K] {
	return &Quota[K]{exists: exists, of: make(map[string]*made[K]), sweepAt: leastSweep}
}

// Claim reports whether who may make another thing, of most at a time. If so, Made or
// Abandon has to follow.
func (q *Quota[K]) Claim(who string, most int) bool {
	q.sweep()
	if q.tryClaim(who, most) {
		return true
	}
	q.forget(who)
	return q.tryClaim(who, most)
}

func (q *Quota[K]) tryClaim(who string, most int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.of[who]
	if m == nil {
		m = new(made[K])
		q.of[who] = m
	}
	if len(m.things)+m.claims >= most {
		return false
	}
	m.claims++
	return true
}

// Made ends a claim: the thing is there.
func (q *Quota[K]) Made(who string, thing K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.of[who]
	m.claims--
	if slices.Contains(m.things, thing) { // two connections had it made at once
		return
	}
	m.things = append(m.things, thing)
	q.n++
}

// Abandon ends a claim: nothing was made.
func (q *Quota[K]) Abandon(who string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.of[who]
	if m.claims--; m.claims == 0 && len(m.things) == 0 {
		delete(q.of, who)
	}
}

// sweep forgets what there no longer is, of all, once there may be as much of that as of
// what there is: so what is remembered is bounded by what exists.
func (q *Quota[K]) sweep() {
	q.mu.Lock()
	var all []string
	if q.n >= q.sweepAt {
		q.sweepAt = math.MaxInt // one does it
		all = slices.Collect(maps.Keys(q.of))
	}
	q.mu.Unlock()
	if all == nil {
		return
	}
	for _, who := range all {
		q.forget(who)
	}
	q.mu.Lock()
	q.sweepAt = max(2*q.n, leastSweep)
	q.mu.Unlock()
}

// forget forgets what there no longer is of what somebody has made.
func (q *Quota[K]) forget(who string) {
	q.mu.Lock()
	m := q.of[who]
	if m == nil {
		q.mu.Unlock()
		return
	}
	things := slices.Clone(m.things)
	q.mu.Unlock()
	gone := make(map[K]bool)
	for _, t := range things {
		if !q.exists(t) {
			gone[t] = true
		}
	}
	if len(gone) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if m := q.of[who]; m != nil {
		had := len(m.things)
		m.things = slices.DeleteFunc(m.things, func(t K) bool { return gone[t] })
		q.n -= had - len(m.things)
		if len(m.things) == 0 && m.claims == 0 {
			delete(q.of, who)
		}
	}
}
