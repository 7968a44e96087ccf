package network

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Network is some hosts and the links between them.
type Network struct {
	hosts   []*Host
	links   []atomic.Pointer[Link] // from host i to host j at i*len(hosts)+j
	seed    uint64
	delayed chan packet

	passed, lost atomic.Uint64
}

// maxHosts is how many addresses there are: 10.0.0.1 to 10.0.0.254.
const maxHosts = 254

// New makes a network of hosts with the names given, and perfect links between
// all of them. seed decides which packets are lost. Run must be called, and takes
// everything away when it ends. The error is ErrMissing if the machine does not
// allow it.
func New(seed uint64, names ...string) (*Network, error) {
	if len(names) > maxHosts {
		return nil, fmt.Errorf("%d hosts are more than %d", len(names), maxHosts)
	}
	n := &Network{
		links: make([]atomic.Pointer[Link], len(names)*len(names)),
		seed:  seed, delayed: make(chan packet, 1<<10),
	}
	for i := range n.links {
		n.links[i].Store(new(Link))
	}
	for i, name := range names {
		h, err := newHost(i, name, netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}))
		if err != nil {
			n.takeAway()
			return nil, fmt.Errorf("making host %s: %w", name, err)
		}
		n.hosts = append(n.hosts, h)
	}
	return n, nil
}

func (n *Network) takeAway() {
	for _, h := range n.hosts {
		h.takeAway()
	}
}

// Hosts returns the hosts, in the order of their names.
func (n *Network) Hosts() []*Host { return n.hosts }

// Set changes the link from one host to another; that of the other direction
// stays.
func (n *Network) Set(from, to *Host, l Link) {
	n.links[from.index*len(n.hosts)+to.index].Store(&l)
}

// Counts returns how many packets were passed on and how many were lost, because
// a link said so or a queue was full.
func (n *Network) Counts() (passed, lost uint64) { return n.passed.Load(), n.lost.Load() }

// Run passes packets on until ctx ends, then takes the hosts away. Connections
// that are left fall silent. It is called once.
func (n *Network) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { postpone(ctx, n.delayed, func(p packet) { n.deliver(p.to, p.data) }) })
	for _, h := range n.hosts {
		wg.Go(func() {
			if err := n.forward(h); err != nil {
				cancel(fmt.Errorf("reading the packets of %s: %w", h.name, err))
			}
		})
	}
	<-ctx.Done()
	n.takeAway()
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// forward passes on what from sends, until its device is closed.
func (n *Network) forward(from *Host) error {
	// #nosec G404 G115 -- chance of a test, from its small numbers
	random := rand.New(rand.NewPCG(n.seed, uint64(from.index)))
	busy := make([]time.Time, len(n.hosts)) // until when packets to each host are under way
	buf := make([]byte, 64<<10)
	for {
		size, err := from.device.Read(buf)
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		to := n.destination(buf[:size])
		if to == nil {
			continue // a host talks to the void: IPv6 looking for routers
		}
		link := n.links[from.index*len(n.hosts)+to.index].Load()
		if link.drops(random) {
			n.lost.Add(1)
			continue
		}
		now := time.Now()
		due := now.Add(link.Delay)
		if due.Before(busy[to.index]) {
			due = busy[to.index] // the delay has become less: none overtakes another
		}
		if !due.After(now) {
			n.deliver(to, buf[:size])
			continue
		}
		busy[to.index] = due
		select {
		case n.delayed <- packet{due: due, to: to, data: append([]byte(nil), buf[:size]...)}:
		default:
			n.lost.Add(1)
		}
	}
}

// destination returns the host that an IPv4 packet is for, or nil.
func (n *Network) destination(data []byte) *Host {
	const header, address = 20, 16
	if len(data) < header || data[0]>>4 != 4 {
		return nil
	}
	to := netip.AddrFrom4([4]byte(data[address:header]))
	for _, h := range n.hosts {
		if h.address == to {
			return h
		}
	}
	return nil
}

// deliver hands a packet to its host. That may fail while the host is being
// taken away, and is a loss like any other.
func (n *Network) deliver(to *Host, data []byte) {
	if _, err := to.device.Write(data); err != nil {
		n.lost.Add(1)
		return
	}
	n.passed.Add(1)
}
