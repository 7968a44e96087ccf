package qd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/millrace-mq/millrace/internal/listen"
)

// listen opens the addresses. certificates is nil without TLS: then nothing
// listens for HTTPS.
func (d *Daemon) listen(certificates *tls.Config) (err error) {
	s := d.now()
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

// closeListeners closes what listen has opened, and the audit file.
func (d *Daemon) closeListeners() error {
	return errors.Join(d.tcp.Close(), d.http.Close(), d.https.Close(), d.audit.Close())
}

// HTTPSAddr is the address that HTTPS clients connect to; nil if there is none.
func (d *Daemon) HTTPSAddr() net.Addr {
	return d.https.Addr()
}

// tellWhatIsMissing logs what lookupds may not put up with.
func (d *Daemon) tellWhatIsMissing() {
	if d.self.HTTPPort == 0 && len(d.now().LookupdTCPAddresses) > 0 {
		d.log.Warn("there is no HTTP port to register: lookupd registers this daemon all the same, but nsqlookupd refuses it; give --broadcast-http-port if there is one")
	}
}
