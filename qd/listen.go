package qd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/secure"
)

// listen opens the addresses. certificates is nil without TLS: then nothing
// listens for HTTPS.
func (d *Daemon) listen(certificates *tls.Config) (err error) {
	s := &d.settings
	if d.tcp, err = listen.Open(s.TCPAddress, s.UnixSocketMode); err != nil {
		return fmt.Errorf("tcp-address: %w", err)
	}
	if d.http, err = listen.Open(s.HTTPAddress, s.UnixSocketMode); err != nil {
		return fmt.Errorf("http-address: %w", err)
	}
	if certificates == nil {
		return nil
	}
	if d.https, err = listen.Open(s.HTTPSAddress, s.UnixSocketMode); err != nil {
		return fmt.Errorf("https-address: %w", err)
	}
	for i, l := range d.https {
		d.https[i] = tls.NewListener(l, certificates)
	}
	return nil
}

// closeListeners closes what listen has opened.
func (d *Daemon) closeListeners() error {
	return errors.Join(d.tcp.Close(), d.http.Close(), d.https.Close())
}

// HTTPSAddr is the address that HTTPS clients connect to; nil if there is none.
func (d *Daemon) HTTPSAddr() net.Addr {
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
