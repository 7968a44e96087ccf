package sampler

import (
	"slices"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
)

// node is a queue daemon, as far as the sampler knows it. All but meter belongs to the
// goroutine that decides.
type node struct {
	address string
	meter   *history.Meter // belongs to the poll that is under way, if one is

	who     cluster.Producer // what a lookupd, or it itself, says of it
	known   bool             // who is set
	lookups []string         // that list it
	remotes []string         // lookupd/address that it comes from
	hidden  []string         // topics that some lookupd hides there
	listed  time.Time        // when a lookupd last listed it

	last  *stats // nil: it has never answered
	drain *fleet.Drain
	seen  time.Time // when last came
	err   error     // of the last poll; nil if it was answered
	tries int       // polls that have ended
	took  time.Duration
	asked time.Time // when the poll that is under way began; zero: none is
}

// up says whether the last poll was answered.
func (n *node) up() bool { return n.tries > 0 && n.err == nil }

// answer is what became of a poll of a node.
type answer struct {
	node      *node
	stats     *stats
	who       *cluster.Producer // nil: it was not asked
	drain     *fleet.Drain
	restarted bool
	at        time.Time
	cost      time.Duration // of a processor
	err       error
}

// take notes what became of a poll.
func (n *node) take(a *answer, now time.Time) {
	n.took, n.asked = now.Sub(n.asked), time.Time{}
	n.tries++
	if n.err = a.err; n.err != nil {
		return
	}
	n.last, n.seen, n.drain = a.stats, a.at, a.drain
	if a.who != nil {
		n.who, n.known = *a.who, true
	}
}

// rest makes a node that has not answered for so long have no rates.
func (n *node) rest(now time.Time, patience time.Duration) {
	if n.last != nil && n.last.now != nil && now.Sub(n.seen) > patience {
		n.last = n.last.silent()
	}
}

// view is the node as a snapshot shows it.
func (n *node) view(listing bool) *fleet.Node {
	v := &fleet.Node{
		Address: n.address, BroadcastAddress: n.who.BroadcastAddress, Hostname: n.who.Hostname,
		TCPPort: n.who.TCPPort, HTTPPort: n.who.HTTPPort, Version: n.who.Version,
		Zone: n.who.Zone, Region: n.who.Region,
		RemoteAddresses: n.remotes, Lookups: n.lookups, Tombstoned: n.hidden,
		Up: n.up(), Seen: n.seen, Drain: n.drain,
	}
	if n.tries == 0 {
		v.Error = "it has not answered yet"
	}
	if n.err != nil {
		v.Error = cluster.Reason(n.err)
		if listing && len(n.lookups) == 0 {
			v.Error = "no lookupd lists it any more; " + v.Error
		}
	}
	if s := n.last; s != nil {
		v.Started, v.Health, v.State, v.Millrace = s.started, s.health, s.state, s.millrace
		v.DiskFree, v.DiskSize, v.MemoryUsed, v.MemoryLimit = s.diskFree, s.diskSize, s.memoryUsed, s.memoryLimit
		v.Topics = s.topics
		if s.version != "" {
			v.Version = s.version
		}
	}
	return v
}

// lookupd is a lookup daemon, as far as the sampler knows it.
type lookupd struct {
	address string
	version string
	list    []cluster.Producer  // that it gave last; without topics
	hidden  map[string][]string // topics that it hides, by node
	seen    time.Time
	note    string
	err     error
	tries   int
	took    time.Duration
	asked   time.Time // when the poll that is under way began; zero: none is
}

// listing is what became of a poll of a lookupd.
type listing struct {
	lookupd *lookupd
	list    []cluster.Producer
	hidden  map[string][]string // nil: it was not asked for
	version string
	note    string
	err     error
}

func (l *lookupd) take(a *listing, now time.Time) {
	l.took, l.asked = now.Sub(l.asked), time.Time{}
	l.tries++
	if l.err = a.err; l.err != nil {
		return
	}
	l.list, l.seen, l.note, l.version = a.list, now, a.note, a.version
	if a.hidden != nil {
		l.hidden = a.hidden
	}
}

func (l *lookupd) view() fleet.Lookupd {
	v := fleet.Lookupd{Address: l.address, Up: l.tries > 0 && l.err == nil, Version: l.version, Nodes: len(l.list), Error: l.note}
	if l.err != nil {
		v.Error = cluster.Reason(l.err)
	}
	return v
}

// roll brings the nodes in line with what lookupds list now. New ones are added; those
// that have not been listed for as long as Forget are dropped, if any lookupd answers:
// while none does nobody knows.
func (r *round) roll(now time.Time) {
	for _, n := range r.nodes {
		n.lookups, n.remotes, n.hidden = nil, nil, nil
	}
	answers := false
	for _, address := range r.order {
		l := r.lookupds[address]
		answers = answers || l.err == nil && l.tries > 0
		for i := range l.list {
			r.list(l, &l.list[i])
		}
	}
	for address, n := range r.nodes {
		slices.Sort(n.hidden)
		n.hidden = slices.Compact(n.hidden)
		if answers && len(n.lookups) == 0 && n.asked.IsZero() && now.Sub(n.listed) > r.settings.Forget {
			r.log.Info("queue daemon is no longer watched: no lookupd lists it", "node", address)
			delete(r.nodes, address)
		}
	}
}

// list notes that a lookupd lists a daemon. What the one that answered last says of it
// counts.
func (r *round) list(l *lookupd, p *cluster.Producer) {
	n := r.nodes[p.Address]
	if n == nil {
		n = &node{address: p.Address, meter: history.NewMeter()}
		r.nodes[p.Address] = n
	}
	if len(n.lookups) == 0 || !l.seen.Before(n.listed) {
		n.who, n.known = *p, true
	}
	if l.seen.After(n.listed) {
		n.listed = l.seen
	}
	n.lookups = append(n.lookups, l.address)
	n.remotes = append(n.remotes, l.address+"/"+p.RemoteAddress)
	n.hidden = append(n.hidden, l.hidden[p.Address]...)
}
