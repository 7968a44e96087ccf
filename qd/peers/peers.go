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
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
)

// Config is what Peers needs to know.
type Config struct {
	Addresses []string // TCP addresses of lookupds, host:port
	// Self returns what lookupds are told of the daemon when a link begins.
	Self func() protocol.PeerInfo

	ConnectTimeout time.Duration // for a connection to be made; positive
	RequestTimeout time.Duration // for a lookupd to answer; positive
	// Dial makes connections, for both protocols; nil is the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger
}

// Peers is the daemon's links to lookupds.
type Peers struct {
	Config
	web    *http.Client
	roster atomic.Pointer[roster] // the newest
	moved  chan struct{}          // the addresses have changed

	mu        sync.Mutex // guards what follows
	addresses []string
	links     map[string]*link // by address
}

// New returns Peers without links. Channels can be called from now on, and
// knows of none until Run has made them.
func New(c Config) *Peers {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	p := &Peers{Config: c, moved: make(chan struct{}, 1), links: make(map[string]*link)}
	p.web = &http.Client{Transport: &http.Transport{
		DialContext: p.dial, IdleConnTimeout: 2 * pingInterval, MaxIdleConnsPerHost: 2,
	}}
	p.SetAddresses(c.Addresses)
	return p
}

// dial makes a connection within ConnectTimeout.
func (p *Peers) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.ConnectTimeout)
	defer cancel()
	return p.Dial(ctx, network, address)
}

// SetAddresses replaces the addresses of lookupds. Links to those that remain
// are left alone.
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

// Run keeps lookupds informed of what b has until ctx ends, and returns nil
// when all links have ended. A lookupd forgets a daemon whose connection ends,
// so there are no goodbyes. It is called once.
func (p *Peers) Run(ctx context.Context, b *broker.Broker) error {
	changes, cancel := b.Watch()
	defer cancel()
	defer p.web.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		began := time.Now()
		if len(p.Addresses()) > 0 {
			p.roster.Store(take(b))
		}
		p.appoint(ctx, &wg)
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
	for address, l := range p.links {
		if !slices.Contains(p.addresses, address) {
			l.dismiss()
			delete(p.links, address)
			p.Log.Info("lookupd removed", "lookupd", address)
		}
	}
	for _, address := range p.addresses {
		l := p.links[address]
		if l == nil {
			l = &link{Peers: p, address: address, news: make(chan struct{}, 1)}
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
