// Package qd is the queue daemon: it puts the broker, its TCP and HTTP faces
// and its registration with lookupd together, and takes them apart in order.
package qd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/drain"
	"github.com/millrace-mq/millrace/qd/limits"
	"github.com/millrace-mq/millrace/qd/metrics"
	"github.com/millrace-mq/millrace/qd/peers"
	"github.com/millrace-mq/millrace/qd/session"
	"github.com/millrace-mq/millrace/qd/stats"
	"github.com/millrace-mq/millrace/qd/statsd"
)

// Daemon is a qd that listens. It must be Run, which also closes it.
type Daemon struct {
	running  *program.Running[*Daemon, Settings]
	repush   chan struct{} // statsd's settings have changed
	log      *slog.Logger
	level    *slog.LevelVar
	tcp      listen.Listeners
	http     listen.Listeners // none if it is disabled
	https    listen.Listeners // none without a certificate
	broker   *broker.Broker
	sessions *session.Server
	limits   *limits.Limits
	peers    *peers.Peers
	drain    *drain.Drain
	access   *access.File     // nil without
	failures *access.Failures // of who showed a wrong secret
	self     protocol.PeerInfo
	audit    *audit.Writer // nil: there is no audit log
	started  time.Time
}

// Listen opens the data path and the listening addresses. Connections wait
// until Run. level is that of log, to be changed over HTTP; nil if it cannot
// be.
func Listen(s Settings, log *slog.Logger, level *slog.LevelVar) (d *Daemon, err error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	d = &Daemon{repush: make(chan struct{}, 1), log: log, level: level, started: time.Now()}
	d.running = program.NewRunning(d, s, settable, live())
	certificates, err := s.TLSConfig(log)
	if err != nil {
		return nil, err
	}
	authorities, err := s.authorities(log)
	if err != nil {
		return nil, err
	}
	if err := d.openAccess(); err != nil {
		return nil, err
	}
	lookups, err := s.lookupTLS(log)
	if err != nil {
		return nil, err
	}
	opened := d // a return of nil sets d
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.closeListeners())
		}
	}()
	if err := d.listen(certificates); err != nil {
		return nil, err
	}
	if d.self, err = d.describe(); err != nil {
		return nil, err
	}
	if d.audit, err = audit.Open(s.AuditFile, d.node(), log); err != nil {
		return nil, err
	}
	d.peers = peers.New(s.ofPeers(lookups, func() protocol.PeerInfo { return d.self }, log))
	if d.broker, err = broker.Open(s.ofBroker(d.peers.Channels, d.changed, log)); err != nil {
		return nil, err
	}
	d.self.Instance = d.broker.Instance()
	d.drain = drain.New(d.broker, log)
	of := s.ofSessions()
	of.TLS, of.Auth, of.Access, of.Failures = certificates, authorities, d.access, d.failures
	d.limits = limits.New(s.ofLimits(), d.broker, log)
	d.sessions = session.NewServer(of, d.broker, log)
	d.sessions.Limits = d.limits
	if d.access != nil {
		d.access.OnChange(d.sessions.Recheck)
	}
	return d, nil
}

// describe is what lookupd is told of this daemon.
func (d *Daemon) describe() (p protocol.PeerInfo, err error) {
	if p.Hostname, err = os.Hostname(); err != nil {
		return p, fmt.Errorf("finding the machine's name: %w", err)
	}
	p.Version = protocol.Version
	p.TopologyRegion, p.TopologyZone = d.now().TopologyRegion, d.now().TopologyZone
	p.TCPPort, p.HTTPPort = d.now().BroadcastTCPPort, d.now().BroadcastHTTPPort
	if p.TCPPort == 0 {
		p.TCPPort = max(d.tcp.Port(), 0)
	}
	if p.HTTPPort == 0 {
		p.HTTPPort = max(d.http.Port(), 0)
	}
	p.BroadcastAddress = cmp.Or(strings.Trim(d.now().BroadcastAddress, "[]"), listen.Host(d.now().TCPAddress), p.Hostname)
	return p, nil
}

// TCPAddr is the first address that TCP clients connect to.
func (d *Daemon) TCPAddr() net.Addr { return d.tcp.Addr() }

// HTTPAddr is the first address that HTTP clients connect to; nil if HTTP is
// disabled.
func (d *Daemon) HTTPAddr() net.Addr { return d.http.Addr() }

// Terminate has Run end once consumers have finished all that there is, or
// Settings.DrainTimeout is over; until then publishes are refused. It returns at
// once, and may be called at any time.
func (d *Daemon) Terminate() {
	d.log.Info("told to end: a drain comes first", "timeout", d.now().DrainTimeout)
	d.did(audit.Signal, "drain-node", "timeout="+d.now().DrainTimeout.String(), nil)
	d.drain.Begin(d.now().DrainTimeout)
}

