package millrace

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// The pauses before a daemon that could not be reached, or broke off, is tried
// again: the first, doubled each time up to the last. Half of each is random.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 3 * time.Second
)

// A daemon that refuses publishes for now, because it drains or its disk is
// full, is left aside for the first of these, then for twice as long each time up to
// the last, unless there is no other.
const (
	firstAside = 5 * time.Second
	lastAside  = time.Minute
)

// pool is the daemons that a Writer knows, and which of them it should be
// connected to. It has no lock and no goroutine: Writer.mu guards it.
type pool struct {
	daemons []*daemon // in a random order, so that many Writers do not choose the same
	lanes   []*lane   // connected
}

// daemon is what a Writer knows of one.
type daemon struct {
	address string
	listed  bool // in Addresses, or by a lookupd
	given   bool // in Addresses
	rank    int  // how far away it is: 0 in our zone, 1 in our region, 2 elsewhere
	busy    bool // being connected to, or connected
	lane    *lane

	failures  int       // since it last stored something
	asides    int       // the same
	notBefore time.Time // it is not tried
	aside     time.Time // until then others are preferred
	trouble   error     // why it could not be used the last time; nil once it could
	refuses   bool      // it said at the last greeting that we have no right to be there
}

// know adds the daemons of Addresses.
func (p *pool) know(addresses []string) {
	known := p.known()
	for _, a := range addresses {
		d := p.daemon(known, a)
		d.given, d.listed, d.rank = true, true, 0
	}
}

// known returns the daemons by their addresses.
func (p *pool) known() map[string]*daemon {
	known := make(map[string]*daemon, len(p.daemons))
	for _, d := range p.daemons {
		known[d.address] = d
	}
	return known
}

// meet takes note of the daemons that lookupds list, of all of them if found is
// complete. One that is not listed any more is not connected to again.
func (p *pool) meet(found []producer, complete bool, c *Connection) {
	if complete {
		for _, d := range p.daemons {
			d.listed = d.given
		}
	}
	known := p.known()
	for _, f := range found {
		d := p.daemon(known, f.address)
		d.listed = true
		if !d.given {
			d.rank = f.distance(c)
		}
	}
	p.forget()
}

// forget drops daemons that are neither listed nor connected.
func (p *pool) forget() {
	p.daemons = slices.DeleteFunc(p.daemons, func(d *daemon) bool { return !d.listed && !d.busy })
}

// daemon returns the daemon at an address, which it adds if it is not among the known.
func (p *pool) daemon(known map[string]*daemon, address string) *daemon {
	if d := known[address]; d != nil {
		return d
	}
	d := &daemon{address: address}
	known[address] = d
	// #nosec G404 -- when to try again, or whom: not a secret
	p.daemons = slices.Insert(p.daemons, rand.IntN(len(p.daemons)+1), d)
	return d
}

// ranks is how many there are.
const ranks = 3

// preference is the less the better, and below twice ranks.
func (d *daemon) preference(at time.Time) int {
	if d.aside.After(at) {
		return ranks + d.rank
	}
	return d.rank
}

// next returns the daemon to connect to now, or nil, and from when on another
// answer is possible; zero: not before something else happens. Beyond most
// connections there is only one that is to replace others.
func (p *pool) next(at time.Time, most int) (next *daemon, when time.Time) {
	best := 2 * ranks       // preference of those that are in use, or about to be
	var busy [2 * ranks]int // how many are, by preference
	for _, d := range p.daemons {
		if d.busy {
			busy[d.preference(at)]++
		}
		if d.busy && d.listed && (d.lane != nil && !d.lane.gone || d.lane == nil && d.failures == 0) {
			best = min(best, d.preference(at))
		}
	}
	for i := 1; i < len(busy); i++ {
		busy[i] += busy[i-1] // those that are preferred to others count as well
	}
	for _, d := range p.daemons {
		switch {
		case d.busy || !d.listed:
		case d.preference(at) > best:
			if d.aside.After(at) {
				when = earliest(when, d.aside)
			}
		case busy[d.preference(at)] >= most:
		case d.notBefore.After(at):
			when = earliest(when, d.notBefore)
		case next == nil || d.preference(at) < next.preference(at):
			next = d
		}
	}
	return next, when
}

// earliest returns the earlier of two times, of which zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// connected notes that d can be sent to.
func (p *pool) connected(d *daemon, l *lane) {
	d.lane, d.refuses = l, false
	p.lanes = append(p.lanes, l)
}

