package qd

import (
	"fmt"
	"log/slog"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/secure"
	"github.com/millrace-mq/millrace/qd/auth"
)

// authorities returns who asks the auth servers; nil if there are none. The root
// CA is for their certificates, too, as it is in nsqd.
func (s *Settings) authorities(log *slog.Logger) (*auth.Client, error) {
	if len(s.AuthHTTPAddresses) == 0 {
		return nil, nil
	}
	c := auth.Config{
		Addresses: s.AuthHTTPAddresses, Method: s.AuthHTTPRequestMethod,
		ConnectTimeout: s.LookupConnectTimeout, RequestTimeout: s.LookupTimeout, Log: log,
	}
	if s.TLSRootCAFile != "" {
		var err error
		if c.Roots, err = secure.ClientRoots(s.TLSRootCAFile); err != nil {
			return nil, err
		}
	}
	client, err := auth.New(c)
	if err != nil {
		return nil, fmt.Errorf("auth-http-address: %w", err)
	}
	return client, nil
}

// openAccess reads the access file, if there is one.
func (d *Daemon) openAccess() (err error) {
	d.failures = new(access.Failures)
	if show := token(d.now().LookupdTokenFile); show != nil {
		if _, err := show(); err != nil {
			return err
		}
	}
	if d.now().AccessFile == "" {
		return nil
	}
	if d.access, err = access.Open(d.now().AccessFile, d.log); err != nil {
		return err
	}
	d.failures = d.access.Failures()
	return nil
}

// policy is who decides about HTTP requests; nil is nobody.
func (d *Daemon) policy() access.Policy {
	if d.access != nil {
		return d.access
	}
	return d.now().Policy
}

// token reads the token for lookupds; nil if there is no file of it.
func token(file string) func() (string, error) {
	if file == "" {
		return nil
	}
	return func() (string, error) { return access.ReadToken("lookupd-token-file", file) }
}
