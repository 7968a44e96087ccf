// Package peers tells lookupds what a daemon has. Each lookupd configured gets
// a link: a connection in protocol V1 over which it hears of every topic and
// channel when the link begins, then of every change, and a PING every 15
// seconds. Links know nothing of each other, so one that is slow or dead delays
// none of the rest.
//
// What there is to tell is never queued. Every change makes a new roster of all
// topics, each link remembers the roster that its lookupd has been told, and
// sends the difference. A lookupd that was away hears only of what remains.
package peers

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
)

// Config is what Peers needs to know.
type Config struct {
	Addresses []string // TCP addresses of lookupds, host:port or paths of socket files
	// Self returns what lookupds are told of the daemon when a link begins, but for
	// Extended and State.
	Self func() protocol.PeerInfo

	ConnectTimeout time.Duration // for a connection to be made; positive
	RequestTimeout time.Duration // for a lookupd to answer; positive
	// Dial makes connections, for both protocols; nil is the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolve returns the addresses of a host, each of which is then dialled in turn;
	// nil leaves names to Dial.
	Resolve func(ctx context.Context, host string) ([]string, error)
	// TLS, if not nil, has lookupds spoken to over TLS alone, and returns the
	// settings for a server of that name.
	TLS func(serverName string) *tls.Config
	// Token, if not nil, returns what lookupds are shown so that they let the daemon
	// register and ask.
	Token func() (string, error)
	Log   *slog.Logger
}

// Link is how a daemon stands with a lookupd.
type Link struct {
	Address  string    `json:"address"`  // as it was configured
	Linked   bool      `json:"linked"`   // it has identified itself, and knows of the daemon
	Since    time.Time `json:"-"`        // when Linked became so
	Version  string    `json:"version"`  // as it says itself; empty until it was linked
	Extended bool      `json:"extended"` // it speaks V1's extension, as it has said last
	Topics   int       `json:"topics"`   // that it has been told of
	// Tardy: it did not say in time which channels a new topic has, and has not
	// done so since. Nobody waits for it.
	Tardy bool `json:"tardy"`
	// Awaited topics have been created while it could not say which channels they
	// have, or might not have known all. They may get some when it does.
	Awaited int `json:"awaited_topics"`
	// LastError is what is wrong with it now; empty if nothing is.
	LastError string `json:"last_error"`
	Failures  uint64 `json:"failures"` // connections that were lost, or could not be made
}

// Peers is the daemon's links to lookupds.
type Peers struct {
	Config
	roster atomic.Pointer[roster]             // the newest
	state  atomic.Pointer[protocol.PeerState] // the daemon's
	moved  chan struct{}                      // the addresses have changed

	mu        sync.Mutex // guards what follows; before link.mu
	addresses []string   // as they were given
	links     map[string]*link
	broker    *broker.Broker // nil before Run
}

// New returns Peers without links. Channels can be called from now on, and
// knows of none until Run has made them.
func New(c Config) *Peers {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	p := &Peers{Config: c, moved: make(chan struct{}, 1), links: make(map[string]*link)}
	ready := protocol.PeerReady
	p.state.Store(&ready)
	p.SetAddresses(c.Addresses)
	return p
}

// SetAddresses replaces the addresses of lookupds. Links to those that remain
// are left alone. One that is there twice counts once.
func (p *Peers) SetAddresses(addresses []string) {
	p.mu.Lock()
	p.addresses = slices.Clone(addresses)
	p.mu.Unlock()
	signal(p.moved)
}

// Addresses returns the addresses of lookupds, whether or not they can be
// reached.
func (p *Peers) Addresses() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.addresses)
}

// distinct are the addresses without repetitions. Under mu.
func (p *Peers) distinct() (all []string) {
	for _, a := range p.addresses {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// State returns what lookupds are told of whether the daemon takes publishes.
func (p *Peers) State() protocol.PeerState { return *p.state.Load() }

// SetState has lookupds that know states told at once whether the daemon takes
// publishes, and those that link later when they do. It is ready at first.
func (p *Peers) SetState(s protocol.PeerState) {
	p.state.Store(&s)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		signal(l.news)
	}
}

// Links returns how the daemon stands with each lookupd, in the order of their
// addresses.
func (p *Peers) Links() []Link {
	awaited := make(map[string]int)
	for _, t := range p.learning() {
		for _, address := range t.Unheard() {
			awaited[address]++
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	addresses := p.distinct()
	all := make([]Link, 0, len(addresses))
	for _, address := range addresses {
		s := Link{Address: address} // for a moment, until Run has made the link
		if l := p.links[address]; l != nil {
			l.mu.Lock()
			s = l.status
			s.LastError = cmp.Or(s.LastError, l.full)
			l.mu.Unlock()
		}
		s.Awaited = awaited[address]
		all = append(all, s)
	}
	return all
}

// Run keeps lookupds informed of what b has until ctx ends, and returns nil
// when all links have ended. A lookupd forgets a daemon whose connection ends,
// so there are no goodbyes. It is called once.
func (p *Peers) Run(ctx context.Context, b *broker.Broker) error {
	changes, cancel := b.Watch()
	defer cancel()
	p.mu.Lock()
	p.broker = b
	p.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		began := time.Now()
		if len(p.Addresses()) > 0 || p.roster.Load() == nil {
			p.roster.Store(take(b))
		}
		p.appoint(ctx, &wg)
		p.reckon()
		// While changes come without a pause, rosters of very many topics take
		// a fifth of a core at most.
		wait(ctx, 4*time.Since(began))
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
		case <-p.moved:
		}
	}
}

// appoint makes the links be those of the addresses, and tells them that there
// is a new roster.
func (p *Peers) appoint(ctx context.Context, wg *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	addresses := p.distinct()
	for address, l := range p.links {
		if !slices.Contains(addresses, address) {
			l.dismiss()
			delete(p.links, address)
			p.Log.Info("lookupd removed", "lookupd", address)
		}
	}
	for _, address := range addresses {
		l := p.links[address]
		if l == nil {
			l = p.newLink(address)
			p.links[address] = l
			linked, dismiss := context.WithCancel(ctx)
			l.dismiss = dismiss
			wg.Go(func() { l.run(linked) })
		}
		signal(l.news)
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
