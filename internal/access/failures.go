package access

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// patience is how many wrong secrets an address may show before the answers to
	// it take longer: a handful is somebody who has mistyped, or a program with an old
	// token that starts.
	patience = 5
	// firstDelay is doubled with each failure up to longestDelay, which is shorter than
	// clients wait for an answer.
	firstDelay, longestDelay = 100 * time.Millisecond, 3 * time.Second
	forgetting               = 5 * time.Minute
	// manyAddresses is how many are remembered in a generation, of which there are two.
	manyAddresses = 4096
	// manyDelayed is how many answers are delayed at once: each takes memory of ours.
	manyDelayed = 1024
)

// Failures counts secrets that were wrong, and delays the answers to an address
// that shows many. Whoever shows a right one does not wait, whatever others at his
// address do: behind a proxy everybody has the same. That costs nothing in safety,
// for tokens cannot be found by trying. The zero value is ready for use.
type Failures struct {
	unknown, expired, refused, unanswered atomic.Uint64

	mu      sync.Mutex // guards what follows
	of      tries
	delayed int
}

// Counts is what has been refused since the start.
type Counts struct {
	// Unknown secrets are those of nobody; Expired ones were tokens until some time.
	Unknown, Expired uint64
	// Refused is what was asked for without the right to it.
	Refused uint64
	// Unanswered is how often no auth server has said what somebody may.
	Unanswered uint64
}

// Counts returns them.
func (f *Failures) Counts() Counts {
	return Counts{Unknown: f.unknown.Load(), Expired: f.expired.Load(), Refused: f.refused.Load(), Unanswered: f.unanswered.Load()}
}

// Wrong notes that who has shown a secret that is wrong, and returns when he may be
// told, or when ctx ends.
func (f *Failures) Wrong(ctx context.Context, who Who, why Finding) {
	if why == ExpiredSecret {
		f.expired.Add(1)
	} else {
		f.unknown.Add(1)
	}
	f.mu.Lock()
	delay := f.of.note(who.address(), time.Now())
	if f.delayed >= manyDelayed {
		delay = 0
	}
	if delay > 0 {
		f.delayed++
	}
	f.mu.Unlock()
	if delay == 0 {
		return
	}
	wait := time.NewTimer(delay)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	f.mu.Lock()
	f.delayed--
	f.mu.Unlock()
}

// Refuse notes that something was refused for want of a right.
func (f *Failures) Refuse() { f.refused.Add(1) }

// Unanswered notes that no auth server has said what somebody may.
func (f *Failures) Unanswered() { f.unanswered.Add(1) }

// tries are failures by address, in two generations: when the younger is full it
// becomes the elder, and that is forgotten. So there are never more than so many,
// and nothing is searched for the oldest.
type tries struct{ young, old map[netip.Addr]try }

type try struct {
	failed int
	last   time.Time
}

// note counts a failure, and returns how long its answer is to be delayed.
func (t *tries) note(a netip.Addr, now time.Time) time.Duration {
	a = network(a)
	is, ok := t.young[a]
	if !ok {
		is = t.old[a]
	}
	if now.Sub(is.last) > forgetting {
		is = try{}
	}
	is = try{is.failed + 1, now}
	if t.young == nil || !ok && len(t.young) >= manyAddresses {
		t.young, t.old = make(map[netip.Addr]try), t.young
	}
	t.young[a] = is
	if is.failed <= patience {
		return 0
	}
	return min(firstDelay<<min(is.failed-patience-1, 10), longestDelay)
}

// network is what counts as one address: of IPv6, everybody has 2^64 of his own.
func network(a netip.Addr) netip.Addr {
	if a.Is6() {
		p, _ := a.Prefix(64) // a has no zone
		return p.Addr()
	}
	return a
}
