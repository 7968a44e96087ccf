// Package secure makes the TLS side of a server or a client from files, as NSQ's
// flags name them, and reads the files again when they change.
package secure

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Files say where a server's certificate is, and what it asks of clients. The
// names and values are those of nsqd's flags.
type Files struct {
	Cert, Key  string // PEM; both are needed
	RootCA     string // PEM; signs clients' certificates. Empty is none
	ClientAuth string // require, require-verify, verify-if-given, or empty: clients need no certificate
	MinVersion string // tls1.0, tls1.1, tls1.2 or tls1.3; empty is tls1.2

	prefix string // of the flags' names
}

// every is how often, at most, the files are looked at.
const every = time.Second

// Server returns the settings of a server. It looks at the files, at most once
// a second, when a client connects: if they have changed, it takes them in, or
// logs why it cannot, and goes on with what it has. The error says which flag
// and file are wrong and what to do.
func Server(f Files, log *slog.Logger) (*tls.Config, error) {
	k := &keeper{files: f, log: log, load: f.load}
	k.seen, k.looked = f.stamps(), time.Now()
	c, err := f.load(log)
	if err != nil {
		return nil, err
	}
	k.current.Store(c)
	return &tls.Config{
		MinVersion:         c.MinVersion,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.config(), nil },
	}, nil
}

// ClientRoots reads the certificates that sign servers' ones, for clients.
func ClientRoots(file string) (*x509.CertPool, error) {
	return roots("tls-root-ca-file", file)
}

func roots(flag, file string) (*x509.CertPool, error) {
	text, err := read(flag, file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s %s: holds no certificate in PEM form: give a file with a -----BEGIN CERTIFICATE----- block", flag, file)
	}
	return pool, nil
}

// keeper has what was last loaded.
type keeper struct {
	files   Files
	log     *slog.Logger
	load    func(*slog.Logger) (*tls.Config, error)
	current atomic.Pointer[tls.Config]

	// Held while the files are looked at. Nobody waits for it: whoever finds it
	// held uses what there is.
	looking sync.Mutex
	seen    [3]stamp  // of the files, whether they could be loaded or not
	looked  time.Time // when
}

// config returns what clients get now.
func (k *keeper) config() *tls.Config {
	if k.looking.TryLock() {
		defer k.looking.Unlock()
		k.look()
	}
	return k.current.Load()
}

func (k *keeper) look() {
	now := time.Now()
	if now.Sub(k.looked) < every {
		return
	}
	k.looked = now
	stamps := k.files.stamps()
	if stamps == k.seen {
		return
	}
	// Seen before it is loaded: what does not load is complained of once, and
	// tried again when it changes. A pair that is replaced file by file so
	// comes in with the second one.
	k.seen = stamps
	c, err := k.load(k.log)
	if err != nil {
		k.log.Error("cannot load the changed TLS files; the old ones stay in use", "error", err)
		return
	}
	k.current.Store(c)
	k.log.Info("TLS files loaded anew", "file", k.files.Cert)
}

// stamp is what changes when a file does. That of one that is not there is
// zero.
type stamp struct {
	size  int64
	mtime int64
}

func (f Files) stamps() (all [3]stamp) {
	for i, name := range []string{f.Cert, f.Key, f.RootCA} {
		if name == "" {
			continue
		}
		if info, err := os.Stat(name); err == nil {
			all[i] = stamp{info.Size(), info.ModTime().UnixNano()}
		}
	}
	return all
}

// Version returns TLS's number of a version that Files can name; false if there
// is none.
func Version(name string) (number uint16, ok bool) {
	number, ok = versions[name]
	return number, ok
}

var versions = map[string]uint16{
	"tls1.0": tls.VersionTLS10, "tls1.1": tls.VersionTLS11, "tls1.2": tls.VersionTLS12, "tls1.3": tls.VersionTLS13,
}

// IfGiven is the policy for clients' certificates by which one may have none, but none
// that is not signed.
const IfGiven = "verify-if-given"

var policies = map[string]tls.ClientAuthType{
	"": tls.NoClientCert, "require": tls.RequireAnyClientCert, "require-verify": tls.RequireAndVerifyClientCert, IfGiven: tls.VerifyClientCertIfGiven,
}

const policyWords = "require, require-verify or verify-if-given"

// load reads the files.
func (f Files) load(log *slog.Logger) (*tls.Config, error) {
	version, ok := Version(cmp.Or(f.MinVersion, "tls1.2"))
	if !ok {
		return nil, fmt.Errorf("tls-min-version %q: must be tls1.0, tls1.1, tls1.2 or tls1.3", f.MinVersion)
	}
	policy, ok := policies[f.ClientAuth]
	if !ok {
		return nil, fmt.Errorf("tls-client-auth-policy %q: must be %s", f.ClientAuth, policyWords)
	}
	if policy >= tls.VerifyClientCertIfGiven && f.RootCA == "" {
		return nil, fmt.Errorf("tls-client-auth-policy %s: needs --tls-root-ca-file, the certificates that sign clients' ones", f.ClientAuth)
	}
	cert, err := f.pair()
	if err != nil {
		return nil, err
	}
	if end := cert.Leaf.NotAfter; time.Now().After(end) {
		log.Warn("the certificate has expired: clients will refuse it", "file", f.Cert, "expired", end)
	}
	c := &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   policy,
		MinVersion:   version,
		// A resumed session is one that was verified against an earlier root.
		SessionTicketsDisabled: policy != tls.NoClientCert,
	}
	if f.RootCA != "" {
		if c.ClientCAs, err = ClientRoots(f.RootCA); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// pair reads the certificate and its key.
func (f Files) pair() (cert tls.Certificate, err error) {
	certText, err := read(f.prefix+"tls-cert", f.Cert)
	if err != nil {
		return cert, err
	}
	keyText, err := read(f.prefix+"tls-key", f.Key)
	if err != nil {
		return cert, err
	}
	leaf := block(certText, "CERTIFICATE")
	if leaf == nil {
		return cert, fmt.Errorf("%stls-cert %s: holds no certificate in PEM form: give a file with a -----BEGIN CERTIFICATE----- block", f.prefix, f.Cert)
	}
	if _, err := x509.ParseCertificate(leaf); err != nil {
		return cert, fmt.Errorf("%stls-cert %s: the certificate is damaged: %w", f.prefix, f.Cert, err)
	}
	if block(keyText, "ENCRYPTED PRIVATE KEY") != nil {
		return cert, fmt.Errorf("%stls-key %s: is encrypted: give the key without a passphrase", f.prefix, f.Key)
	}
	if cert, err = tls.X509KeyPair(certText, keyText); err != nil {
		return cert, fmt.Errorf("%stls-key %s: cannot be used with --%[1]stls-cert %[3]s: %[4]w: give the key that the certificate was made for", f.prefix, f.Key, f.Cert, err)
	}
	return cert, nil
}

// block returns what the first PEM block of a kind holds; nil if there is none.
func block(text []byte, kind string) []byte {
	for {
		b, rest := pem.Decode(text)
		if b == nil {
			return nil
		}
		if b.Type == kind {
			return b.Bytes
		}
		text = rest
	}
}

func read(flag, file string) ([]byte, error) {
	if file == "" {
		return nil, fmt.Errorf("%s: give the file's name", flag)
	}
	// #nosec G304 -- the operator's file
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s %s: there is no such file", flag, file)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%s %s: this process may not read it: change its owner or mode", flag, file)
	case err != nil:
		return nil, fmt.Errorf("%s %s: cannot be read: %w", flag, file, err)
	}
	return text, nil
}
