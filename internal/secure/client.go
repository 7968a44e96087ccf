package secure

import (
	"crypto/tls"
	"log/slog"
	"time"
)

// ClientFiles say which servers a client believes, and what it shows them.
type ClientFiles struct {
	Prefix     string // of the flags' names in errors, such as "lookupd-"
	Cert, Key  string // PEM; both or none
	RootCA     string // PEM; signs servers' certificates. Empty is the machine's authorities
	SkipVerify bool   // believe any server; a warning says so
}

// Client returns what makes the settings for a connection to a server of some
// name: TLS 1.2 or later. The files are read again as Server does; the error says
// which flag and file are wrong.
func Client(f ClientFiles, log *slog.Logger) (func(serverName string) *tls.Config, error) {
	k := &keeper{files: Files{Cert: f.Cert, Key: f.Key, RootCA: f.RootCA, prefix: f.Prefix}, log: log}
	k.load = func(*slog.Logger) (*tls.Config, error) { return k.files.loadClient(f.SkipVerify) }
	k.seen, k.looked = k.files.stamps(), time.Now()
	c, err := k.load(log)
	if err != nil {
		return nil, err
	}
	if f.SkipVerify {
		log.Warn("servers' certificates are not verified: whoever is in between can read and change what is said", "flag", f.Prefix+"tls-insecure-skip-verify")
	}
	k.current.Store(c)
	return func(serverName string) *tls.Config {
		c := k.config().Clone()
		c.ServerName = serverName
		return c
	}, nil
}

// loadClient reads the files for a client.
func (f Files) loadClient(skipVerify bool) (c *tls.Config, err error) {
	// #nosec G402 -- only if the operator asks for it, and said so in the flag's name
	c = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: skipVerify}
	if f.RootCA != "" {
		if c.RootCAs, err = roots(f.prefix+"tls-root-ca-file", f.RootCA); err != nil {
			return nil, err
		}
	}
	if f.Cert != "" {
		cert, err := f.pair()
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}
