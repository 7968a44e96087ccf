package qd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/millrace-mq/millrace/internal/secure"
)

// listen opens the addresses. certificates is nil without TLS: then nothing
// listens for HTTPS.
func (d *Daemon) listen(certificates *tls.Config) (err error) {
	if d.tcp, err = net.Listen("tcp", d.settings.TCPAddress); err != nil {
		return fmt.Errorf("tcp-address: %w", err)
	}
	if d.http, err = net.Listen("tcp", d.settings.HTTPAddress); err != nil {
		return fmt.Errorf("http-address: %w", err)
	}
	if certificates == nil || d.settings.HTTPSAddress == "" {
		return nil
	}
	l, err := net.Listen("tcp", d.settings.HTTPSAddress)
	if err != nil {
		return fmt.Errorf("https-address: %w", err)
	}
	d.https = tls.NewListener(l, certificates)
	return nil
}

// closeListeners closes what listen has opened.
func (d *Daemon) closeListeners() error {
	var errs []error
	for _, l := range []net.Listener{d.tcp, d.http, d.https} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// HTTPSAddr is the address that HTTPS clients connect to; nil if there is none.
func (d *Daemon) HTTPSAddr() net.Addr {
	if d.https == nil {
		return nil
	}
	return d.https.Addr()
}

// requiresTLS is who must use TLS: true is everybody, tcp-https all but plain
// HTTP, false nobody. As in nsqd, who asks for clients' certificates means
// everybody.
func (s *Settings) requiresTLS() string {
	if s.TLSRequired == "false" && s.TLSClientAuthPolicy != "" {
		return "true"
	}
	return s.TLSRequired
}

func (s *Settings) tlsFiles() secure.Files {
	return secure.Files{
		Cert: s.TLSCert, Key: s.TLSKey, RootCA: s.TLSRootCAFile,
		ClientAuth: s.TLSClientAuthPolicy, MinVersion: s.TLSMinVersion,
	}
}
