package secure_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/internal/secure"
	"github.com/millrace-mq/millrace/internal/secure/securetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func authority(t *testing.T, name string) *securetest.Authority {
	t.Helper()
	a, err := securetest.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// files writes a server's files.
func files(t *testing.T, a *securetest.Authority) (f secure.Files) {
	t.Helper()
	var err error
	if f.Cert, f.Key, f.RootCA, err = a.Write(t.TempDir(), "server"); err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// shake lets a client shake hands with a server, and returns what the client
// then knows and what each of them says of it.
func shake(server, client *tls.Config) (state tls.ConnectionState, ours, theirs error) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ended := make(chan error, 1)
	s := tls.Server(a, server)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		_ = a.Close()
		ended <- err
	}()
	c := tls.Client(b, client)
	theirs = c.Handshake()
	if theirs == nil {
		// With TLS 1.3 a client learns only now that its certificate is refused.
		_, theirs = c.Read(make([]byte, 1))
	}
	_ = b.Close()
	return c.ConnectionState(), <-ended, theirs
}

func TestPolicies(t *testing.T) {
	ours, others := authority(t, "ours"), authority(t, "others")
	ofOurs, err := ours.Pair("alice")
	if err != nil {
		t.Fatal(err)
	}
	ofOthers, err := others.Pair("mallory")
	if err != nil {
		t.Fatal(err)
	}
	none := tls.Certificate{}
	for _, c := range []struct {
		policy string
		cert   tls.Certificate
		ok     bool
	}{
		{"", none, true}, {"", ofOurs, true}, {"", ofOthers, true},
		{"require", none, false}, {"require", ofOurs, true}, {"require", ofOthers, true},
		{"require-verify", none, false}, {"require-verify", ofOurs, true}, {"require-verify", ofOthers, false},
		{"verify-if-given", none, true}, {"verify-if-given", ofOurs, true}, {"verify-if-given", ofOthers, false},
	} {
		f := files(t, ours)
		f.ClientAuth = c.policy
		server, err := secure.Server(f, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		client := &tls.Config{RootCAs: ours.Pool(), ServerName: "server", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &c.cert, nil
		}}
		if _, err, theirs := shake(server, client); (err == nil) != c.ok || (theirs == nil) != c.ok {
			t.Errorf("policy %q, %d certificates: the server says %v, the client %v", c.policy, len(c.cert.Certificate), err, theirs)
		}
	}
}

func TestVersions(t *testing.T) {
	a := authority(t, "ours")
	for least, version := range map[string]uint16{
		"": tls.VersionTLS12, "tls1.0": tls.VersionTLS10, "tls1.1": tls.VersionTLS11, "tls1.2": tls.VersionTLS12, "tls1.3": tls.VersionTLS13,
	} {
		f := files(t, a)
		f.MinVersion = least
		server, err := secure.Server(f, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for v := uint16(tls.VersionTLS10); v <= tls.VersionTLS13; v++ {
			client := &tls.Config{RootCAs: a.Pool(), ServerName: "server", MinVersion: v, MaxVersion: v}
			state, err, _ := shake(server, client)
			if (err == nil) != (v >= version) || err == nil && state.Version != v {
				t.Errorf("at least %q, the client has %#x: %v, %#x", least, v, err, state.Version)
			}
		}
	}
}

// TestReload changes the files under a server, in all the ways that go wrong
// too.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := authority(t, "first"), authority(t, "second")
		f := files(t, first)
		f.ClientAuth = "require-verify"
		var log bytes.Buffer
		server, err := secure.Server(f, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		// serves checks that the certificate in use is of a, and that it is a's
		// clients who are let in.
		serves := func(a *securetest.Authority) {
			t.Helper()
			pair, err := a.Pair("alice")
			if err != nil {
				t.Fatal(err)
			}
			client := &tls.Config{RootCAs: a.Pool(), ServerName: "server", Certificates: []tls.Certificate{pair}}
			if _, err, theirs := shake(server, client); err != nil || theirs != nil {
				t.Errorf("the server says %v, the client %v", err, theirs)
			}
		}
		complaints := func() int { return strings.Count(log.String(), "level=ERROR") }
		serves(first)

		cert, key, err := second.Issue("server", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		write(t, f.Cert, cert)
		serves(first) // not looked at yet
		time.Sleep(time.Second)
		serves(first) // the key is still the other one's
		time.Sleep(time.Second)
		serves(first)
		if complaints() != 1 || !strings.Contains(log.String(), f.Key) {
			t.Errorf("%d complaints, want 1 that names the key: %s", complaints(), &log)
		}
		write(t, f.Key, key)
		write(t, f.RootCA, second.PEM)
		time.Sleep(time.Second)
		serves(second)

		for n, spoil := range []func(){
			func() { write(t, f.Cert, []byte("rubbish")) },
			func() { write(t, f.RootCA, nil) },
			func() { _ = os.Remove(f.Key) },
		} {
			spoil()
			for range 3 {
				time.Sleep(time.Second)
				serves(second)
			}
			if complaints() != 2+n {
				t.Errorf("%d complaints after %d faults: %s", complaints(), 2+n, &log)
			}
		}
	})
}

