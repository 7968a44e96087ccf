package main

import "github.com/millrace-mq/millrace/internal/program"

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "admin",
	Synopsis: "show what all daemons are doing, in a browser, and change it",
	About: `It looks at all daemons that the lookupds know, or at those that are named, every
--sample-interval, keeps their past, and serves pages and a JSON API (HTTP 4171): what is wrong, what
is moving, and safe hands to change it.

Without users it listens on loopback alone, and whoever comes may do everything. For a network, give
it --users-file, or --trusted-proxy for a proxy that says who comes.`,
	Examples: []program.Example{
		{Does: "look at the daemons of a lookupd on this machine, at http://127.0.0.1:4171/", Command: "admin --lookupd-http-address=127.0.0.1:4161"},
		{Does: "look at one qd, without a lookupd", Command: "admin --qd-http-address=127.0.0.1:4151 --http-address=127.0.0.1:4181"},
		{Does: "make a user's line for users.toml", Command: "echo 'correct horse' | admin --hash-password"},
		{Does: "serve a network, with users", Command: `admin --lookupd-http-address=lookup.example.com:4161 --http-address=0.0.0.0:4171 \
   --users-file=users.toml --cluster-name=Frankfurt --environment=production`},
		{Does: "take settings from a file, and one from the environment", Command: "ADMIN_READ_ONLY=true admin --config=/etc/millrace/admin.toml"},
	},
	Sections: []program.Section{
		{Title: "Whom it looks at", Flags: []string{
			"lookupd-http-address", "qd-http-address", "http-client-connect-timeout", "http-client-request-timeout", "http-client-token-file",
			"http-client-tls-root-ca-file", "http-client-tls-cert", "http-client-tls-key", "http-client-tls-insecure-skip-verify",
		}},
		{Title: "What it keeps and shows", Flags: []string{
			"sample-interval", "history-memory", "history-file", "cluster-name", "environment", "bodies-for",
		}},
		{Title: "Where it listens", Flags: []string{
			"http-address", "https-address", "base-path", "tls-cert", "tls-key", "tls-required", "tls-client-auth-policy", "tls-root-ca-file", "tls-min-version",
		}},
		{Title: "Who may do what", Flags: []string{
			"users-file", "access-file", "new-token", "hash-password", "session-key-file", "trusted-proxy", "acl-http-header", "admin-user", "operator-user", "read-only", "allow-config-from-cidr",
		}},
		{Title: "Who has changed what", Flags: []string{"audit-file", "audit-keep", "notification-http-endpoint"}},
		{Title: "The process", Flags: []string{"config", "check-config", "print-config", "log-level", "log-format", "log-prefix"}},
	},
	Setup: setup,
}
