package qd

import (
	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/listen"
)

// tellWhatIsOpen logs, for each address that other machines reach, what anybody there may
// do, and what he can read on the way.
func (d *Daemon) tellWhatIsOpen() {
	const reads = "whoever is on the way reads messages, and the tokens and secrets that clients show"
	s := d.now()
	openTo := func(from listen.Listeners, flag, who, advice string) {
		for _, a := range from.Reachable() {
			d.log.Warn("open to the network", "address", a, "flag", flag, "who", who, "advice", advice)
		}
	}
	unencrypted := func(from listen.Listeners, flag, advice string) {
		for _, a := range from.Reachable() {
			d.log.Warn("unencrypted on the network", "address", a, "flag", flag, "who", reads, "advice", advice)
		}
	}
	overTCP, overHTTP := d.openToAnybody()
	verified := s.TLSClientAuthPolicy == "require-verify" // over TLS nobody gets in without a certificate
	if overTCP != "" && !verified {
		openTo(d.tcp, "tcp-address", "anybody may "+overTCP,
			"--access-file with rules, --auth-http-address, or --tls-client-auth-policy=require-verify")
	}
	if overHTTP != "" && s.RequiresTLS() != "true" {
		openTo(d.http, "http-address", "anybody may "+overHTTP,
			"listen on loopback, --access-file with rules, or --tls-required=true with --tls-client-auth-policy=require-verify")
	}
	if overHTTP != "" && !verified {
		openTo(d.https, "https-address", "anybody may "+overHTTP,
			"listen on loopback, --access-file with rules, or --tls-client-auth-policy=require-verify")
	}
	if s.RequiresTLS() == "false" {
		unencrypted(d.tcp, "tcp-address", "--tls-cert, --tls-key and --tls-required=true")
	}
	if s.RequiresTLS() != "true" {
		unencrypted(d.http, "http-address", "--tls-cert, --tls-key and --tls-required=true")
	}
}

// openToAnybody is what those may do who show nothing, in words; empty is nothing.
func (d *Daemon) openToAnybody() (overTCP, overHTTP string) {
	if d.access != nil && d.access.Rules().Any() {
		rights := d.access.Rights(access.Who{})
		if rights.Has(access.Publish) || rights.Has(access.Subscribe) {
			overTCP = rights.Words()
		}
		return overTCP, rights.Words()
	}
	s := d.now()
	if len(s.AuthHTTPAddresses) == 0 {
		overTCP = "publish and consume"
	}
	if s.Policy == nil { // it is not asked about TCP
		overHTTP = "publish, read messages, empty and delete"
	}
	return overTCP, overHTTP
}
