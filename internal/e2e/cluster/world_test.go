package cluster

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// world is what is broken at the moment, and since when the rest is not. What can
// break has a name: a process that of its host, a link that of pair.
type world struct {
	mu     sync.Mutex
	broken map[string]int // how many faults it is under
	whole  map[string]time.Time
	begun  time.Time // everything was whole
}

func newWorld() *world {
	return &world{broken: map[string]int{}, whole: map[string]time.Time{}, begun: time.Now()}
}

// pair is the name of the link between two hosts.
func pair(a, b string) string { return min(a, b) + "-" + max(a, b) }

// breaks is called before a fault begins.
func (w *world) breaks(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken[name]++
}

// heals is called when a fault is over.
func (w *world) heals(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken[name]--
	w.whole[name] = time.Now()
}

// since returns since when all those named have been whole. It is zero when one
// of them is not.
func (w *world) since(names ...string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.begun
	for _, name := range names {
		if w.broken[name] > 0 {
			return time.Time{}
		}
		at = latest(at, w.whole[name])
	}
	return at
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// promise is something that holds again within some time of the last fault that
// could break it. It belongs to the goroutine that asks whether it holds.
type promise struct {
	kind, of string
	within   time.Duration
	// since returns when what the promise needs became whole; zero: it is not.
	since func() time.Time

	mu      sync.Mutex // guards what follows, which others read
	judged  time.Time  // the since that it was judged by last
	missing time.Time  // since when it has not held; zero: it holds
	held    time.Time  // when it was last found to hold
	told    time.Time  // that it has not held since missing; zero: nobody was
	slowest time.Duration
	lapses  int // times that it ceased to hold, and there was no fault that it could be the late work of
}

// judge takes down whether the promise held when that was asked for, at the time
// given. broken says for how long it has not held, if that is too long; it is 0
// else, and is not said again before as much time has passed again. lapsed says
// that it has ceased to hold. That is no wonder within its time of a fault: a
// connection that survived a cut may be found to be dead after it.
func (p *promise) judge(asked, since, now time.Time, held bool) (broken time.Duration, lapsed bool) {
	if since.IsZero() || asked.Before(since) || !p.since().Equal(since) {
		return 0, false // asked while there was a fault
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.judged.Equal(since) {
		p.judged = since
		if p.held.Before(since) {
			p.missing, p.told = since, time.Time{}
		}
	}
	switch {
	case held:
		p.held = asked
		if !p.missing.IsZero() {
			p.slowest = max(p.slowest, now.Sub(p.missing))
		}
		p.missing = time.Time{}
	case p.missing.IsZero():
		p.missing, p.told = asked, time.Time{}
		if lapsed = asked.Sub(since) > p.within; lapsed {
			p.lapses++
		}
	case asked.Sub(latest(p.missing, p.told)) > p.within:
		broken, p.told = asked.Sub(p.missing), asked
	}
	return broken, lapsed
}

// holds reports whether the promise was found to hold since the last fault.
func (p *promise) holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := p.since()
	return !since.IsZero() && p.judged.Equal(since) && p.missing.IsZero()
}

// record is how promises of a kind were kept.
type record struct {
	kind    string
	slowest time.Duration
	of      string // which was the slowest
	lapses  int
}

// records sums promises up.
func records(promises []*promise) []record {
	byKind := map[string]record{}
	for _, p := range promises {
		p.mu.Lock()
		r := byKind[p.kind]
		r.kind = p.kind
		r.lapses += p.lapses
		if p.slowest > r.slowest {
			r.slowest, r.of = p.slowest, p.of
		}
		byKind[p.kind] = r
		p.mu.Unlock()
	}
	var list []record
	for _, r := range byKind {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b record) int { return cmp.Compare(a.kind, b.kind) })
	return list
}
