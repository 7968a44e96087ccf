package qd

import (
	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/listen"
)

// tellWhatIsOpen logs, for each address that other machines reach, what anybody there may
// do, and what he can read on the way.
func (d *Daemon) tellWhatIsOpen() {
	s := d.now()
	tell := func(what string, from listen.Listeners, flag, who, advice string) {
		for _, a := range from.Reachable() {
			d.log.Warn(what, "address", a, "flag", flag, "who", who, "advice", advice)
		}
	}
	if s.TLSClientAuthPolicy != "require-verify" { // else nobody gets in without a certificate
		const open = "open to the network"
		overTCP, overHTTP := d.openToAnybody()
		if overTCP != "" {
			tell(open, d.tcp, "tcp-address", "anybody may "+overTCP,
				"--access-file with rules, --auth-http-address, or --tls-client-auth-policy=require-verify")
		}
		const advice = "listen on loopback, --access-file with rules, or --tls-client-auth-policy=require-verify"
		if overHTTP != "" && s.RequiresTLS() != "true" {
			tell(open, d.http, "http-address", "anybody may "+overHTTP, advice)
		}
		if overHTTP != "" {
			tell(open, d.https, "https-address", "anybody may "+overHTTP, advice)
		}
	}
	const clear = "unencrypted on the network"
	const reads = "whoever is on the way reads messages, and the tokens and secrets that clients show"
	if s.RequiresTLS() == "false" {
		tell(clear, d.tcp, "tcp-address", reads, "--tls-cert, --tls-key and --tls-required=true")
	}
	if s.RequiresTLS() != "true" {
		tell(clear, d.http, "http-address", reads, "--tls-cert, --tls-key and --tls-required=true")
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