// Run serves until ctx ends, a drain is over, or something that it cannot do
// without fails. Then it refuses publishes and delivers nothing new, waits for a
// moment for consumers to answer what they hold, ends the connections, and last
// keeps all messages on disk. It returns when all of that is done.
func (d *Daemon) Run(ctx context.Context) error {
	d.log.Info("qd listens", "tcp", d.tcp.String(), "http", d.http.String(), "data_path", d.now().dataPath())
	if len(d.https) > 0 {
		d.log.Info("qd listens for TLS too", "https", d.https.String(), "tls_required", d.now().RequiresTLS())
	}
	d.tellWhatIsOpen()
	d.tellWhatIsMissing()
	accepting, stopAccepting := context.WithCancelCause(ctx)
	defer stopAccepting(nil)
	// What follows outlives ctx, each until it is its turn to end.
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	defer disconnect()
	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()

	endAudit := d.beginAudit(ctx)
	var faces, core sync.WaitGroup
	core.Go(func() { stopAccepting(d.broker.Run(holding)) })
	for _, l := range d.tcp {
		faces.Go(func() { stopAccepting(d.sessions.Accept(accepting, connected, l)) })
	}
	handler := d.handler()
	plain := handler
	if d.now().RequiresTLS() == "true" {
		plain = httpapi.TLSRequired(max(d.https.Port(), 0))
	}
	for _, l := range d.http {
		faces.Go(func() { stopAccepting(httpapi.ServeSome(connected, l, plain, d.limits.HTTP, d.log)) })
	}
	for _, l := range d.https {
		faces.Go(func() { stopAccepting(httpapi.ServeSome(connected, l, handler, d.limits.HTTP, d.log)) })
	}
	faces.Go(func() { stopAccepting(d.peers.Run(connected, d.broker)) })
	faces.Go(func() { tellStates(connected, d.state, d.drain.Begun(), d.peers.SetState) })
	faces.Go(func() {
		if d.drain.Run(accepting) {
			stopAccepting(errDrained)
		}
	})
	if d.access != nil {
		faces.Go(func() { stopAccepting(d.access.Run(connected)) })
	}
	faces.Go(func() { d.push(connected) })

	<-accepting.Done()
	err := context.Cause(accepting)
	if ctx.Err() != nil || errors.Is(err, errDrained) {
		err = nil
	}
	d.running.Close()
	d.halt()
	disconnect()
	faces.Wait()
	release()
	core.Wait()
	if closed := d.broker.Close(); closed != nil {
		err = errors.Join(err, fmt.Errorf("keeping messages: %w", closed))
	}
	endAudit(err)
	d.log.Info("qd has ended")
	return err
}

// errDrained is why Run ends after a drain.
var errDrained = errors.New("drained")

// halt waits until consumers have answered what they hold, but no longer than
// the stop timeout.
func (d *Daemon) halt() {
	d.broker.Refuse()
	d.broker.Halt()
	deadline := time.Now().Add(d.now().StopTimeout)
	for d.broker.InFlight() > 0 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
}

// source is where all figures come from.
func (d *Daemon) source() *stats.Source {
	s := &stats.Source{Broker: d.broker, Clients: d.sessions.Clients, Lookupds: d.peers.Links, Failures: d.failures, Limits: d.limits, Started: d.started}
	if d.audit != nil {
		s.Audit = d.audit.Counts
	}
	return s
}

func (d *Daemon) statsd() statsd.Config {
	s, source := d.now(), d.source()
	return statsd.Config{
		Address:          s.StatsdAddress,
		Interval:         s.StatsdInterval,
		Prefix:           d.statsdPrefix(),
		PacketSize:       s.StatsdUDPPacketSize,
		MemStats:         s.StatsdMemStats,
		ExcludeEphemeral: s.StatsdExcludeEphemeral,
		Gather: func() stats.Daemon {
			return source.Gather(stats.Selection{Memory: s.StatsdMemStats, Percentiles: true})
		},
		Dial: new(net.Dialer).DialContext,
		Log:  d.log,
	}
}

func (d *Daemon) statsdPrefix() string {
	return statsd.Prefix(d.now().StatsdPrefix, d.self.BroadcastAddress, d.self.HTTPPort)
}

// bounds are those of HTTP requests, as they are now.
func (d *Daemon) bounds() api.Bounds {
	s := d.now()
	return api.Bounds{MaxMsgSize: s.MaxMsgSize, MaxBodySize: s.MaxBodySize, MaxReqTimeout: s.MaxReqTimeout}
}

// info is what /info tells now.
func (d *Daemon) info() api.Info {
	s := d.now()
	return api.Info{
		BroadcastAddress:       d.self.BroadcastAddress,
		Hostname:               d.self.Hostname,
		TCPPort:                d.tcp.Port(),
		HTTPPort:               d.http.Port(),
		StartTime:              d.started,
		MaxHeartbeatInterval:   s.MaxHeartbeatInterval,
		MaxOutputBufferSize:    s.MaxOutputBufferSize,
		MaxOutputBufferTimeout: s.MaxOutputBufferTimeout,
		MaxDeflateLevel:        s.MaxDeflateLevel,
		TopologyZone:           s.TopologyZone,
		TopologyRegion:         s.TopologyRegion,
	}
}

func (d *Daemon) handler() http.Handler {
	s := d.now()
	return api.New(api.Config{
		Broker:     d.broker,
		Clients:    d.sessions.Clients,
		Disconnect: d.sessions.Disconnect,
		Metrics:    metrics.Handler(d.source(), s.MetricsMaxTopics, d.log),
		Info:       d.info,
		Now:        d.bounds,
		Settings:   shown{d},
		Reload:     d.reload,
		Lookupds:   d.peers,
		Limits:     d.limits,
		Drain:      d.drain,
		Policy:     d.policy(),
		Failures:   d.failures,
		Audit:      d.audit,
		Log:        d.log,
	})
}

// shown is the settings as nsqd tells them: with what was found out.
type shown struct{ *Daemon }

// List implements api.Settings.
func (d shown) List() []program.Setting {
	return d.running.List(func(s *Settings) {
		s.BroadcastAddress, s.BroadcastTCPPort, s.BroadcastHTTPPort = d.self.BroadcastAddress, d.self.TCPPort, d.self.HTTPPort
		s.DataPath, s.LogLevel = s.dataPath(), program.LevelName(s.LogLevel, d.level)
		s.StatsdPrefix, s.TLSRequired = d.statsdPrefix(), s.RequiresTLS()
	})
}

// Set implements api.Settings.
func (d shown) Set(key string, value []byte) error { return d.running.Set(key, value) }
