package qd

import (
	"context"
	"flag"

	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/qd/statsd"
)

type row = program.Row[*Daemon, Settings]

// live are the settings that a reload, and PUT /config, change in a daemon that runs,
// and how. All others need a restart. It is a function because what rows call must be
// allowed to ask for it.
func live() []row {
	return []row{
		{Prepare: (*Daemon).reloadFiles},
		{Keys: []string{"log_level"}, Prepare: (*Daemon).reloadLevel},
		{Keys: []string{"nsqlookupd_tcp_addresses"}, Prepare: (*Daemon).reloadLookupds},
		{Keys: ofConnections, Prepare: (*Daemon).reloadSessions},
		{Keys: []string{
			"statsd_address", "statsd_interval", "statsd_prefix", "statsd_mem_stats", "statsd_udp_packet_size", "statsd_exclude_ephemeral",
		}, Prepare: (*Daemon).reloadStatsd},
		{Keys: ofLimits, Prepare: (*Daemon).reloadLimits},
		{Keys: []string{"drain_timeout", "stop_timeout"}}, // looked at when they are needed
	}
}

// ofConnections are those that hold for connections that come afterwards, and for HTTP
// requests.
var ofConnections = []string{
	"auth_http_addresses", "auth_http_request_method", "max_channel_consumers", "max_rdy_count", "msg_timeout", "max_heartbeat_interval",
	"max_output_buffer_size", "output_buffer_timeout", "min_output_buffer_timeout", "max_output_buffer_timeout",
	"snappy", "deflate", "max_deflate_level", "max_msg_size", "max_body_size", "max_req_timeout",
}

var ofLimits = []string{
	"max_connections", "max_connections_per_address", "max_publish_bytes_per_second", "max_publish_messages_per_second",
	"client_max_publish_bytes_per_second", "client_max_publish_messages_per_second", "client_max_topics", "client_max_channels",
}

// Live are the keys of the settings that can be changed in a daemon that runs.
func Live() (keys []string) {
	for _, r := range live() {
		keys = append(keys, r.Keys...)
	}
	return keys
}

// settable says how settings are declared and checked.
var settable = program.Kind[Settings]{
	Flags:    func(s *Settings, fs *flag.FlagSet) { s.Flags(fs) },
	Validate: (*Settings).Validate,
	Origins:  func(s *Settings) **program.Origins { return &s.Origins },
	Reread:   func(s *Settings) func() (*Settings, error) { return s.Reread },
	Together: func(s *Settings) func() (program.Reloaded, error) { return s.Together },
}

// Reload reads the settings again that the daemon was started with, and changes those
// that can be changed while it runs. It says what has changed and what needs a restart;
// if anything is wrong with any setting, nothing changes. What somebody has changed
// over HTTP is put back. The audit file is opened anew. It may be called at any time, by
// several at once.
func (d *Daemon) Reload() (program.Reloaded, error) {
	found, err := d.reload()
	d.did(audit.Signal, "reload", audit.Reloaded(found), err)
	return found, err
}

// reload is Reload for those who write an audit line of their own.
func (d *Daemon) reload() (program.Reloaded, error) {
	found, err := d.running.Reload()
	if d.now().Together == nil { // else that tells it, once
		program.TellReload(d.log, found, err)
	}
	return found, err
}

// Prepare is the first half of Reload, for a process of several daemons: reread returns
// what this one is to have, and is called when no other change is under way. Whoever
// calls it commits or drops what it returns.
func (d *Daemon) Prepare(reread func() (*Settings, error)) (*program.Pending, error) {
	return d.running.Prepare(reread)
}

// now is the settings that hold; they are not written to.
func (d *Daemon) now() *Settings { return d.running.Now() }

// reloadFiles opens the audit file anew, which may have been moved away, whatever becomes
// of the reload, and reads the access file.
func (d *Daemon) reloadFiles(*Settings) (apply func(), err error) {
	d.audit.Reopen()
	if d.access == nil {
		return nil, nil
	}
	return d.access.Prepare()
}

func (d *Daemon) reloadLevel(to *Settings) (apply func(), err error) {
	level, err := program.ParseLevel(to.LogLevel)
	if err != nil || d.level == nil {
		return nil, err
	}
	return func() { d.level.Set(level) }, nil
}

func (d *Daemon) reloadLookupds(to *Settings) (apply func(), err error) {
	return func() {
		d.peers.SetAddresses(to.LookupdTCPAddresses)
		d.log.Info("lookupd addresses changed", "addresses", to.LookupdTCPAddresses)
	}, nil
}

// reloadSessions makes what connections are given anew. TLS stays: it reads its files by
// itself.
func (d *Daemon) reloadSessions(to *Settings) (apply func(), err error) {
	authorities, err := to.authorities(d.log)
	if err != nil {
		return nil, err
	}
	of := to.ofSessions()
	of.TLS, of.Auth, of.Access, of.Failures = d.sessions.Settings().TLS, authorities, d.access, d.failures
	return func() { d.sessions.SetSettings(of) }, nil
}

func (d *Daemon) reloadLimits(to *Settings) (apply func(), err error) {
	return func() { d.limits.Set(to.ofLimits()) }, nil
}

func (d *Daemon) reloadStatsd(*Settings) (apply func(), err error) {
	return func() {
		select {
		case d.repush <- struct{}{}:
		default: // it has not looked yet since the last change
		}
	}, nil
}

// push pushes to statsd, if there is one, until ctx ends.
func (d *Daemon) push(ctx context.Context) {
	for ctx.Err() == nil {
		pushing, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if s := d.now(); s.StatsdAddress != "" {
				_ = statsd.Run(pushing, d.statsd()) // nil
			}
		}()
		select {
		case <-ctx.Done():
		case <-d.repush:
		}
		stop()
		<-done
	}
}