// spare takes the connections to daemons out of use that are not listed any
// more, or not preferred now that better ones are connected, and returns those
// that can be ended at once. The others end when nothing is owed on them.
func (p *pool) spare() (idle []*lane) {
	at, best := time.Now(), 2*ranks
	for _, l := range p.lanes {
		if !l.gone && l.daemon.listed {
			best = min(best, l.daemon.preference(at))
		}
	}
	for _, l := range p.lanes {
		if !l.gone && (l.daemon.preference(at) > best || !l.daemon.listed && best < 2*ranks) {
			l.gone = true
			if l.unanswered.count == 0 {
				idle = append(idle, l)
			}
		}
	}
	return idle
}

// disconnected notes that a lane has failed, and why. refusing is whether the
// daemon takes nothing for now. A connection that has worked, or that the
// daemon ended for a message's sake, is made again at once.
func (p *pool) disconnected(l *lane, at time.Time, why error, refusing, wellMeant bool) {
	p.lanes = slices.DeleteFunc(p.lanes, func(o *lane) bool { return o == l })
	d := l.daemon
	d.lane, d.busy = nil, false
	defer p.forget()
	if errors.Is(why, errNotNeeded) {
		return
	}
	d.trouble = why
	if early := tooEarly(why); refusing && early > 0 {
		// It is well, and says when it has room: before that nothing would come of it, and
		// after it there is no reason to wait.
		d.aside = at.Add(min(early, lastAside))
		d.notBefore = d.aside
		return
	}
	if refusing {
		d.aside = at.Add(pauseAfter(firstAside, d.asides, lastAside))
		d.asides++
	}
	if wellMeant || l.proven && !refusing {
		d.notBefore = at
		return
	}
	d.failed(at)
}

// tooEarly is how long a daemon takes nothing that was refused because it came too early;
// 0 if that is not why.
func tooEarly(why error) time.Duration {
	if e, refused := errors.AsType[*protocol.Error](why); refused {
		return e.RetryAfter()
	}
	return 0
}

// failed has d tried again later.
func (d *daemon) failed(at time.Time) {
	d.notBefore = at.Add(pauseAfter(firstBackoff, d.failures, lastBackoff))
	d.failures++
}

// unreachable notes that d could not be connected to.
func (d *daemon) unreachable(at time.Time, err error) {
	e, answered := errors.AsType[*protocol.Error](err)
	d.busy, d.trouble = false, err
	d.refuses = answered && e.Code == protocol.EUnauthorized || errors.Is(err, errNoSecret)
	d.failed(at)
}

// worked notes that d has stored something.
func (d *daemon) worked() {
	d.failures, d.asides, d.aside, d.trouble = 0, 0, time.Time{}, nil
}

// pauseAfter returns first, doubled n times up to last, of which half is random.
func pauseAfter(first time.Duration, n int, last time.Duration) time.Duration {
	d := first
	for range n {
		d = min(2*d, last)
	}
	// #nosec G404 -- when to try again, or whom: not a secret
	return d/2 + rand.N(d/2)
}

// lane returns the connection that a batch should go to: the one with the fewest
// bytes unanswered, and of several the one that was not used for longest. Nil if
// there is none, or all have enough.
func (p *pool) lane() *lane {
	var best *lane
	for _, l := range p.lanes {
		if !l.gone && (best == nil || l.owed < best.owed || l.owed == best.owed && l.used < best.used) {
			best = l
		}
	}
	if best == nil || best.owed >= laneLimit {
		return nil
	}
	return best
}

// idle reports whether there is a connection on which nothing is owed.
func (p *pool) idle() bool {
	l := p.lane()
	return l != nil && l.unanswered.count == 0
}

// hopeless reports whether nothing is connected or being connected to.
func (p *pool) hopeless() bool {
	return !slices.ContainsFunc(p.daemons, func(d *daemon) bool { return d.busy })
}

// trouble says why no daemon takes anything, as far as it is known.
func (p *pool) trouble() error {
	var all []error
	for _, d := range p.daemons {
		if d.lane == nil && d.trouble != nil && len(all) < 5 {
			all = append(all, d.trouble)
		}
	}
	switch {
	case len(all) > 0:
		return because(all...)
	case len(p.daemons) == 0:
		return errors.New("no daemon is known: no lookupd has listed any")
	case len(p.lanes) == 0:
		return errors.New("no daemon has been connected to yet")
	}
	return nil
}
