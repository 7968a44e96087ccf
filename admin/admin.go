// Package admin is the web UI of a Millrace cluster, and its JSON API: what is wrong,
// what is moving, what is inside, and safe hands to change it. It asks lookupds which
// daemons there are, and the daemons for the rest; it keeps nothing that they need, so
// it can be stopped at any time.
//
// This package is the settings and the assembly. What a snapshot is, is in fleet; where
// it comes from, in sampler; what is done with it, in web and api.
package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/guard"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/sampler"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/admin/trouble"
	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/program"
)

// endTime is more than the end of Run takes: requests under way have a second.
const endTime = 5 * time.Second

// Daemon is an admin that listens, and serves while Run runs.
type Daemon struct {
	running    *program.Running[*Daemon, Settings]
	level      *slog.LevelVar   // nil: cannot be changed
	web, https listen.Listeners // https: none without a certificate
	handler    http.Handler
	stopping   chan struct{} // closed when Run is to end

	audit   *audit.Log
	access  *access.File // nil without
	actions *actions.Actions
	sampler *sampler.Sampler
	cluster *cluster.Cluster
	past    past
	log     *slog.Logger
}

// Listen checks the settings, reads the files that they name and opens the listeners.
// The caller must call Run or Close. level is what /config/log_level changes; nil is
// nothing.
func Listen(s Settings, log *slog.Logger, level *slog.LevelVar) (d *Daemon, err error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	certificates, err := s.TLSConfig(log)
	if err != nil {
		return nil, err
	}
	opened := &Daemon{level: level, stopping: make(chan struct{}), log: log}
	opened.running = program.NewRunning(opened, s, settable, live())
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.Close())
		}
	}()
	if opened.web, err = listen.Open(s.HTTPAddress, listen.DefaultMode); err != nil {
		return nil, fmt.Errorf("http-address: %w", err)
	}
	if certificates != nil {
		if opened.https, err = listen.Open(s.HTTPSAddress, listen.DefaultMode); err != nil {
			return nil, fmt.Errorf("https-address: %w", err)
		}
		for i, l := range opened.https {
			opened.https[i] = tls.NewListener(l, certificates)
		}
	}
	if err := opened.assemble(); err != nil {
		return nil, err
	}
	return opened, nil
}

// assemble makes what is behind the listeners.
func (d *Daemon) assemble() (err error) {
	s := d.now()
	if d.audit, err = audit.New(audit.Settings{File: s.AuditFile, Webhook: s.Webhook, Keep: s.AuditKeep}, d.log); err != nil {
		return err
	}
	if s.AccessFile != "" {
		if d.access, err = access.Open(s.AccessFile, d.log); err != nil {
			return err
		}
	}
	if d.cluster, err = d.daemons(); err != nil {
		return err
	}
	store := history.New(history.Settings{Step: s.SampleInterval, MaxBytes: s.HistoryMemory})
	d.past = past{s.HistoryFile, store, d.log}
	d.sampler = sampler.New(sampler.Settings{Period: s.SampleInterval}, d.cluster, store, trouble.NewFinder(trouble.Settings{}), d.log)
	d.actions = actions.New(actions.Settings{ReadOnly: s.ReadOnly, Latest: d.sampler.Latest, Changed: d.sampler.Poke}, d.cluster, d.audit, d.log)
	faces := &faces{Daemon: d}
	d.handler, err = faces.handler()
	return err
}

// daemons is those who are asked.
func (d *Daemon) daemons() (*cluster.Cluster, error) {
	s := d.now()
	c := cluster.Settings{Lookupds: s.Lookupds, Daemons: s.Daemons, ConnectTimeout: s.ConnectTimeout, RequestTimeout: s.RequestTimeout}
	var err error
	if c.TLS, err = s.clientTLS(d.log); err != nil {
		return nil, err
	}
	if c.Token, err = s.token(); err != nil {
		return nil, err
	}
	c.TokenSealed = s.Client.RootCA != ""
	return cluster.New(c, d.log)
}

