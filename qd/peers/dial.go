package peers

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/millrace-mq/millrace/internal/listen"
)

// maxHosts is how many of the machines that a name stands for are tried.
const maxHosts = 8

// dial makes a connection within ConnectTimeout. Of a name that stands for several
// machines each is given that time, one after the other: the network would give
// all of it to the first, which may be dead.
func (p *Peers) dial(ctx context.Context, network, address string) (net.Conn, error) {
	targets, err := p.resolve(ctx, address)
	if err != nil {
		return nil, err
	}
	for i, target := range targets {
		var conn net.Conn
		once, cancel := context.WithTimeout(ctx, p.ConnectTimeout)
		conn, err = p.Dial(once, network, target)
		cancel()
		if err == nil {
			return conn, nil
		}
		if i > 0 {
			err = fmt.Errorf("%w (the last of %d addresses of %s)", err, i+1, address)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// resolve returns the addresses that one stands for now, at least one.
func (p *Peers) resolve(ctx context.Context, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if p.Resolve == nil || err != nil || listen.Network(address) != "tcp" || net.ParseIP(host) != nil {
		return []string{address}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.ConnectTimeout)
	defer cancel()
	hosts, err := p.Resolve(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", host, err)
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("looking up %s: it has no address", host)
	}
	var all []string
	for _, h := range hosts[:min(len(hosts), maxHosts)] {
		all = append(all, net.JoinHostPort(h, port))
	}
	return all, nil
}

// connect makes the connection for V1.
func (l *link) connect(ctx context.Context) (net.Conn, error) {
	if l.TLS == nil {
		return l.dial(ctx, "tcp", l.address)
	}
	return l.dialTLS(ctx, "tcp", l.address)
}

// dialTLS makes a connection over TLS to any face of the lookupd. Its certificate
// has to be for the host that the operator has named, be the face where it may.
func (l *link) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	name := "localhost" // for a socket file
	if host, _, err := net.SplitHostPort(l.address); err == nil && listen.Network(l.address) == "tcp" {
		name = host
	}
	ctx, cancel := context.WithTimeout(ctx, l.ConnectTimeout)
	defer cancel()
	secured := tls.Client(conn, l.TLS(name))
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return secured, nil
}
