package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// resolveFor is how long finding the addresses of names may take.
const resolveFor = 2 * time.Second

// loops knows the daemons that are published to, and finds those that are consumed from
// among them.
type loops struct {
	mu           sync.Mutex // guards all below; not held while names are resolved
	destinations map[string]bool
	fine         map[string]int // source daemons, and among how many destinations they were not
}

func newLoops() *loops {
	return &loops{destinations: make(map[string]bool), fine: make(map[string]int)}
}

// destination notes a daemon that is published to.
func (l *loops) destination(address string) {
	if address == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.destinations[address] = true
}

// check returns an error if the source daemon with an address is a destination.
func (l *loops) check(ctx context.Context, address, topic string) error {
	l.mu.Lock()
	n := len(l.destinations)
	if l.fine[address] == n && n > 0 {
		l.mu.Unlock()
		return nil
	}
	var all []string
	for d := range l.destinations {
		all = append(all, d)
	}
	l.mu.Unlock()
	for _, d := range all {
		if samePlace(ctx, address, d) {
			return fmt.Errorf("%s is the source and, as %s, the destination, and topic %s is consumed: its messages would come back for ever; name another daemon, or another destination-topic", address, d, topic)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fine[address] = n
	return nil
}

// samePlace reports whether two addresses, each host:port or a URL, lead to one place: whether
// one's host has an address of the other's. All addresses of this machine are one.
func samePlace(ctx context.Context, a, b string) bool {
	hostA, portA := hostPort(a)
	hostB, portB := hostPort(b)
	if portA != portB {
		return false
	}
	if hostA == hostB {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, resolveFor)
	defer cancel()
	theirs := resolve(ctx, hostB)
	return slices.ContainsFunc(resolve(ctx, hostA), func(ip string) bool { return slices.Contains(theirs, ip) })
}

func hostPort(address string) (host, port string) {
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil {
			return address, ""
		}
		if host, port = u.Hostname(), u.Port(); port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		return host, port
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address, ""
	}
	return host, port
}

// here stands for any address of this machine.
const here = "here"

// resolve returns a host's addresses; none if it has none, or is not found.
func resolve(ctx context.Context, host string) []string {
	if host == "" {
		return []string{here}
	}
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil
	}
	var all []string
	own := ownAddresses()
	for _, a := range found {
		switch {
		case a.IP.IsLoopback() || a.IP.IsUnspecified() || slices.ContainsFunc(own, a.IP.Equal):
			all = append(all, here)
		default:
			all = append(all, a.IP.String())
		}
	}
	return all
}

func ownAddresses() (own []net.IP) {
	addresses, _ := net.InterfaceAddrs() // without them, loopback remains
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok {
			own = append(own, n.IP)
		}
	}
	return own
}
