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
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// awayTime is how long what a lost daemon had is remembered: longer than it takes
// to restart one with a large log.
const awayTime = 10 * time.Minute

// endTime is more than the end of Run takes: requests have a second, and then daemons'
// conversations end.
const endTime = 5 * time.Second

// Daemon is a lookupd that listens, and serves while Run runs.
type Daemon struct {
	running  *program.Running[*Daemon, Settings]
	host     string // that daemons are told
	tcp, web listen.Listeners
	https    listen.Listeners // none without a certificate
	peers    *peerServer
	visitors *limit.Connections // over HTTP
	api      *api
	audit    *audit.Writer // nil: there is no audit log
	access   *access.File  // nil without
	log      *slog.Logger
}

// Listen checks the settings and opens the listeners, so that the addresses are
// known, and taken, before anything is served. The caller must call Run or
// Close.
func Listen(s Settings, log *slog.Logger) (d *Daemon, err error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	certificates, err := s.TLSConfig(log)
	if err != nil {
		return nil, err
	}
	opened := newDaemon(s, log)
	if s.AccessFile != "" {
		if opened.access, err = access.Open(s.AccessFile, log); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.Close())
		}
	}()
	if opened.tcp, err = listen.Open(s.TCPAddress, s.UnixSocketMode); err != nil {
		return nil, fmt.Errorf("tcp-address: %w", err)
	}
	if opened.web, err = listen.Open(s.HTTPAddress, s.UnixSocketMode); err != nil {
		return nil, fmt.Errorf("http-address: %w", err)
	}
	if certificates != nil {
		if opened.https, err = listen.Open(s.HTTPSAddress, s.UnixSocketMode); err != nil {
			return nil, fmt.Errorf("https-address: %w", err)
		}
	}
	if err := opened.openAudit(&s); err != nil {
		return nil, err
	}
	opened.assemble(certificates)
	return opened, nil
}

// New returns a daemon that serves on listeners which somebody else has
// opened: tcp for daemons, web for HTTP. It takes them over, and has no TLS. The
// settings' addresses matter only for what daemons are told to reach it at.
func New(s Settings, tcp, web net.Listener, log *slog.Logger) *Daemon {
	d := newDaemon(s, log)
	d.tcp, d.web = listen.Listeners{tcp}, listen.Listeners{web}
	d.assemble(nil)
	return d
}

func newDaemon(s Settings, log *slog.Logger) *Daemon {
	d := &Daemon{log: log}
	d.running = program.NewRunning(d, s, settable, live())
	return d
}

// assemble makes what serves the listeners. certificates is nil without TLS.
func (d *Daemon) assemble(certificates *tls.Config) {
	s := d.now()
	host := hostname()
	self := protocol.PeerInfo{
		BroadcastAddress: s.broadcastHost(host),
		Hostname:         host,
		TCPPort:          max(d.tcp.Port(), 0),
		HTTPPort:         max(d.web.Port(), 0),
		Version:          protocol.Version,
		Extended:         true,
		HTTPSPort:        max(d.https.Port(), 0),
	}
	for i, l := range d.https {
		d.https[i] = tls.NewListener(l, certificates)
	}
	dir := newDirectory(s.lasting())
	d.peers = newPeerServer(dir, self, s.PeerTimeout, d.log)
	d.peers.tls, d.peers.needTLS, d.peers.policy = certificates, s.RequiresTLS() != "false", d.policy()
	d.peers.audit = d.audit
	d.host = self.BroadcastAddress
	d.visitors = limit.NewConnections(0, 0)
	d.limit(s)
	d.api = &api{audit: d.audit, settings: tellable{d}, reload: d.reload, dir: dir, policy: d.policy(), tcp: d.peers.Counts, connections: d.visitors, log: d.log}
}

// policy is who decides about everything; nil is nobody.
func (d *Daemon) policy() access.Policy {
	if d.access != nil {
		return d.access
	}
	return d.now().Policy
}

// TCPAddr is the first address that daemons register at.
func (d *Daemon) TCPAddr() net.Addr { return d.tcp.Addr() }

// HTTPAddr is the first address that consumers ask at.
func (d *Daemon) HTTPAddr() net.Addr { return d.web.Addr() }

// HTTPSAddr is the first address that they ask at over TLS; nil if there is none.
func (d *Daemon) HTTPSAddr() net.Addr { return d.https.Addr() }

// Alive goes through the lock that everything asks for, and returns when it is through.
func (d *Daemon) Alive() { d.api.dir.change(func(*registry.Registry, time.Time) {}) }

// EndBy is when Run returns at the latest if ctx ended at the time told.
func (d *Daemon) EndBy(told time.Time) time.Time { return told.Add(endTime) }

// Close gives the addresses and the audit file back. It is for a daemon that will not be run.
func (d *Daemon) Close() error {
	return errors.Join(d.tcp.Close(), d.web.Close(), d.https.Close(), d.audit.Close())
}

// Run serves until ctx ends, and returns nil then, or until one of the faces
// fails, and returns why. First the listeners are closed; requests under way are
// answered, for up to a second, and only then do daemons' conversations end,
// each with the replies to what it has said, so that no answer lacks them. When
// Run returns all connections are closed and no goroutine is left. It can be
// called once.
func (d *Daemon) Run(ctx context.Context) error {
	d.tellWhatIsOpen()
	d.log.Info("lookupd is up", "tcp", d.tcp.String(), "http", d.web.String(), "https", d.https.String(), "tls_required", d.now().RequiresTLS())

	endAudit := d.beginAudit(ctx)
	accepting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	talking, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	var faces, talks sync.WaitGroup
	for _, l := range d.tcp {
		faces.Go(func() {
			stop(d.peers.accept(accepting, l, func(c net.Conn, s *stranger) { talks.Go(func() { d.peers.serve(talking, c, s) }) }))
		})
	}
	d.api.stopping = func() bool { return accepting.Err() != nil }
	sealed := d.api.handler()
	plain := sealed
	if d.now().RequiresTLS() == "true" {
		plain = httpapi.TLSRequired(max(d.https.Port(), 0))
	}
	for _, l := range d.web {
		faces.Go(func() { stop(httpapi.ServeSome(accepting, l, plain, d.visitors, d.log)) })
	}
	for _, l := range d.https {
		faces.Go(func() { stop(httpapi.ServeSome(accepting, l, sealed, d.visitors, d.log)) })
	}
	talks.Go(func() { d.peers.tend(talking) })
	if d.access != nil {
		talks.Go(func() { _ = d.access.Run(talking) }) // nil
	}
	faces.Wait()
	d.running.Close()
	err := context.Cause(accepting)
	if ctx.Err() != nil {
		err = nil
	}
	hangUp()
	talks.Wait()
	endAudit(err)
	d.log.Info("lookupd is down")
	return err
}