// TestRefused wants each error to name the flag and the file.
func TestRefused(t *testing.T) {
	a := authority(t, "ours")
	rubbish := []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	locked := []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	for name, c := range map[string]struct {
		spoil func(f *secure.Files)
		want  []string
	}{
		"no certificate":      {func(f *secure.Files) { f.Cert = "" }, []string{"tls-cert", "name"}},
		"no such certificate": {func(f *secure.Files) { f.Cert += "x" }, []string{"tls-cert", "cert.pemx", "no such file"}},
		"a key for it":        {func(f *secure.Files) { f.Cert = f.Key }, []string{"tls-cert", "key.pem", "PEM"}},
		"damaged":             {func(f *secure.Files) { write(t, f.Cert, rubbish) }, []string{"tls-cert", "cert.pem", "damaged"}},
		"no such key":         {func(f *secure.Files) { f.Key += "x" }, []string{"tls-key", "key.pemx", "no such file"}},
		"a folder":            {func(f *secure.Files) { f.Key = filepath.Dir(f.Key) }, []string{"tls-key", "cannot be read"}},
		"encrypted":           {func(f *secure.Files) { write(t, f.Key, locked) }, []string{"tls-key", "key.pem", "passphrase"}},
		"another's key": {func(f *secure.Files) {
			_, key, _ := a.Issue("server", time.Time{})
			write(t, f.Key, key)
		}, []string{"tls-key", "key.pem", "made for"}},
		"an empty root":              {func(f *secure.Files) { write(t, f.RootCA, nil) }, []string{"tls-root-ca-file", "ca.pem", "PEM"}},
		"no root to verify if given": {func(f *secure.Files) { f.RootCA, f.ClientAuth = "", "verify-if-given" }, []string{"tls-client-auth-policy", "tls-root-ca-file"}},
		"no root to verify":          {func(f *secure.Files) { f.RootCA, f.ClientAuth = "", "require-verify" }, []string{"tls-client-auth-policy", "tls-root-ca-file"}},
		"policy":                     {func(f *secure.Files) { f.ClientAuth = "maybe" }, []string{"tls-client-auth-policy", "maybe"}},
		"version":                    {func(f *secure.Files) { f.MinVersion = "ssl3.0" }, []string{"tls-min-version", "ssl3.0"}},
	} {
		f := files(t, a)
		c.spoil(&f)
		_, err := secure.Server(f, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%s: it is accepted", name)
			continue
		}
		for _, word := range c.want {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: no %q in: %v", name, word, err)
			}
		}
	}
}

// TestExpired starts with a certificate that nobody will accept, and says so.
func TestExpired(t *testing.T) {
	a := authority(t, "ours")
	f := files(t, a)
	cert, key, err := a.Issue("server", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.Cert, cert)
	write(t, f.Key, key)
	var log bytes.Buffer
	if _, err := secure.Server(f, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, f.Cert) {
		t.Errorf("logged was %q", text)
	}
}

func TestClientRoots(t *testing.T) {
	a := authority(t, "ours")
	f := files(t, a)
	pool, err := secure.ClientRoots(f.RootCA)
	if err != nil || !pool.Equal(a.Pool()) {
		t.Errorf("%v, %v", pool, err)
	}
	if _, err := secure.ClientRoots(f.Key); err == nil || !strings.Contains(err.Error(), f.Key) || errors.Unwrap(err) != nil {
		t.Errorf("a key is taken for a certificate: %v", err)
	}
}
