package sampler

import (
	"context"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/admin/history"
)

const (
	// share is which part of the time a poll may cost: so of one processor, ten percent.
	share = 10

	// bytesPerSecond is how fast a daemon makes its answer, roughly: it must not be busy
	// with answering us for more than its share of the time either.
	bytesPerSecond = 50 << 20

	// patience is how much longer than the last time a daemon may take to answer before a
	// snapshot is made without it, and failed the same of one that did not answer last time.
	// Neither ends the poll, which is given what cluster.Settings.RequestTimeout says.
	patience       = time.Second
	firstPatience  = 2 * time.Second // of one that was never asked before
	failedPatience = 200 * time.Millisecond

	// soonest is how soon after another a poll begins that somebody wants at once.
	soonest = 250 * time.Millisecond

	// tombstoneRounds is how many polls there are for one look at the tombstones, of which
	// lookupds do not tell by the way.
	tombstoneRounds = 5
)

// round asks all daemons, again and again. It belongs to Run's goroutine: those that ask
// know nothing of it, and tell it what became of it.
type round struct {
	*Sampler
	nodes    map[string]*node
	lookupds map[string]*lookupd
	order    []string // of lookupds, as they are set

	answers  chan *answer
	listings chan *listing
	running  int // polls that are under way

	number  int  // of this round
	wished  bool // somebody poked it
	began   time.Time
	waiting map[any]time.Time // whom this round waits for, and until when; *node or *lookupd

	// Since the snapshot before:
	spent   time.Duration // on answers
	before  time.Duration // what this process had used of processors then
	largest int64         // bytes of an answer

	// Of the snapshot before, all told: to us, and to the daemon that had most to tell.
	cost, theirs time.Duration

	samples []history.Sample // memory of the round before
}

func newRound(s *Sampler) *round {
	r := &round{
		Sampler: s, nodes: make(map[string]*node), lookupds: make(map[string]*lookupd),
		answers: make(chan *answer), listings: make(chan *listing), waiting: make(map[any]time.Time),
	}
	for _, address := range s.cluster.Daemons() {
		r.nodes[address] = &node{address: address, meter: history.NewMeter()}
	}
	return r
}

// run polls until ctx ends, and then waits for those who ask to give up.
func (r *round) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		for ; r.running > 0; r.running-- {
			select {
			case <-r.answers:
			case <-r.listings:
			}
		}
	}()
	for ctx.Err() == nil {
		r.begin(ctx)
		if !r.wait(ctx) {
			return
		}
		period := r.make()
		r.rest(ctx, period)
	}
}

// begin asks everybody who is not being asked still.
func (r *round) begin(ctx context.Context) {
	r.number++
	r.began = time.Now()
	clear(r.waiting)
	r.setLookupds(r.cluster.Lookupds())
	tombstones := r.wished || r.number%tombstoneRounds == 1
	r.wished = false
	for _, l := range r.lookupds {
		r.askLookupd(ctx, l, tombstones)
	}
	for _, n := range r.nodes {
		r.askNode(ctx, n)
	}
}

// setLookupds brings the lookupds in line with those that are set. What only a dropped one
// has listed is forgotten at the next occasion.
func (r *round) setLookupds(addresses []string) {
	if slices.Equal(r.order, addresses) {
		return
	}
	dropped := false
	for address := range r.lookupds {
		if !slices.Contains(addresses, address) {
			delete(r.lookupds, address)
			dropped = true
		}
	}
	for _, address := range addresses {
		if r.lookupds[address] == nil {
			r.lookupds[address] = &lookupd{address: address}
		}
	}
	r.order = slices.Clone(addresses)
	if dropped {
		for _, n := range r.nodes {
			n.listed = time.Time{}
		}
	}
}

func (r *round) askNode(ctx context.Context, n *node) {
	if !n.asked.IsZero() {
		return
	}
	n.asked = time.Now()
	r.await(n, n.asked, n.err, n.took, n.tries)
	r.running++
	before := n.last
	introduce := len(r.order) == 0 && (!n.known || r.number%30 == 0)
	go func() { r.answers <- r.pollNode(ctx, n, before, introduce) }() // counted in running
}

func (r *round) askLookupd(ctx context.Context, l *lookupd, tombstones bool) {
	if !l.asked.IsZero() {
		return
	}
	l.asked = time.Now()
	r.await(l, l.asked, l.err, l.took, l.tries)
	r.running++
	version := l.version
	if r.number%30 == 0 {
		version = ""
	}
	go func() { r.listings <- r.pollLookupd(ctx, l, version, tombstones) }() // counted in running
}

// await has this round wait for somebody: who failed last time, not for long.
func (r *round) await(whom any, from time.Time, failed error, took time.Duration, tries int) {
	until := from.Add(2*took + patience)
	switch {
	case tries == 0:
		until = from.Add(firstPatience)
	case failed != nil:
		until = from.Add(failedPatience)
	}
	r.waiting[whom] = until
}

// wait takes answers until all have come that are worth waiting for. It reports false if
// ctx has ended.
func (r *round) wait(ctx context.Context) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for len(r.waiting) > 0 {
		var until time.Time
		for _, u := range r.waiting {
			if u.After(until) {
				until = u
			}
		}
		timer.Reset(time.Until(until))
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case a := <-r.answers:
			r.takeAnswer(a)
		case l := <-r.listings:
			r.takeListing(l)
			r.roll(time.Now())
			for _, n := range r.nodes { // those that are new
				if n.tries == 0 {
					r.askNode(ctx, n)
				}
			}
		}
	}
	return true
}

// rest takes what comes late until the next round begins.
func (r *round) rest(ctx context.Context, period time.Duration) {
	timer := time.NewTimer(time.Until(r.began.Add(period)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-r.poked:
			r.wished = true
			soon := r.began.Add(max(soonest, 2*r.cost))
			timer.Reset(min(time.Until(soon), time.Until(r.began.Add(period))))
		case a := <-r.answers:
			r.takeAnswer(a)
		case l := <-r.listings:
			r.takeListing(l)
		}
	}
}

func (r *round) takeAnswer(a *answer) {
	r.running--
	delete(r.waiting, a.node)
	n, now := a.node, time.Now()
	was := n.up() || n.tries == 0
	n.take(a, now)
	r.spent += a.cost
	if a.stats != nil {
		r.largest = max(r.largest, a.stats.bytes)
		if a.stats.left > 0 && n.tries == 1 {
			r.log.Warn("queue daemon has topics or channels whose names are none; they are left out", "node", n.address, "count", a.stats.left)
		}
	}
	if a.restarted {
		r.store.Mark(now, n.address, "restarted")
		r.log.Info("queue daemon has been restarted", "node", n.address)
	}
	switch {
	case was && n.err != nil:
		r.store.Mark(now, n.address, "does not answer")
		r.log.Warn("queue daemon does not answer", "node", n.address, "error", n.err)
	case !was && n.err == nil:
		r.store.Mark(now, n.address, "answers again")
		r.log.Info("queue daemon answers again", "node", n.address)
	}
}

func (r *round) takeListing(a *listing) {
	r.running--
	l := a.lookupd
	delete(r.waiting, l)
	was := l.err == nil
	note := l.note
	l.take(a, time.Now())
	switch {
	case was && l.err != nil:
		r.log.Warn("lookupd does not answer", "lookupd", l.address, "error", l.err)
	case !was && l.err == nil:
		r.log.Info("lookupd answers again", "lookupd", l.address)
	}
	if l.note != "" && l.note != note {
		r.log.Warn("not all that a lookupd lists can be used", "lookupd", l.address, "reason", l.note)
	}
}
