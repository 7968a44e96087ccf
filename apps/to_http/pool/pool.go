// Package pool decides which endpoint is asked next, by how they have done. It has
// no clock and no lock: both are the caller's.
package pool

import (
	"fmt"
	"time"
)

// Mode is how one of several endpoints is chosen.
type Mode uint8

const (
	HostPool      Mode = iota // in turn, leaving out those that fail, for longer each time
	RoundRobin                // in turn, whether they fail or not
	EpsilonGreedy             // the fastest nine times in ten, leaving out those that fail
	All                       // not one: all
)

// Modes are the names of modes.
var Modes = []string{"hostpool", "round-robin", "epsilon-greedy", "all"}

// ParseMode returns the mode with a name.
func ParseMode(name string) (Mode, error) {
	for i, n := range Modes {
		if n == name {
			return Mode(i), nil
		}
	}
	return 0, fmt.Errorf("mode %q: must be hostpool, round-robin, epsilon-greedy or all", name)
}

const (
	// tolerance is how many failures in a row make an endpoint bad: a message that it
	// cannot digest must not make it so.
	tolerance = 3

	firstPause = time.Second
	lastPause  = time.Minute

	// epsilon is how often one that is not the fastest is asked, to notice when it is;
	// weight is what one request counts for in how fast an endpoint is.
	epsilon = 0.1
	weight  = 0.2
)

// Pool is some endpoints, which have numbers from 0.
type Pool struct {
	mode   Mode
	hosts  []host
	turn   int
	random func() float64
}

// host is what is known of an endpoint.
type host struct {
	failures int           // in a row, while it is good
	pauses   int           // in a row; above 0 it is bad
	since    time.Time     // when the last pause began
	until    time.Time     // when it ends
	probed   bool          // whether it is being found out if the endpoint is good again
	asked    time.Time     // until when it has asked to be left alone
	mean     time.Duration // of how long a request takes; 0 before the first
}

// New returns a pool of n endpoints, at least one. random returns numbers from 0 to 1.
func New(mode Mode, n int, random func() float64) *Pool {
	return &Pool{mode: mode, hosts: make([]host, n), random: random}
}

// Next chooses the endpoint to ask, of those that were not tried yet; false if none is
// worth it. The first try of a message always is, unless all have asked to be left
// alone: whoever has only bad endpoints must find out when one is good again.
//
// One that was bad and whose pause is over is chosen once: the next try is a pause
// later, if it is not good by then.
func (p *Pool) Next(now time.Time, tried func(i int) bool) (i int, ok bool) {
	open := func(i int) bool { return !tried(i) && p.open(i, now) }
	first := !p.any(tried)
	switch i, ok = p.choose(open); {
	case ok:
	case first:
		i, ok = p.soonest(now)
	}
	if ok {
		p.hosts[i].chosen(now)
	}
	return i, ok
}

// chosen books the next pause for an endpoint whose last one is over.
func (h *host) chosen(now time.Time) {
	if h.pauses > 0 && !now.Before(h.until) {
		h.probed, h.since, h.until = true, now, now.Add(pause(h.pauses))
	}
}

func (p *Pool) any(which func(i int) bool) bool {
	for i := range p.hosts {
		if which(i) {
			return true
		}
	}
	return false
}

// open reports whether an endpoint can be asked as if it were good.
func (p *Pool) open(i int, now time.Time) bool {
	h := &p.hosts[i]
	if now.Before(h.asked) {
		return false
	}
	return p.mode == RoundRobin || !now.Before(h.until)
}

func (p *Pool) choose(open func(i int) bool) (int, bool) {
	if p.mode == EpsilonGreedy && p.random() >= epsilon {
		return p.fastest(open)
	}
	for k := range p.hosts {
		if i := (p.turn + k) % len(p.hosts); open(i) {
			p.turn = i + 1
			return i, true
		}
	}
	return -1, false
}

// fastest chooses the endpoint with the lowest mean; those never asked come first.
func (p *Pool) fastest(open func(i int) bool) (int, bool) {
	best := -1
	for i := range p.hosts {
		if open(i) && (best < 0 || p.hosts[i].mean < p.hosts[best].mean) {
			best = i
		}
	}
	return best, best >= 0
}

// soonest chooses the endpoint whose pause ends first.
func (p *Pool) soonest(now time.Time) (int, bool) {
	best := -1
	for i := range p.hosts {
		if !now.Before(p.hosts[i].asked) && (best < 0 || p.hosts[i].until.Before(p.hosts[best].until)) {
			best = i
		}
	}
	return best, best >= 0
}

// Asked is for how long an endpoint has asked to be left alone; 0 if it has not.
func (p *Pool) Asked(i int, now time.Time) time.Duration {
	return max(p.hosts[i].asked.Sub(now), 0)
}

// Wait is how long nobody can be asked because all have asked to be left alone.
func (p *Pool) Wait(now time.Time) time.Duration {
	wait := p.Asked(0, now)
	for i := range p.hosts {
		wait = min(wait, p.Asked(i, now))
	}
	return wait
}

// Bad reports whether whoever needs this endpoint has to wait.
func (p *Pool) Bad(i int, now time.Time) bool {
	return p.hosts[i].pauses > 0 || p.Asked(i, now) > 0
}

// AllBad reports whether whoever needs any endpoint has to wait.
func (p *Pool) AllBad(now time.Time) bool {
	for i := range p.hosts {
		if !p.Bad(i, now) {
			return false
		}
	}
	return true
}

// Answered notes that an endpoint has taken or refused a request, which took so long. It
// reports whether the endpoint was bad until now.
func (p *Pool) Answered(i int, took time.Duration) (back bool) {
	h := &p.hosts[i]
	back = h.pauses > 0
	h.failures, h.pauses, h.probed, h.until = 0, 0, false, time.Time{}
	if h.mean == 0 {
		h.mean = took
	}
	h.mean += time.Duration(weight * float64(took-h.mean))
	return back
}

// Failed notes that a request that began then has failed, and that the endpoint asks to
// be left alone for retryAfter, if that is not 0. It returns how long the pause is that
// begins with it; 0 if none does.
func (p *Pool) Failed(i int, began, now time.Time, retryAfter time.Duration) (paused time.Duration) {
	h := &p.hosts[i]
	if at := now.Add(retryAfter); retryAfter > 0 && at.After(h.asked) {
		h.asked = at
	}
	h.failures++
	switch {
	case h.pauses == 0 && h.failures < tolerance:
		return 0
	// What began before a pause, or in it for want of a better one, says nothing new.
	case h.pauses > 0 && !h.probed, began.Before(h.since):
		return 0
	}
	h.probed = false
	h.pauses++
	d := pause(h.pauses)
	h.since, h.until = now, now.Add(d)
	return d
}

// pause is how long the nth pause in a row is.
func pause(n int) time.Duration {
	d := firstPause
	for range n - 1 {
		if d *= 2; d >= lastPause {
			return lastPause
		}
	}
	return d
}
