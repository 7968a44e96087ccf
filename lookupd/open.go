package lookupd

import (
	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/listen"
)

// tellWhatIsOpen logs, for each address that other machines reach, what anybody there may
// do, and what he can read on the way.
func (d *Daemon) tellWhatIsOpen() {
	const reads = "whoever is on the way reads what daemons have, and the tokens that are shown"
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
	const rules = "--access-file with rules, or --tls-client-auth-policy=require-verify"
	register, web := d.openToAnybody()
	verified := s.TLSClientAuthPolicy == "require-verify" // nobody gets in without a certificate
	if register && !verified {
		openTo(d.tcp, "tcp-address", "anybody may register as a daemon, to which consumers then connect", rules)
	}
	if web != "" && s.RequiresTLS() != "true" {
		openTo(d.web, "http-address", "anybody may "+web, "listen on loopback, --access-file with rules, or --tls-required=true")
	}
	if web != "" && !verified {
		openTo(d.https, "https-address", "anybody may "+web, rules)
	}
	if s.RequiresTLS() == "false" {
		unencrypted(d.tcp, "tcp-address", "--tls-cert, --tls-key and --tls-required=true, and --lookupd-tls of qd")
	}
	if s.RequiresTLS() != "true" {
		unencrypted(d.web, "http-address", "--tls-cert, --tls-key and --tls-required=true")
	}
}

// openToAnybody is whether those may register who show nothing, and what they may do over
// HTTP, in words; empty is nothing but to find daemons.
func (d *Daemon) openToAnybody() (register bool, web string) {
	if d.access != nil && d.access.Rules().Any() {
		rights := d.access.Rights(access.Who{})
		if rights.Has(access.Manage) {
			web = rights.Words()
		}
		return rights.Has(access.Register), web
	}
	if d.now().Policy != nil {
		return false, ""
	}
	return true, "look, delete, and hide daemons from consumers"
}
