package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/cluster/network"
)

// what is a kind of fault.
type what string

const (
	killed    what = "killed"  // SIGKILL, and started again
	stopped   what = "stopped" // SIGTERM, and started again
	frozen    what = "frozen"  // SIGSTOP, and SIGCONT
	cut       what = "cut"     // a link, in both directions
	cutOneWay what = "cut one way"
	rough     what = "rough" // latency of 20 ms there and back, and 1 % of the packets lost
)

var roughLink = network.Link{Delay: 10 * time.Millisecond, Loss: 0.01}

// fault is one that begins at some time after its plan, and heals by itself.
type fault struct {
	at, lasts time.Duration
	what      what
	a, b      string // the host; or the link's, from a to b
}

func (f fault) String() string {
	of := f.a
	if f.b != "" {
		of = f.a + "-" + f.b
	}
	return fmt.Sprintf("%s %s", of, f.what)
}

// plan is faults, which may overlap, but for those of one process.
type plan []fault

// play lets a plan happen, and returns when all is healed.
func (c *cluster) play(p plan) {
	c.t.Helper()
	var wg sync.WaitGroup
	failed := make(chan error, len(p))
	began := time.Now()
	for _, f := range p {
		wg.Go(func() {
			if !pause(c.t.Context(), f.at) {
				return
			}
			c.t.Logf("%6.2f s: %v, for %v", time.Since(began).Seconds(), f, f.lasts)
			heal, err := c.begin(f)
			if err == nil {
				pause(c.t.Context(), f.lasts)
				err = heal()
			}
			if err != nil {
				failed <- fmt.Errorf("%v: %w", f, err)
			}
		})
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		c.t.Error(err)
	}
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// mustBegin begins faults that last until heal is called.
func (c *cluster) mustBegin(p plan) (heal func()) {
	c.t.Helper()
	var heals []func() error
	for _, f := range p {
		c.t.Logf("%v", f)
		one, err := c.begin(f)
		c.must(err)
		heals = append(heals, one)
	}
	return func() {
		c.t.Helper()
		for _, one := range heals {
			c.must(one())
		}
	}
}

// begin begins a fault. heal ends it.
func (c *cluster) begin(f fault) (heal func() error, err error) {
	switch f.what {
	case killed, stopped, frozen:
		return c.breakNode(c.node(f.a), f.what)
	case cut:
		return c.breakLink(f, network.Link{Cut: true}, true), nil
	case cutOneWay:
		return c.breakLink(f, network.Link{Cut: true}, false), nil
	default:
		return c.breakLink(f, roughLink, true), nil
	}
}

func (c *cluster) breakNode(n *node, w what) (heal func() error, err error) {
	n.faulty.Lock() // until the last fault, which may have taken its time, is healed
	c.world.breaks(n.name())
	begin, end := n.kill, n.start
	switch w {
	case stopped:
		begin = n.stop
	case frozen:
		begin, end = func() error { return n.signal(syscall.SIGSTOP) }, func() error { return n.signal(syscall.SIGCONT) }
	}
	if err := begin(); err != nil {
		n.faulty.Unlock()
		return nil, err
	}
	return func() error {
		defer n.faulty.Unlock()
		defer c.world.heals(n.name())
		return end()
	}, nil
}

// breakLink makes a link worse. A rough one is no reason for anybody to be missed.
func (c *cluster) breakLink(f fault, l network.Link, both bool) (heal func() error) {
	a, b := c.hosts[f.a], c.hosts[f.b]
	if l.Cut {
		c.world.breaks(pair(f.a, f.b))
	}
	c.wires.add(c.network, a, b, &l)
	if both {
		c.wires.add(c.network, b, a, &l)
	}
	return func() error {
		c.wires.remove(c.network, a, b, &l)
		if both {
			c.wires.remove(c.network, b, a, &l)
		}
		if l.Cut {
			c.world.heals(pair(f.a, f.b))
		}
		return nil
	}
}

// wires are the faults that links are under at the moment: they may be several.
type wires struct {
	mu     sync.Mutex
	faults map[[2]*network.Host][]*network.Link
}

func (w *wires) add(n *network.Network, from, to *network.Host, l *network.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.faults == nil {
		w.faults = map[[2]*network.Host][]*network.Link{}
	}
	k := [2]*network.Host{from, to}
	w.faults[k] = append(w.faults[k], l)
	n.Set(from, to, worst(w.faults[k]))
}

func (w *wires) remove(n *network.Network, from, to *network.Host, l *network.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := [2]*network.Host{from, to}
	w.faults[k] = slices.DeleteFunc(w.faults[k], func(other *network.Link) bool { return other == l })
	n.Set(from, to, worst(w.faults[k]))
}

func worst(faults []*network.Link) (all network.Link) {
	for _, l := range faults {
		all.Cut = all.Cut || l.Cut
		all.Delay = max(all.Delay, l.Delay)
		all.Loss = max(all.Loss, l.Loss)
	}
	return all
}

// links are those that something is said over.
func (c *cluster) links() (links [][2]*network.Host) {
	between := func(nodes []*node, names ...string) {
		for _, n := range nodes {
			for _, name := range names {
				links = append(links, [2]*network.Host{n.host, c.hosts[name]})
			}
		}
	}
	between(c.daemons, "l1", "l2", writers, reader1, reader2)
	between(c.lookups, reader1, reader2)
	return links
}

// everyLink is a fault of all links.
func (c *cluster) everyLink(f fault) (p plan) {
	for _, link := range c.links() {
		f.a, f.b = link[0].Name(), link[1].Name()
		p = append(p, f)
	}
	return p
}

// randomPlan is faults of all kinds that begin within d. Most are short; some are
// longer than it takes anybody to notice.
func (c *cluster) randomPlan(random *rand.Rand, d time.Duration) (p plan) {
	free := map[string]time.Duration{} // from when on there is no fault of a process
	nodes, links := c.nodes(), c.links()
	for at := time.Duration(0); at < d; at += time.Duration(200+random.IntN(2000)) * time.Millisecond {
		f := fault{at: at, lasts: time.Duration(200+random.IntN(5000)) * time.Millisecond}
		if random.IntN(6) == 0 {
			f.lasts += 20 * time.Second
		}
		if random.IntN(3) == 0 {
			f.what = []what{killed, killed, stopped, frozen}[random.IntN(4)]
			f.a = nodes[random.IntN(len(nodes))].name()
			if at < free[f.a] {
				continue
			}
			free[f.a] = at + f.lasts + 2*time.Second
		} else {
			f.what = []what{cut, cut, cutOneWay, cutOneWay, rough}[random.IntN(5)]
			link := links[random.IntN(len(links))]
			f.a, f.b = link[0].Name(), link[1].Name()
			if random.IntN(2) == 0 {
				f.a, f.b = f.b, f.a
			}
		}
		p = append(p, f)
	}
	return p
}

// settle waits until every promise is kept, which it must be in time.
func (c *cluster) settle() {
	c.t.Helper()
	began := time.Now()
	c.eventually("everybody to have found everybody", func() bool {
		return !slices.ContainsFunc(c.promises, func(p *promise) bool { return !p.holds() })
	})
	c.t.Logf("all is well %v after the last fault", time.Since(began).Round(time.Millisecond))
}
