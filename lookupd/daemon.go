// Package lookupd tells consumers which queue daemons have a topic. Daemons
// keep a connection to it, on which they register what they have in NSQ's V1
// protocol; consumers, tools and admin ask over HTTP.
//
// Everything is in memory: several lookupds know nothing of each other, every
// daemon tells all of them, and one that restarts has learned everything again
// once the daemons have reconnected.
//
// One lock (directory.mu) guards the registry. It is held for single
// operations on memory, never while a byte is read or written, so that no peer
// and no slow HTTP client can hold up another.
package lookupd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// awayTime is how long what a lost daemon had is remembered: longer than it takes
// to restart one with a large log.
const awayTime = 10 * time.Minute

// Daemon is a lookupd that listens, and serves while Run runs.
type Daemon struct {
	tcp, web listen.Listeners
	peers    *peerServer
	api      *api
	log      *slog.Logger
}

// Listen checks the settings and opens both listeners, so that the addresses
// are known, and taken, before anything is served. The caller must call Run or
// Close.
func Listen(s Settings, log *slog.Logger) (*Daemon, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	tcp, err := listen.Open(s.TCPAddress, s.UnixSocketMode)
	if err != nil {
		return nil, fmt.Errorf("tcp-address: %w", err)
	}
	web, err := listen.Open(s.HTTPAddress, s.UnixSocketMode)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("http-address: %w", err), tcp.Close())
	}
	return assemble(s, tcp, web, log), nil
}

// New returns a daemon that serves on listeners which somebody else has
// opened: tcp for daemons, web for HTTP. It takes them over. The settings'
// addresses matter only for what daemons are told to reach it at.
func New(s Settings, tcp, web net.Listener, log *slog.Logger) *Daemon {
	return assemble(s, listen.Listeners{tcp}, listen.Listeners{web}, log)
}

func assemble(s Settings, tcp, web listen.Listeners, log *slog.Logger) *Daemon {
	host := hostname()
	self := protocol.PeerInfo{
		BroadcastAddress: s.broadcastHost(host),
		Hostname:         host,
		TCPPort:          max(tcp.Port(), 0),
		HTTPPort:         max(web.Port(), 0),
		Version:          protocol.Version,
	}
	dir := newDirectory(registry.Config{Inactive: s.InactiveProducerTimeout, Tombstone: s.TombstoneLifetime, Away: awayTime})
	return &Daemon{
		tcp:   tcp,
		web:   web,
		peers: &peerServer{dir: dir, self: self, timeout: s.PeerTimeout, log: log},
		api:   &api{dir: dir, log: log},
		log:   log,
	}
}

// TCPAddr is the first address that daemons register at.
func (d *Daemon) TCPAddr() net.Addr { return d.tcp.Addr() }

// HTTPAddr is the first address that consumers ask at.
func (d *Daemon) HTTPAddr() net.Addr { return d.web.Addr() }

// Close gives the addresses back. It is for a daemon that will not be run.
func (d *Daemon) Close() error { return errors.Join(d.tcp.Close(), d.web.Close()) }

// Run serves until ctx ends, and returns nil then, or until one of the two
// faces fails, and returns why. Either way both listeners and all connections
// are closed and no goroutine is left. It can be called once.
func (d *Daemon) Run(ctx context.Context) error {
	for _, a := range slices.Concat(d.tcp, d.web).Reachable() {
		d.log.Warn("open to the network without TLS or access control", "address", a)
	}
	d.log.Info("lookupd is up", "tcp", d.tcp.String(), "http", d.web.String())

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(d.tcp)+len(d.web))
	var wg sync.WaitGroup
	for i, l := range d.tcp {
		wg.Go(func() {
			defer stop()
			errs[i] = d.peers.serve(ctx, l)
		})
	}
	d.api.stopping = func() bool { return ctx.Err() != nil }
	handler := d.api.handler()
	for i, l := range d.web {
		wg.Go(func() {
			defer stop()
			errs[len(d.tcp)+i] = httpapi.Serve(ctx, l, handler, d.log)
		})
	}
	wg.Wait()
	d.log.Info("lookupd is down")
	return errors.Join(errs...)
}