// token is what daemons are shown; empty is nothing.
func (s *Settings) token() (string, error) {
	if s.TokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(s.TokenFile)
	if err != nil {
		return "", fmt.Errorf("http-client-token-file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line), nil
}

// Alive goes through the lock of what all pages show, and returns when it is through.
func (d *Daemon) Alive() { d.sampler.Changed() }

// EndBy is when Run returns at the latest if ctx ended at the time told, but for what the
// disk takes to keep the past.
func (d *Daemon) EndBy(told time.Time) time.Time { return told.Add(endTime) }

// HTTPAddr is the first address that browsers come to.
func (d *Daemon) HTTPAddr() net.Addr { return d.web.Addr() }

// URL is where a browser on this machine finds the first page; empty if all listeners
// are socket files.
func (d *Daemon) URL() string {
	a, ok := d.web.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	return "http://" + a.String() + d.now().BasePath
}

// Close gives the addresses and the audit file back. It is for an admin that will not
// be run.
func (d *Daemon) Close() error {
	err := errors.Join(d.web.Close(), d.https.Close())
	if d.audit != nil {
		ended, end := context.WithCancel(context.Background())
		end()
		err = errors.Join(err, d.audit.Run(ended)) // nothing was logged: it closes the file
	}
	return err
}

// Run serves until ctx ends, and returns nil then, or until a listener fails, and
// returns why. Requests under way have a second; actions under way are ended, and the
// audit log says what was not done. When Run returns nothing that it started is left.
// It can be called once.
func (d *Daemon) Run(ctx context.Context) error {
	d.past.load()
	d.log.Info("admin is up", "http", d.web.String(), "https", d.https.String(), "base_path", d.now().BasePath, "read_only", d.now().ReadOnly)
	d.tellWhatIsOpen()
	serving, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(serving, func() { close(d.stopping) })()
	auditing, stopAuditing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAuditing()
	var parts, log sync.WaitGroup
	log.Go(func() { _ = d.audit.Run(auditing) }) // returns nil

	plain := d.handler
	if d.now().RequiresTLS() == "true" {
		plain = httpapi.TLSRequired(max(d.https.Port(), 0))
	}
	for _, l := range d.web {
		parts.Go(func() { stop(httpapi.Serve(serving, l, plain, d.log)) })
	}
	for _, l := range d.https {
		parts.Go(func() { stop(httpapi.Serve(serving, l, d.handler, d.log)) })
	}
	parts.Go(func() { stop(d.sampler.Run(serving)) })
	parts.Go(func() { stop(d.actions.Run(serving)) })
	if d.access != nil {
		parts.Go(func() { stop(d.access.Run(serving)) })
	}
	parts.Go(func() { d.past.run(serving) })
	<-serving.Done()
	d.running.Close()
	parts.Wait()
	d.cluster.Close()
	stopAuditing() // what actions had to say has been said
	log.Wait()
	err := context.Cause(serving)
	if ctx.Err() != nil {
		err = nil
	}
	d.log.Info("admin is down")
	return err
}

// open refuses to show everything to everybody: without anybody who can sign in, only
// this machine may come.
func (d *Daemon) open(who *signin.Signin) error {
	if who.Configured() {
		return nil
	}
	for _, a := range append(d.web.Reachable(), d.https.Reachable()...) {
		return fmt.Errorf("http-address %s: whoever comes could do everything: name users with --users-file "+
			"or --access-file, or a proxy with --trusted-proxy, or listen on 127.0.0.1", a)
	}
	return nil
}

// tellWhatIsOpen logs at which addresses other machines come in clear. That everybody may
// come is refused (open).
func (d *Daemon) tellWhatIsOpen() {
	if d.now().RequiresTLS() == "true" {
		return
	}
	for _, a := range d.web.Reachable() {
		d.log.Warn("unencrypted on the network", "address", a, "flag", "http-address",
			"who", "whoever is on the way reads passwords, tokens and messages, and can act as who is signed in",
			"advice", "--tls-cert, --tls-key and --tls-required=true, or a proxy with TLS and --http-address on loopback")
	}
}

// base is the base path as guard wants it.
func (s Settings) base() (string, error) {
	base, err := guard.CleanBase(s.BasePath)
	if err != nil {
		return "", fmt.Errorf("base-path %q: %w", s.BasePath, err)
	}
	return base, nil
}
